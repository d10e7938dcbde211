"""The management API: what it takes and refuses, what it answers, and that its endpoints take jobs."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cloud import SAMPLE_WORKER, Answer, Cloud
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from local_clouds.runpod import management_schemas as schemas
from local_clouds.runpod.management_resources import Refused, Resources

ENDPOINT: dict[str, Any] = {
    "name": "image-generator",
    "type": "QUEUE",
    "image": "registry.example/worker@sha256:1",
    "gpu": {"pools": ["ADA_24"]},
    "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
}


@dataclass
class Account:
    """A client of the management API."""

    cloud: Cloud

    async def call(self, method: str, path: str, body: Any = None, key: str | None = "rk-local") -> Answer:
        """One call; the answer's JSON, or None without a body."""
        headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
        url = f"{self.cloud.server.management_url}/{path}"
        async with self.cloud.session.request(method, url, headers=headers, json=body) as response:
            text = await response.text()
            return Answer(response.status, json.loads(text) if text else None)

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        """One call of a control route."""
        url = f"{self.cloud.server.management_url.removesuffix('/v2')}/_local/{path}"
        async with self.cloud.session.request(method, url, json=body) as response:
            assert response.status < 300, await response.text()
            return await response.json() if response.content_type == "application/json" else None

    async def made(self, **settings: Any) -> dict[str, Any]:
        """A new endpoint."""
        answer = await self.call("POST", "serverless", {**ENDPOINT, **settings})
        assert answer.status == 201, answer
        return answer.body


@pytest.fixture
def account(cloud: Cloud) -> Account:
    """An account without anything."""
    return Account(cloud)


async def test_refuses_a_missing_or_wrong_key_with_the_documented_error(account: Account) -> None:
    missing = await account.call("GET", "serverless", key=None)
    assert missing == Answer(401, {"title": "Unauthorized", "status": 401, "detail": "missing bearer token"})
    assert (await account.call("POST", "serverless", ENDPOINT, key="wrong")).status == 401
    assert (await account.call("GET", "nowhere", key="wrong")).status == 401
    assert (await account.call("GET", "nowhere")).status == 404
    assert (await account.call("GET", "serverless")).body == {"endpoints": []}


async def test_a_new_endpoint_has_the_documented_defaults(account: Account) -> None:
    endpoint = await account.made(env={"A": "{{ RUNPOD_SECRET_a }}"})
    assert schemas.problems(schemas.ENDPOINT, endpoint) == []
    assert endpoint["workers"] == {"min": 0, "max": 3, "idleTimeout": 10}
    assert (endpoint["timeout"], endpoint["flashboot"]) == (300_000, "OFF")
    assert endpoint["gpu"] == {
        "pools": ["ADA_24"],
        "count": 1,
        "allowedCudaVersions": [],
        "minCudaVersion": None,
    }
    assert (await account.call("GET", f"serverless/{endpoint['id']}")).body == endpoint
    assert (await account.call("GET", "serverless")).body == {"endpoints": [endpoint]}


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"name": "a"}, 422, "$: 'image' is a required property"),
        ({**ENDPOINT, "bogus": 1}, 422, "'bogus' was unexpected"),
        ({**ENDPOINT, "name": ""}, 422, "$.name"),
        ({**ENDPOINT, "workers": {"max": -1}}, 422, "$.workers.max: -1 is less than the minimum of 0"),
        ({**ENDPOINT, "workers": {"idleTimeout": 3601}}, 422, "$.workers.idleTimeout"),
        ({**ENDPOINT, "workers": {"min": True}}, 422, "$.workers.min"),
        ({**ENDPOINT, "scaling": {"type": "QUEUE_DELAY", "queueDelay": 0.4}}, 422, "$.scaling.queueDelay"),
        ({**ENDPOINT, "flashboot": "TURBO"}, 422, "$.flashboot"),
        ({**ENDPOINT, "type": "LOAD_BALANCER"}, 422, "$.scaling"),
        ({**ENDPOINT, "gpu": {"pools": []}}, 422, "$.gpu.pools"),
        ({**ENDPOINT, "gpu": {"pools": ["NO_POOL"]}}, 400, "unknown GPU pool NO_POOL"),
        ({**ENDPOINT, "gpu": {"pools": ["ADA_24"], "excludedTypes": ["NVIDIA H200"]}}, 400, "NVIDIA H200"),
        ({**ENDPOINT, "gpu": {"pools": ["HOPPER_141"], "excludedTypes": ["NVIDIA H200"]}}, 400, "leaves no"),
        (
            {
                **ENDPOINT,
                "gpu": {"pools": ["ADA_24"], "allowedCudaVersions": ["12.8"], "minCudaVersion": "12.1"},
            },
            400,
            "mutually exclusive",
        ),
        ({key: ENDPOINT[key] for key in ENDPOINT if key != "gpu"}, 400, "exactly one of gpu and cpu"),
        ({**ENDPOINT, "workers": {"min": 4}}, 400, "workers.min"),
        (
            {
                **ENDPOINT,
                "scaling": {"type": "REQUEST_COUNT", "requestCount": 1},
                "workers": {"idleTimeout": 5},
            },
            400,
            "idleTimeout is not applicable",
        ),
        ({**ENDPOINT, "networkVolumes": ["vol"]}, 400, "network volume vol not found"),
        ({**ENDPOINT, "templateId": "tpl"}, 404, "template not found"),
        ([], 422, "$: [] is not of type 'object'"),
    ],
)
async def test_refuses_what_the_document_does_not_allow(
    account: Account, body: Any, status: int, says: str
) -> None:
    answer = await account.call("POST", "serverless", body)
    assert answer.status == status
    assert schemas.problems(schemas.ERROR, answer.body) == []
    assert answer.body["status"] == status
    assert says in answer.body["detail"] + " ".join(answer.body.get("errors", []))
    assert (await account.call("GET", "serverless")).body == {"endpoints": []}


async def test_never_repeats_a_value_of_a_variable(account: Account) -> None:
    answer = await account.call("POST", "serverless", {**ENDPOINT, "env": {"PASSWORD": ["hunter2"]}})
    assert answer.status == 422
    assert answer.body["errors"] == ["$.env.PASSWORD: must be a string"]


async def test_what_is_no_json_is_a_bad_request(account: Account) -> None:
    url = f"{account.cloud.server.management_url}/serverless"
    headers = {"Authorization": "Bearer rk-local"}
    for data, says in ((b"{", "the body is not JSON"), (b"", "a JSON body is required")):
        async with account.cloud.session.post(url, headers=headers, data=data) as response:
            assert response.content_type == "application/problem+json"
            document = await response.json()
            assert (response.status, document["detail"]) == (400, says)


async def test_a_patch_changes_only_what_is_in_it(account: Account) -> None:
    endpoint = await account.made(
        env={"A": "1", "B": "2"},
        gpu={"pools": ["ADA_48_PRO"], "excludedTypes": ["NVIDIA L40"], "count": 2},
    )
    path = f"serverless/{endpoint['id']}"
    changed = (await account.call("PATCH", path, {"workers": {"max": 9}, "env": {"A": "3"}})).body
    assert changed == {**endpoint, "workers": {**endpoint["workers"], "max": 9}, "env": {"A": "3"}}
    pinned = (await account.call("PATCH", path, {"gpu": {"minCudaVersion": "12.1"}})).body["gpu"]
    assert (pinned["excludedTypes"], pinned["minCudaVersion"]) == (["NVIDIA L40"], "12.1")
    wider = (await account.call("PATCH", path, {"gpu": {"pools": ["ADA_48_PRO"], "minCudaVersion": ""}})).body
    assert "excludedTypes" not in wider["gpu"]
    assert (wider["gpu"]["count"], wider["gpu"]["minCudaVersion"]) == (2, None)
    assert (await account.call("PATCH", path, {"gpu": {"excludedTypes": ["NVIDIA L40"]}})).status == 422
    assert (await account.call("PATCH", path, {"type": "QUEUE"})).status == 422
    assert (await account.call("PATCH", path, {"cpu": [{"id": "cpu5c"}]})).status == 400
    assert (await account.call("PATCH", "serverless/nope", {})).status == 404


async def test_a_scaler_by_requests_has_no_idle_timeout(account: Account) -> None:
    endpoint = await account.made(scaling={"type": "REQUEST_COUNT", "requestCount": 2})
    assert endpoint["workers"] == {"min": 0, "max": 3}
    path = f"serverless/{endpoint['id']}"
    assert (await account.call("PATCH", path, {"workers": {"idleTimeout": 5}})).status == 400
    back = {"scaling": {"type": "QUEUE_DELAY", "queueDelay": 4}, "workers": {"idleTimeout": 7}}
    assert (await account.call("PATCH", path, back)).body["workers"]["idleTimeout"] == 7


async def test_a_template_lies_beneath_the_request(account: Account) -> None:
    template = (
        await account.call(
            "POST",
            "templates",
            {
                "name": "base",
                "image": "from-template",
                "serverless": True,
                "disk": 33,
                "env": {"A": "t", "B": "t"},
                "allowedCudaVersions": ["12.8"],
            },
        )
    ).body
    assert schemas.problems(schemas.TEMPLATE, template) == []
    request = {key: ENDPOINT[key] for key in ENDPOINT if key != "image"}
    endpoint = (
        await account.call(
            "POST", "serverless", {**request, "templateId": template["id"], "env": {"A": "mine"}}
        )
    ).body
    assert (endpoint["image"], endpoint["disk"]) == ("from-template", 33)
    assert endpoint["env"] == {"A": "mine", "B": "t"}
    assert endpoint["gpu"]["allowedCudaVersions"] == ["12.8"]
    assert "templateId" not in endpoint
    assert (await account.call("GET", f"templates/{template['id']}")).body == template
    pods = (await account.call("POST", "templates", {"name": "pods", "image": "x"})).body
    refused = await account.call("POST", "serverless", {**ENDPOINT, "templateId": pods["id"]})
    assert refused.status == 422


async def test_a_network_volume_binds_an_endpoint_to_its_data_centre(account: Account) -> None:
    request = {"name": "models", "size": 200, "dataCenter": "EU-RO-1"}
    volume = (await account.call("POST", "network-volumes", request)).body
    assert volume == {**request, "id": volume["id"], "type": "STANDARD"}
    assert (await account.call("GET", "network-volumes")).body == {"networkVolumes": [volume]}
    assert (await account.call("GET", f"network-volumes/{volume['id']}")).body == volume
    endpoint = await account.made(networkVolumes=[volume["id"]], dataCenterIds=["EU-RO-1"])
    path = f"serverless/{endpoint['id']}"
    assert (await account.call("PATCH", path, {"dataCenterIds": ["US-KS-2"]})).status == 400
    assert (await account.call("POST", "network-volumes", {**request, "size": 9})).status == 422


async def test_deletes_templates_that_no_pod_needs_and_volumes_with_their_files(account: Account) -> None:
    template = (await account.call("POST", "templates", {"name": "t", "image": "x"})).body
    request = {"name": "models", "size": 200, "dataCenter": "EU-RO-1"}
    volume = (await account.call("POST", "network-volumes", request)).body
    mounts = {"network": [{"volumeId": volume["id"], "path": "/workspace"}]}
    member = {"id": "pod2", "name": "member", "cluster": {}}
    pod = {"id": "pod1", "name": "train", "template": template["id"], "mounts": mounts}
    await account.control("PUT", "pods", [pod, member])
    listed = (await account.call("GET", "pods")).body["pods"]
    assert [(each["id"], each["status"]) for each in listed] == [("pod1", "RUNNING")]
    assert len((await account.call("GET", "pods?includeClusterPods=true")).body["pods"]) == 2
    assert (await account.call("DELETE", f"templates/{template['id']}")).status == 400
    await account.control("PUT", "pods", [])
    folder = Path((await account.control("GET", "state"))["s3"]["folder"]) / volume["id"]
    assert folder.is_dir()
    for path in (f"templates/{template['id']}", f"network-volumes/{volume['id']}"):
        assert (await account.call("DELETE", path, key="wrong")).status == 401
        assert (await account.call("DELETE", path)).status == 204
        assert (await account.call("DELETE", path)).status == 404
    assert not folder.exists()


async def test_the_catalogue_has_stock_only_when_asked_for(account: Account) -> None:
    gpus = (await account.call("GET", "catalog/gpus")).body["gpus"]
    assert all("availability" not in gpu for gpu in gpus)
    assert {gpu["pool"] for gpu in gpus if gpu["pool"] is None} == {None}
    await account.control("PUT", "faults", ["availability=NONE"])
    asked = (await account.call("GET", "catalog/gpus?include=AVAILABILITY&product=SERVERLESS")).body["gpus"]
    assert {gpu["availability"] for gpu in asked} == {"NONE"}
    for query, status in (
        ("include=AVAILABILITY", 400),
        ("product=POD", 400),
        ("include=X&product=POD", 422),
        ("include=AVAILABILITY&product=X", 422),
    ):
        assert (await account.call("GET", f"catalog/gpus?{query}")).status == status


async def test_bills_are_those_that_were_put_there(account: Account) -> None:
    amounts = dict.fromkeys(("gpuAmount", "cpuAmount", "diskAmount", "feeAmount"), 0.5)
    record = {"serverlessId": "a", "totalAmount": 2.0, **amounts}
    days = [
        {**record, "startTime": f"2026-11-0{day}T00:00:00Z", "endTime": f"2026-11-0{day + 1}T00:00:00Z"}
        for day in (1, 2, 3)
    ]
    await account.control("PUT", "billing", {"serverless": days})
    window = "startTime=2026-11-02T00:00:00Z&endTime=2026-11-09T00:00:00Z"
    bill = (await account.call("GET", f"billing/serverless?{window}")).body
    assert bill["records"] == days[1:]
    assert bill["metadata"]["totals"]["totalAmount"] == 4
    assert (await account.call("GET", f"billing/serverless?{window}&serverlessId=b")).body["records"] == []
    for query, status in (
        (f"{window}&lastN=3", 400),
        ("lastN=0", 422),
        ("bucketSize=age", 422),
        ("startTime=x", 422),
    ):
        assert (await account.call("GET", f"billing/serverless?{query}")).status == status
    assert (await account.call("GET", "billing/network-volumes")).body["records"] == []


async def test_the_journal_holds_every_request_and_no_key(account: Account) -> None:
    endpoint = await account.made()
    await account.call("DELETE", f"serverless/{endpoint['id']}")
    await account.call("GET", "serverless?x=1", key="a-wrong-key")
    requests = (await account.control("GET", "requests"))["requests"]
    assert [(entry["operation"], entry["status"]) for entry in requests] == [
        ("createEndpoint", 201),
        ("deleteEndpoint", 204),
        ("listEndpoints", 401),
    ]
    assert requests[0]["body"] == ENDPOINT
    assert requests[2]["query"] == {"x": "1"}
    assert "rk-local" not in json.dumps(requests)
    assert "a-wrong-key" not in json.dumps(requests)
    await account.control("DELETE", "requests")
    assert (await account.control("GET", "requests")) == {"requests": []}


@pytest.mark.parametrize(
    ("fault", "done"),
    [("drop-before-accept", 0), ("drop-after-accept", 1), ("http-error", 0), ("error-after-accept", 1)],
)
async def test_faults_strike_before_or_after_the_deed(account: Account, fault: str, done: int) -> None:
    await account.control("PUT", "faults", [f"{fault}=createEndpoint/{'500' if 'error' in fault else ''}:1"])
    if "drop" in fault:
        with pytest.raises(aiohttp.ClientError):
            await account.made()
    else:
        assert (await account.call("POST", "serverless", ENDPOINT)).status == 500
    assert len((await account.call("GET", "serverless")).body["endpoints"]) == done
    await account.made()


async def test_rate_limits_and_changed_fields_are_as_they_were_asked_for(account: Account) -> None:
    await account.control("PUT", "faults", ["rate-limit=listEndpoints/12:1"])
    url = f"{account.cloud.server.management_url}/serverless"
    async with account.cloud.session.get(url, headers={"Authorization": "Bearer rk-local"}) as response:
        assert (response.status, response.headers["Retry-After"]) == (429, "12")
    await account.made()
    await account.control("PUT", "faults", ['answer-field=listEndpoints/flashboot="TURBO":1'])
    assert (await account.call("GET", "serverless")).body["endpoints"][0]["flashboot"] == "TURBO"
    await account.control("PUT", "faults", ["answer-field=listEndpoints/id:1"])
    assert "id" not in (await account.call("GET", "serverless")).body["endpoints"][0]
    assert (await account.call("GET", "serverless")).body["endpoints"][0]["id"]


async def test_a_managed_endpoint_takes_jobs_and_runs_them_once_a_worker_stands_for_its_image(
    account: Account,
) -> None:
    cloud = account.cloud
    endpoint = await account.made(workers={"max": 1, "idleTimeout": 60}, env={"GREETING": "hello"})
    cloud.endpoint = endpoint["id"]
    job = await cloud.run({"do": "echo"})
    assert (await cloud.status(job))["status"] == "IN_QUEUE"
    worker = {"command": [sys.executable, str(SAMPLE_WORKER)]}
    await account.control("PUT", "worker", worker)
    assert (await cloud.ended(job))["status"] == "COMPLETED"
    [first] = await cloud.workers()

    path = f"serverless/{endpoint['id']}"
    await account.call("PATCH", path, {"timeout": 1000})
    assert (await account.call("GET", f"{path}/releases")).body["endpointVersion"] == 1
    await account.call("PATCH", path, {"image": "another"})
    releases = (await account.call("GET", f"{path}/releases")).body
    assert releases["endpointVersion"] == 2
    assert releases["releases"][0]["diff"] == [
        {"field": "template.imageName", "old": ENDPOINT["image"], "new": "another"}
    ]
    assert (await cloud.ended(await cloud.run({"do": "echo"})))["status"] == "COMPLETED"
    rolled_out = await cloud.eventually(
        lambda: account.call("GET", f"{path}/releases"),
        lambda answer: not answer.body["rollout"]["inProgress"],
    )
    assert rolled_out.body["rollout"]["percentOnLatest"] == 100
    assert first["id"] not in [worker["id"] for worker in await cloud.workers()]

    assert (await account.call("DELETE", path)).status == 204
    assert (await cloud.call("GET", "/health")).status == 404
    assert (await account.call("DELETE", path)).status == 404


_TEXT = st.text("ab=", max_size=3)
_SCALING = st.one_of(
    st.builds(
        lambda delay: {"type": "QUEUE_DELAY", "queueDelay": delay},
        st.floats(min_value=0.5, max_value=100, allow_nan=False),
    ),
    st.builds(lambda count: {"type": "REQUEST_COUNT", "requestCount": count}, st.integers(1, 50)),
)
_CHANGE = st.fixed_dictionaries(
    {},
    optional={
        "name": _TEXT,
        "image": _TEXT,
        "env": st.dictionaries(_TEXT, _TEXT, max_size=3),
        "workers": st.fixed_dictionaries(
            {},
            optional={"min": st.integers(-1, 4), "max": st.integers(-1, 4), "idleTimeout": st.integers(0, 9)},
        ),
        "scaling": _SCALING,
        "gpu": st.fixed_dictionaries(
            {},
            optional={
                "pools": st.lists(st.sampled_from(["ADA_24", "HOPPER_141", "NONE"]), max_size=2),
                "excludedTypes": st.lists(st.sampled_from(["NVIDIA L4", "NVIDIA H200"]), unique=True),
            },
        ),
        "timeout": st.integers(),
        "flashboot": st.sampled_from(["OFF", "FLASHBOOT", "TURBO"]),
        "bogus": st.none(),
    },
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_CHANGE, max_size=4))
def test_any_changes_leave_an_endpoint_that_the_schema_allows(changes: list[dict[str, Any]]) -> None:
    resources = Resources(lambda _: {})
    endpoint = resources.create_endpoint(ENDPOINT)
    for change in changes:
        before = resources.endpoint(endpoint["id"])
        refused: Refused | None = None
        try:
            resources.update_endpoint(endpoint["id"], change)
        except Refused as error:
            refused = error
        after = resources.endpoint(endpoint["id"])
        if refused is not None:
            assert refused.status in (400, 422)
            assert after == before
        assert schemas.problems(schemas.ENDPOINT, after) == []
        assert after["workers"]["min"] <= after["workers"]["max"]
        assert resources.update_endpoint(endpoint["id"], {}) == (after, False)
