"""The whole deployment: the real `modal deploy` to a local Modal, whose containers run our code in Modal's runtime."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

APP = Path(__file__).resolve().parents[1]
LOCAL_CLOUDS = Path(sys.executable).with_name("local-clouds")
pytestmark = pytest.mark.skipif(not LOCAL_CLOUDS.exists(), reason="local-clouds is not installed")

LARGE = {"width": 8192, "height": 8192, "batch_size": 1, "color": 255}
"""Seconds of work for ComfyUI."""


@dataclass
class LocalModal:
    """A local Modal and how to reach it."""

    document: dict[str, Any]

    @property
    def web(self) -> str:
        return self.document["modal"]["webUrl"]

    def modal(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Runs the real `modal` command."""
        env = {**os.environ, **self.document["environment"], "NO_COLOR": "1", **environ}
        command = [sys.executable, "-m", "modal", *arguments]
        return subprocess.run(
            command, cwd=APP, env=env, capture_output=True, text=True, timeout=60, check=False
        )

    def url(self, label: str) -> str:
        return f"{self.web}/_w/{self.document['modal']['workspace']}--{label}"

    def client(self, label: str, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.url(label), headers=headers, timeout=60, follow_redirects=True)

    @property
    def proxy_auth(self) -> dict[str, str]:
        return {
            "Modal-Key": self.document["modal"]["proxyKey"],
            "Modal-Secret": self.document["modal"]["proxySecret"],
        }

    def started(self, app: str, function: str = "") -> int:
        """Containers that were ever started for an app."""
        state = httpx.get(f"{self.web}/_local/state").json()
        return sum(
            entry["containersStarted"]
            for entry in state["functions"]
            if entry["app"] == app and function in entry["function"]
        )

    def containers(self, app: str) -> list[dict[str, Any]]:
        state = httpx.get(f"{self.web}/_local/state").json()
        return [entry for entry in state["containers"] if entry["app"] == app]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalModal]:
    folder = tmp_path_factory.mktemp("clouds")
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(
            [LOCAL_CLOUDS, "--state-dir", folder / "state", "--until-eof"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, "COMFY_SIM_MODEL_LOAD_MS": "0"},
        )
        try:
            assert child.stdout is not None
            yield LocalModal(json.loads(child.stdout.readline()))
        finally:
            child.terminate()
            child.communicate(timeout=30)


@pytest.fixture(scope="module")
def deployed(cloud: LocalModal) -> LocalModal:
    """A missing secret fails the deploy with Modal's message; then the generic app, with proxy auth."""
    missing = cloud.modal("deploy", "comfyui_app.py")
    assert missing.returncode != 0
    assert "ryla-secrets" in missing.stdout + missing.stderr
    webhook_secret = "whsec_" + base64.b64encode(b"k" * 32).decode()
    created = cloud.modal(
        "secret", "create", "ryla-secrets", "RYLA_API_TOKEN=right", f"RYLA_WEBHOOK_SECRETS={webhook_secret}"
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


def test_a_killed_engine_and_a_killed_worker_are_told_and_the_next_job_succeeds(
    deployed: LocalModal, picture: dict[str, Any]
) -> None:
    large = {**picture, "1": {"class_type": "EmptyImage", "inputs": LARGE}}
    with deployed.client("ryla-comfyui-api", **deployed.proxy_auth) as client:
        for target, code in (("engine", "engine_crashed"), ("worker", "worker_lost")):
            job = submit(client, large)
            wait_for_progress(client, job)
            worker = gpu_pid(deployed)
            os.kill(worker if target == "worker" else engine_pid(worker), signal.SIGKILL)
            lost = ended(client, job)
            assert (lost["status"], lost["error"]["code"]) == ("failed", code), lost
            assert job["id"] in lost["error"]["message"]
            assert ended(client, submit(client, picture))["status"] == "succeeded"


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
