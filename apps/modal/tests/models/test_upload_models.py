"""`modal run upload_models.py` with the real client on a local Modal, and a worker whose models are missing."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

APP = Path(__file__).resolve().parents[2]
REPOSITORY = APP.parents[1]
LOCAL_CLOUDS = Path(sys.executable).with_name("local-clouds")
needs_local_clouds = pytest.mark.skipif(not LOCAL_CLOUDS.exists(), reason="local-clouds is not installed")
MB = 1 << 20


@dataclass
class Cloud:
    """A local Modal with its state folder."""

    document: dict[str, Any]
    volume: Path

    def modal(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, **self.document["environment"], "NO_COLOR": "1", **environ}
        env.pop("FORCE_COLOR", None)  # task runners set it, and rich would colour even JSON
        command = [sys.executable, "-m", "modal", *arguments]
        return subprocess.run(
            command,
            cwd=APP,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    def upload(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return self.modal("run", "upload_models.py", *arguments, **environ)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
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
            document = json.loads(child.stdout.readline())
            yield Cloud(document, folder / "state/modal/volumes/main/ryla-models")
        finally:
            child.terminate()
            child.communicate(timeout=30)


def manifest(folder: Path, *models: Any) -> str:
    file = folder / "models.json"
    file.write_text(json.dumps([asdict(model) for model in models]), encoding="utf-8")
    return str(file)


@needs_local_clouds
def test_models_reach_the_volume_and_are_checked_and_pruned(
    cloud: Cloud, server: Any, tmp_path: Path
) -> None:
    content = random.Random(1).randbytes(20 * MB)
    models = [
        server.model("a.safetensors", content, drops=0.2),
        server.model("b.safetensors", b"b" * 1000, "loras"),
    ]
    listed = manifest(tmp_path, *models)

    before = cloud.upload("--manifest", listed, "--check")
    assert (before.returncode, "missing    vae/a.safetensors" in before.stdout) == (1, True), before.stdout
    brought = cloud.upload("--manifest", listed)
    assert brought.returncode == 0, brought.stdout + brought.stderr
    assert "MB/s" in brought.stdout
    assert "Models: 2 fetched." in brought.stdout
    assert (cloud.volume / "vae/a.safetensors").read_bytes() == content
    ledger = json.loads((cloud.volume / ".ryla/models.json").read_text())
    assert ledger["files"]["vae/a.safetensors"]["source"] == f"{server.url}/a.safetensors"
    assert "2 verified before" in cloud.upload("--manifest", listed).stdout

    (cloud.volume / "loras/mine").write_bytes(b"mine")
    asked = cloud.upload("--manifest", listed, "--prune")
    assert "nothing is removed" in asked.stdout + asked.stderr
    assert (cloud.volume / "loras/mine").exists()
    pruned = cloud.upload("--manifest", listed, "--prune", "--yes")
    assert pruned.returncode == 0, pruned.stdout + pruned.stderr
    assert not (cloud.volume / "loras/mine").exists()
    assert (cloud.volume / "vae/a.safetensors").exists()


@needs_local_clouds
def test_a_gated_file_takes_its_token_from_its_secret(cloud: Cloud, server: Any, tmp_path: Path) -> None:
    model = replace(server.model("gated", b"g" * MB, token="hf_x"), secret="my-hub")
    listed = manifest(tmp_path, model)
    missing = cloud.upload("--manifest", listed)
    assert missing.returncode != 0
    assert "my-hub" in missing.stdout + missing.stderr
    cloud.modal("secret", "create", "my-hub", "MY_HUB_TOKEN=hf_x")
    brought = cloud.upload("--manifest", listed)
    assert brought.returncode == 0, brought.stdout + brought.stderr
    assert "hf_x" not in brought.stdout + brought.stderr


@needs_local_clouds
def test_files_of_this_machine_are_sent_and_verified(cloud: Cloud, server: Any, tmp_path: Path) -> None:
    model = server.model("local.safetensors", b"l" * MB)
    (tmp_path / "local.safetensors").write_bytes(b"l" * MB)
    brought = cloud.upload("--manifest", manifest(tmp_path, model), "--local", str(tmp_path))
    assert brought.returncode == 0, brought.stdout + brought.stderr
    assert not server.files["/local.safetensors"].requests
    assert (cloud.volume / model.path).read_bytes() == b"l" * MB


@needs_local_clouds
def test_an_unknown_endpoint_and_a_failed_model_end_with_a_message(
    cloud: Cloud, server: Any, tmp_path: Path
) -> None:
    unknown = cloud.upload("--endpoint", "nope")
    assert unknown.returncode != 0
    assert "There is no endpoint 'nope'" in unknown.stdout + unknown.stderr
    model = server.model("bad", b"x" * 1000, wrong_byte=lambda _: 5)
    failed = cloud.upload("--manifest", manifest(tmp_path, model))
    assert failed.returncode == 1
    assert "hash_mismatch" in failed.stdout
    assert "Traceback" not in failed.stdout + failed.stderr


@needs_local_clouds
def test_a_worker_without_its_models_says_which_and_how(cloud: Cloud) -> None:
    """Then with the models, placed by hand: the next job gets a container that sees them."""
    endpoint = REPOSITORY / "apps/endpoints/flux-schnell"
    workflow = json.loads((endpoint / "workflow.json").read_text(encoding="utf-8"))
    models = json.loads((endpoint / "endpoint.json").read_text(encoding="utf-8"))["models"]
    cloud.modal("secret", "create", "ryla-secrets", "RYLA_API_TOKEN=right")
    result = cloud.modal("deploy", "comfyui_app.py", RYLA_ENDPOINT="flux-schnell")
    assert result.returncode == 0, result.stdout + result.stderr
    modal = cloud.document["modal"]
    url = f"{modal['webUrl']}/_w/{modal['workspace']}--ryla-flux-schnell-api"
    headers = {"Modal-Key": modal["proxyKey"], "Modal-Secret": modal["proxySecret"]}
    with httpx.Client(base_url=url, headers=headers, timeout=60, follow_redirects=True) as client:
        refused = ended(client, workflow)
        assert (refused["status"], refused["error"]["code"]) == ("failed", "missing_models"), refused
        message = refused["error"]["message"]
        assert all(f"{model['directory']}/{model['filename']}" in message for model in models)
        assert "npx nx run flux-schnell:models" in message
        for model in models:
            place = cloud.volume / model["directory"] / model["filename"]
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text("SIMULATED: placed by a test")
        job = ended(client, workflow)
        assert job["status"] == "succeeded", job["error"]


def ended(client: httpx.Client, workflow: Any) -> dict[str, Any]:
    response = client.post("/api/v2/jobs", json={"workflow": workflow})
    assert response.status_code == 201, response.text
    job = response.json()
    client.get(job["urls"]["events"])
    return client.get(job["urls"]["self"]).json()


def test_importing_needs_no_network_and_no_credentials(tmp_path: Path) -> None:
    script = (
        "import socket\n"
        "def refuse(*_): raise SystemExit('a connection was opened')\n"
        "socket.socket.connect = refuse\n"
        "import upload_models\n"
        "print(upload_models.app.name)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=APP,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "MODAL_CONFIG_PATH": str(tmp_path / "none")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.strip() == "ryla-upload-models", result.stderr
