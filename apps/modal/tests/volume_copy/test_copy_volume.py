"""`modal run copy_volume.py` with the real client on a local Modal, from a local network volume."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_modal import APP, LocalModal, needs_local_clouds, running
from local_volume import MB, Source, bytes_of

SECRET = "ryla-runpod-s3"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalModal]:
    yield from running(tmp_path_factory.mktemp("clouds"))


def run(cloud: LocalModal, source: Source, *arguments: str) -> subprocess.CompletedProcess[str]:
    settings = source.s3.settings
    where = ["--data-center", settings.data_center, "--volume-id", settings.bucket, "--s3-url", source.s3.url]
    return cloud.modal("run", "-q", "copy_volume.py", *where, *arguments)


@needs_local_clouds
@pytest.mark.timeout(300)
def test_a_network_volume_reaches_the_volume(cloud: LocalModal, source: Source) -> None:
    volume = Path(cloud.document["stateDir"]) / "modal/volumes/main/ryla-models"
    models = {
        "vae/a": source.put("models/vae/a", bytes_of(1, 5 * MB)),
        "clip/b": source.put("ComfyUI/models/clip/b", b"b" * 1000),
    }
    cloud.modal("secret", "create", SECRET, "AWS_ACCESS_KEY_ID=user_local", "AWS_SECRET_ACCESS_KEY=rps_local")

    planned = run(cloud, source, "--plan")
    assert planned.returncode == 0, planned.stdout + planned.stderr
    assert "models/vae/: 1 files, 5 MB" in planned.stdout
    assert "of Modal's CPU at prices of 20" in planned.stdout
    assert "diffusion_models/flux1-schnell.safetensors" in planned.stdout
    source.fault("reset=0.3", "repeat-token:2", "wrong-byte=1:1")
    copied = run(cloud, source)
    assert copied.returncode == 0, copied.stdout + copied.stderr
    assert "Files: 2 copied" in copied.stdout
    assert {path: (volume / path).read_bytes() for path in models} == models
    source.fault()
    sent = source.s3.traffic.sent
    again = run(cloud, source, "--json")
    document = json.loads(again.stdout)
    assert (again.returncode, document["complete"], document["copied"]) == (0, True, [])
    assert source.s3.traffic.sent == sent
    for result in (planned, copied, again):
        assert "rps_local" not in result.stdout + result.stderr
        assert "Traceback" not in result.stdout + result.stderr


@needs_local_clouds
def test_wrong_arguments_and_wrong_keys_end_with_a_message(cloud: LocalModal, source: Source) -> None:
    wrong = cloud.modal("run", "copy_volume.py", "--data-center", "EU-SE-1", "--volume-id", "abc")
    assert wrong.returncode == 1
    assert "docs/migration-volume.md" in wrong.stdout + wrong.stderr
    keys = ("AWS_ACCESS_KEY_ID=user_local", "AWS_SECRET_ACCESS_KEY=rps_other")
    cloud.modal("secret", "create", "--force", SECRET, *keys)
    denied = run(cloud, source)
    assert denied.returncode == 1
    assert "SignatureDoesNotMatch" in denied.stdout
    assert "rps_other" not in denied.stdout + denied.stderr


def test_importing_needs_no_network_and_no_credentials(tmp_path: Path) -> None:
    script = (
        "import socket\n"
        "def refuse(*_): raise SystemExit('a connection was opened')\n"
        "socket.socket.connect = refuse\n"
        "import copy_volume\n"
        "print(copy_volume.app.name)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=APP,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "MODAL_CONFIG_PATH": str(tmp_path / "none")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.strip() == "ryla-copy-volume", result.stderr
