"""An account that the local RunPod holds from the start, and the S3 API of its network volumes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cloud import Cloud, running_cloud
from local_clouds.runpod import InvalidAccount, Refused, read_account

EXPORTED = Path(__file__).parents[4] / "libs/migration/fixtures/accounts/02-ryla-v2.json"
VOLUME = "vol9ryla01"


async def s3(
    cloud: Cloud, path: str, *, region: str = "EU-RO-1", secret: str = "rps_local"
) -> tuple[int, str]:
    """One signed GET."""
    request = AWSRequest(method="GET", url=f"{cloud.server.volumes.url}/{path}")
    S3SigV4Auth(Credentials("user_local", secret), "s3", region).add_auth(request)
    async with cloud.session.get(str(request.url), headers=dict(request.headers.items())) as response:
        return response.status, await response.text()


async def get(cloud: Cloud, path: str) -> Any:
    headers = {"Authorization": "Bearer rk-local"}
    async with cloud.session.get(f"{cloud.server.management_url}{path}", headers=headers) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def test_an_exported_account_is_there_under_its_ids(tmp_path: Path) -> None:
    async with running_cloud(tmp_path, account=read_account(EXPORTED)) as cloud:
        endpoints = (await get(cloud, "/serverless"))["endpoints"]
        assert [each["id"] for each in endpoints] == ["jpcxjab2zpro19", "xqs8k7yhabwh0k"]
        assert endpoints[0]["networkVolumes"] == [VOLUME]
        assert endpoints[0]["requestUrls"]["run"] == f"{cloud.server.api_url}/jpcxjab2zpro19/run"
        templates = (await get(cloud, "/templates"))["templates"]
        assert [each["id"] for each in templates] == ["jx2h981xwv", "x1ua87uhrs"]
        assert (await get(cloud, f"/network-volumes/{VOLUME}"))["size"] == 200
        assert len((await get(cloud, "/serverless/jpcxjab2zpro19/releases"))["releases"]) == 1
        # Its endpoints take jobs.
        cloud.endpoint = "jpcxjab2zpro19"
        await cloud.register(workersMax=1)
        assert (await cloud.ended(await cloud.run({"echo": 1})))["status"] == "COMPLETED"


async def test_a_volume_is_a_folder_and_a_bucket_that_is_signed_for_its_data_centre(tmp_path: Path) -> None:
    async with running_cloud(tmp_path, account=read_account(EXPORTED)) as cloud:
        file = cloud.server.volumes.folder_of(VOLUME) / "models/loras/a.safetensors"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"weights")
        status, listing = await s3(cloud, f"{VOLUME}?list-type=2")
        assert (status, "models/loras/a.safetensors" in listing) == (200, True)
        assert await s3(cloud, f"{VOLUME}/models/loras/a.safetensors") == (200, "weights")
        assert (await s3(cloud, f"{VOLUME}?list-type=2", region="EU-CZ-1"))[0] == 403
        assert (await s3(cloud, f"{VOLUME}?list-type=2", secret="wrong"))[0] == 403
        assert (await s3(cloud, "another?list-type=2"))[0] == 404
        faults = f"{cloud.server.volumes.url}/_local/{VOLUME}/faults"
        async with cloud.session.put(faults, json=["http-error=get/503:1"]) as response:
            assert response.status == 200
        assert (await s3(cloud, f"{VOLUME}/models/loras/a.safetensors"))[0] == 503


async def test_a_volume_that_is_made_later_has_one_too_where_its_data_centre_has(tmp_path: Path) -> None:
    async with running_cloud(tmp_path) as cloud:
        made: dict[str, str] = {}
        for centre in ("EU-RO-1", "US-TX-3"):
            body = {"name": centre, "size": 10, "dataCenter": centre}
            headers = {"Authorization": "Bearer rk-local"}
            url = f"{cloud.server.management_url}/network-volumes"
            async with cloud.session.post(url, json=body, headers=headers) as response:
                made[centre] = (await response.json())["id"]
        assert (await s3(cloud, f"{made['EU-RO-1']}?list-type=2"))[0] == 200
        assert (await s3(cloud, f"{made['US-TX-3']}?list-type=2", region="US-TX-3"))[0] == 404
        base = cloud.server.management_url.removesuffix("/v2")
        async with cloud.session.get(f"{base}/_local/state") as response:
            state = await response.json()
        assert state["s3"]["buckets"] == {made["EU-RO-1"]: "EU-RO-1"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "cannot be read"),
        ("[]", "no object of lists"),
        ('{"pods": []}', "pods: there is no such list"),
        ('{"endpoints": [{"id": "a"}]}', "endpoints/0: 'name' is a required property"),
        ('{"networkVolumes": [7]}', "networkVolumes/0: 7 is not of type 'object'"),
    ],
)
def test_a_file_that_is_no_account_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "account.json"
    file.write_text(text)
    with pytest.raises(InvalidAccount, match=expected):
        read_account(file)


async def test_an_account_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    account = json.loads(EXPORTED.read_text())
    account["networkVolumes"] = []
    with pytest.raises(Refused, match=f"{VOLUME} not found"):
        async with running_cloud(tmp_path, account=account):
            raise AssertionError("it started")
