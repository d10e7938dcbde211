"""The whole deployment: the real `modal deploy` to a local Modal, whose containers run our code in Modal's runtime."""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from local_modal import LocalModal, needs_local_clouds, running

pytestmark = needs_local_clouds

LARGE = {"width": 8192, "height": 8192, "batch_size": 1, "color": 255}
"""Seconds of work for ComfyUI."""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalModal]:
    yield from running(tmp_path_factory.mktemp("clouds"))


@pytest.fixture(scope="module")
def deployed(cloud: LocalModal) -> LocalModal:
    """A missing secret fails the deploy with Modal's message; then the generic app, with proxy auth."""
    missing = cloud.modal("deploy", "comfyui_app.py")
    assert missing.returncode != 0
    assert "ryla-secrets" in missing.stdout + missing.stderr
    webhook_secret = "whsec_" + base64.b64encode(b"k" * 32).decode()
    created = cloud.modal(
        "secret",
        "create",
        "ryla-secrets",
        "RYLA_API_TOKEN=right",
        "RYLA_LEASE_SECONDS=4",
        f"RYLA_WEBHOOK_SECRETS={webhook_secret}",
    )
    assert created.returncode == 0, created.stderr
    result = cloud.modal("deploy", "comfyui_app.py")
    assert result.returncode == 0, result.stdout + result.stderr
    return cloud


def submit(client: httpx.Client, workflow: Any, **headers: str) -> dict[str, Any]:
    response = client.post("/api/v2/jobs", json={"workflow": workflow}, headers=headers)
    assert response.status_code == 201, response.text
    return response.json()


def ended(client: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    """The job after its event stream has ended."""
    client.get(f"{job['urls']['events']}")
    return client.get(job["urls"]["self"]).json()


def wait_for_progress(client: httpx.Client, job: dict[str, Any]) -> None:
    with client.stream("GET", job["urls"]["events"]) as response:
        for line in response.iter_lines():
            if line == "event: progress":
                return
    pytest.fail("the job ended without progress")


def test_proxy_auth_refuses_before_a_container_starts(deployed: LocalModal, picture: dict[str, Any]) -> None:
    wrong = {**deployed.proxy_auth, "Modal-Secret": "wrong"}
    for headers in ({}, wrong):
        for label in ("ryla-comfyui-api", "ryla-comfyui-generate-image"):
            with deployed.client(label, **headers) as client:
                assert client.post("/api/v2/jobs", json={"workflow": picture}).status_code == 401
    assert deployed.started("ryla-comfyui") == 0


def test_an_unknown_node_is_refused_before_any_gpu_work(
    deployed: LocalModal, picture: dict[str, Any]
) -> None:
    picture["7"] = {"class_type": "NoSuchNode", "inputs": {}}
    with deployed.client("ryla-comfyui-api", **deployed.proxy_auth) as client:
        response = client.post("/api/v2/jobs", json={"workflow": picture})
    assert (response.status_code, response.json()["error"]["details"]["node_id"]) == (422, "7")
    assert deployed.started("ryla-comfyui", "ComfyWorker") == 0


def test_a_job_runs_and_generate_image_answers(deployed: LocalModal, picture: dict[str, Any]) -> None:
    with deployed.client("ryla-comfyui-api", **deployed.proxy_auth) as client:
        job = ended(client, submit(client, picture))
        assert job["status"] == "succeeded", job["error"]
        content = client.get(f"/api/v2/assets/{job['outputs'][0]['id']}/content").content
        assert content.startswith(b"\x89PNG")
        details = client.get(f"/api/ryla/jobs/{job['id']}").json()
        assert details["timings"]["coldStartMs"] > 0
        assert details["workerId"].startswith("ta-")
    with deployed.client("ryla-comfyui-generate-image", **deployed.proxy_auth) as client:
        answer = client.post("/", json={"workflow_json": picture}).json()
    assert answer["image"] == answer["images"][0]["data"]


def test_a_killed_engine_is_told_and_a_killed_workers_job_runs_again(
    deployed: LocalModal, picture: dict[str, Any]
) -> None:
    large = {**picture, "1": {"class_type": "EmptyImage", "inputs": LARGE}}
    with deployed.client("ryla-comfyui-api", **deployed.proxy_auth) as client:
        job = submit(client, large)
        wait_for_progress(client, job)
        os.kill(engine_pid(gpu_pid(deployed)), signal.SIGKILL)
        lost = ended(client, job)
        assert (lost["status"], lost["error"]["code"]) == ("failed", "engine_crashed"), lost
        assert job["id"] in lost["error"]["message"]
        job = submit(client, large)
        wait_for_progress(client, job)
        os.kill(gpu_pid(deployed), signal.SIGKILL)
        again = ended(client, job)
        assert again["status"] == "succeeded", again
        assert client.get(f"/api/ryla/jobs/{job['id']}").json()["attempt"] == 2


def test_progress_arrives_while_the_job_runs_with_the_moments_of_the_worker(
    deployed: LocalModal, picture: dict[str, Any]
) -> None:
    workflow = blurred(picture, times=8)
    with deployed.client("ryla-comfyui-api", **deployed.proxy_auth) as client:
        job = submit(client, workflow)
        with client.stream("GET", job["urls"]["events"]) as response:
            heard = list(events_of(response.iter_lines()))
        progress = [event for event in heard if event["event"] == "progress"]
        moments = [int(event["id"]) for event in progress]
        assert moments == sorted(moments)
        assert len(set(moments)) > 2
        values = [event["data"]["value"] for event in progress]
        assert values == sorted(values)
        completed = datetime.fromisoformat(client.get(job["urls"]["self"]).json()["completed_at"]).timestamp()
        assert progress[0]["heard"] < completed
        assert all(moment / 1000 <= event["heard"] for moment, event in zip(moments, progress, strict=True))


def blurred(picture: dict[str, Any], times: int) -> dict[str, Any]:
    """A picture that takes ComfyUI a while, node by node."""
    large = {**picture["1"]["inputs"], "width": 1024, "height": 1024, "color": time.time_ns() % 0xFFFFFF}
    workflow: dict[str, Any] = {**picture, "1": {**picture["1"], "inputs": large}}
    for number in range(times):
        inputs = {"image": [f"b{number - 1}" if number else "1", 0], "blur_radius": 31, "sigma": 9.0}
        workflow[f"b{number}"] = {"class_type": "ImageBlur", "inputs": inputs}
    save = {**picture["2"]["inputs"], "images": [f"b{times - 1}", 0]}
    return {**workflow, "2": {**picture["2"], "inputs": save}}


def events_of(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """Events of a stream, each with the moment at which it was heard (seconds since 1970)."""
    event: dict[str, Any] = {}
    for line in lines:
        name, colon, value = line.partition(": ")
        if name and colon:
            event[name] = json.loads(value) if name == "data" else value
        elif not line and event:
            yield {**event, "heard": time.time()}
            event = {}


def test_cancel_interrupts_a_running_job(deployed: LocalModal, picture: dict[str, Any]) -> None:
    large = {**picture, "1": {"class_type": "EmptyImage", "inputs": LARGE}}
    with deployed.client("ryla-comfyui-api", **deployed.proxy_auth) as client:
        job = submit(client, large)
        wait_for_progress(client, job)
        client.post(job["urls"]["cancel"])
        assert ended(client, job)["status"] == "canceled"
        assert ended(client, submit(client, picture))["status"] == "succeeded"


def test_bearer_refuses_in_the_gateway_and_wakes_no_gpu(cloud: LocalModal, picture: dict[str, Any]) -> None:
    before = cloud.started("ryla-comfyui", "ComfyWorker")
    result = cloud.modal("deploy", "comfyui_app.py", RYLA_AUTH="bearer")
    assert result.returncode == 0, result.stdout + result.stderr
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        with cloud.client("ryla-comfyui-api", **headers) as client:
            response = client.post("/api/v2/jobs", json={"workflow": picture})
            assert (response.status_code, response.json()["error"]["code"]) == (401, "unauthorized")
    assert cloud.started("ryla-comfyui", "ComfyWorker") - before == 0
    with cloud.client("ryla-comfyui-api", Authorization="Bearer right") as client:
        assert ended(client, submit(client, picture))["status"] == "succeeded"


def test_an_endpoints_app_takes_typed_inputs_and_tells_webhooks_from_a_function_of_its_own(
    deployed: LocalModal,
) -> None:
    result = deployed.modal("deploy", "comfyui_app.py", RYLA_ENDPOINT="photo-finish")
    assert result.returncode == 0, result.stdout + result.stderr
    with deployed.client("ryla-photo-finish-api", **deployed.proxy_auth) as client:
        refused = client.post("/api/ryla/run", json={"inputs": {"width": 1}})
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_input")
        # This machine is no public host, which shows when its name is resolved: in `notify`, at the job's end.
        body = {"inputs": {"width": 64}, "webhook": {"url": "https://localhost:9/"}}
        job = ended(client, client.post("/api/ryla/run", json=body).json())
        assert job["status"] == "succeeded", job["error"]
        deadline = time.monotonic() + 30
        webhook: dict[str, Any] = {"error": None}
        while webhook["error"] is None and time.monotonic() < deadline:
            webhook = client.get(f"/api/ryla/jobs/{job['id']}").json()["webhook"]
        assert "not a public host" in webhook["error"]
    assert deployed.started("ryla-photo-finish", "notify") == 1


def gpu_pid(cloud: LocalModal) -> int:
    (worker,) = [entry for entry in cloud.containers("ryla-comfyui") if "ComfyWorker" in entry["function"]]
    return worker["pid"]


def engine_pid(worker: int) -> int:
    """The ComfyUI below a worker's container."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes().split(b"\0")
                parent = int((process / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            if parent == worker and any(part.endswith(b"main.py") for part in command):
                return int(process.name)
    raise AssertionError("no ComfyUI below the worker")
