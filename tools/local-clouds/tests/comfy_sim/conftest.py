"""One server for all tests: comfy-sim on a free port, or the ComfyUI that COMFYUI_URL names."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKPOINT = "random-sd15.safetensors"


@pytest.fixture(scope="session")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the server under test."""
    given = os.environ.get("COMFYUI_URL")
    if given:
        yield given.rstrip("/")
        return
    folder = tmp_path_factory.mktemp("comfyui")
    (folder / "models" / "checkpoints").mkdir(parents=True)
    (folder / "models" / "checkpoints" / CHECKPOINT).touch()
    command = [
        sys.executable,
        "-m",
        "comfy_sim",
        "--listen",
        "127.0.0.1",
        "--port",
        "0",
        "--base-directory",
        str(folder),
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        yield line.strip().removeprefix("To see the GUI go to: ")
    finally:
        process.terminate()
        process.wait(timeout=10)
        process.stderr.close()


@pytest.fixture(scope="session")
def is_real() -> bool:
    """Whether the server is a real ComfyUI."""
    return bool(os.environ.get("COMFYUI_URL"))


@pytest.fixture(scope="session")
def oracle() -> Path:
    """Recordings of a real ComfyUI 0.3.64."""
    return Path(__file__).parent / "fixtures" / "oracle"
