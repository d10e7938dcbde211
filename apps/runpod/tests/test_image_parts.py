"""The first stage of the Dockerfile, and its scripts with the real git and a registry of this machine; uv and comfy are told only."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

WORKSPACE = Path(__file__).resolve().parents[3]
NODES = "https://nodes.example/"
BASE = "apps/modal/requirements/0.3.64"


@dataclass
class Checkout:
    """A workspace with one endpoint, and what its image would have."""

    root: Path

    @property
    def endpoint(self) -> Path:
        return self.root / "apps/endpoints/probe"

    @property
    def parts(self) -> Path:
        return self.root / "parts"

    @property
    def comfyui(self) -> Path:
        return self.root / "opt/ComfyUI"

    def write(self, **changes: Any) -> None:
        document = {"name": "probe", "title": "Probe", **changes}
        (self.endpoint / "endpoint.json").write_text(json.dumps(document))

    def lock(self, node: str, source: str, *pins: str) -> None:
        file = self.endpoint / "requirements" / f"{node}.txt"
        file.parent.mkdir(exist_ok=True)
        file.write_text("\n".join([f"# locked for {source} with ComfyUI 0.3.64", *pins, ""]))

    def write_parts(self, endpoint: str = "probe") -> subprocess.CompletedProcess[str]:
        shutil.rmtree(self.parts, ignore_errors=True)
        program = WORKSPACE / "apps/runpod/image/image_parts.py"
        command = [sys.executable, str(program), str(self.root), endpoint, str(self.parts)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def repository(self, name: str, **files: str) -> str:
        place = self.root / "git" / name
        place.mkdir(parents=True)
        for file, text in files.items():
            (place / file.replace("_py", ".py")).write_text(text)
        git = ["git", "-C", str(place), "-c", "user.name=t", "-c", "user.email=t@example.com"]
        for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
            subprocess.run([*git, *command], check=True)
        done = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def install(self, step: str, **environ: str) -> list[str]:
        """Runs a step's script; returns the commands of uv and comfy that it gave."""
        tools, said = self.root / "tools", self.root / "said.txt"
        tools.mkdir(exist_ok=True)
        said.write_text("")
        for name in ("uv", "comfy"):
            (tools / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {said}\n')
            (tools / name).chmod(0o755)
        (tools / "python").unlink(missing_ok=True)
        (tools / "python").symlink_to(sys.executable)
        env = {
            "PATH": os.pathsep.join((str(tools), os.environ["PATH"])),
            "COMFYUI_DIR": str(self.comfyui),
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.file://{self.root}/git/.insteadOf",
            "GIT_CONFIG_VALUE_0": NODES,
            **environ,
        }
        script = str(self.parts / step / "install.sh")
        done = subprocess.run(["sh", script], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return said.read_text().splitlines()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path)
    made.endpoint.mkdir(parents=True)
    shutil.copytree(WORKSPACE / BASE, tmp_path / BASE)
    program = "libs/worker/src/comfy_worker/registry_node.py"
    (tmp_path / program).parent.mkdir(parents=True)
    shutil.copyfile(WORKSPACE / program, tmp_path / program)
    return made


@pytest.fixture
def registry() -> Iterator[str]:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("__init__.py", "# published")
        archive.writestr("requirements.txt", "alpha")
    address = ""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            answer = {"version": "1.2.3", "downloadUrl": f"{address}/node.zip"}
            self.wfile.write(packed.getvalue() if self.path == "/node.zip" else json.dumps(answer).encode())

        def log_request(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield address
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_image_has_the_locked_comfyui_and_nodes_in_their_order(checkout: Checkout, registry: str) -> None:
    commit = checkout.repository("first", __init___py="# cloned", install_py="open('ran', 'w')")
    checkout.write(
        customNodes=[
            {"name": "first", "repository": f"{NODES}first", "commit": commit},
            {"name": "second", "registry": "second-nodes", "version": "1.2.3"},
        ],
        image={"systemPackages": ["libegl1", "git"]},
    )
    checkout.lock("first", f"{NODES}first@{commit}", "beta==1.5 \\", "    --hash=sha256:f00")
    checkout.lock("second", "comfy-registry:second-nodes@1.2.3")
    done = checkout.write_parts()
    assert done.returncode == 0, done.stderr
    packages = (checkout.parts / "system/packages.txt").read_text().split()
    assert packages == ["ffmpeg", "git", "libegl1", "libgl1", "libglib2.0-0"]

    hashed = "uv pip install --no-deps --require-hashes --requirements"
    assert checkout.install("comfyui") == [
        f"{hashed} comfyui.txt",
        f"{hashed} worker.txt",
        f"comfy --skip-prompt --no-enable-telemetry --workspace {checkout.comfyui} install --version 0.3.64"
        " --nvidia --skip-manager --skip-torch-or-directml --skip-requirement",
    ]
    assert (checkout.parts / "comfyui/comfyui.txt").read_text().startswith("# locked for ComfyUI 0.3.64")
    assert checkout.install("nodes", RYLA_COMFY_REGISTRY=registry) == [f"{hashed} first.txt"]
    nodes = checkout.comfyui / "custom_nodes"
    assert (nodes / "first/__init__.py").read_text() == "# cloned"
    assert (nodes / "first/ran").exists()
    assert (nodes / "second/__init__.py").read_text() == "# published"


def test_without_locks_the_newest_requirements_are_taken(checkout: Checkout, registry: str) -> None:
    shutil.rmtree(checkout.root / BASE)
    checkout.write(
        comfyui={"version": "0.3.75"},
        customNodes=[{"name": "second", "registry": "second-nodes", "version": "1.2.3"}],
    )
    done = checkout.write_parts()
    assert done.returncode == 0, done.stderr
    assert checkout.install("comfyui") == [
        "uv pip install comfy-cli==1.23.0",
        f"comfy --skip-prompt --no-enable-telemetry --workspace {checkout.comfyui}"
        " install --version 0.3.75 --nvidia --skip-manager",
    ]
    folder = checkout.comfyui / "custom_nodes/second"
    assert checkout.install("nodes", RYLA_COMFY_REGISTRY=registry) == [
        f"uv pip install -r {folder}/requirements.txt"
    ]


def test_a_stale_lock_builds_nothing_and_says_what_to_do(checkout: Checkout) -> None:
    node = {"name": "first", "repository": f"{NODES}first", "commit": "1" * 40}
    checkout.write(customNodes=[node])
    checkout.lock("first", f"{NODES}first@{'2' * 40}")
    done = checkout.write_parts()
    assert done.returncode == 1
    assert "Lock again with `npx nx run probe:lock`" in done.stderr
    assert not checkout.parts.exists()


def test_only_what_an_image_is_made_of_is_in_its_parts(checkout: Checkout) -> None:
    def parts() -> dict[str, str]:
        assert checkout.write_parts().returncode == 0
        files = (path for path in checkout.parts.rglob("*") if path.is_file())
        return {str(path.relative_to(checkout.parts)): path.read_text() for path in files}

    checkout.write()
    before = parts()
    checkout.write(title="Other", scaling={"maxContainers": 9}, models=[])
    assert parts() == before
    checkout.write(image={"variables": {"OMP_NUM_THREADS": "8"}})
    changed = parts()
    assert {name for name in changed if changed[name] != before.get(name)} == {"variables.sh"}


def test_variables_reach_the_worker_unless_they_are_set(checkout: Checkout) -> None:
    odd = """it's "$HOME" `id`"""
    checkout.write(image={"variables": {"ODD": odd, "GIVEN": "here"}})
    assert checkout.write_parts().returncode == 0
    shell = f'. {checkout.parts}/variables.sh; printf "%s|%s" "$ODD" "$GIVEN"'
    env = {"PATH": os.environ["PATH"], "GIVEN": "there"}
    done = subprocess.run(["sh", "-c", shell], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == f"{odd}|there"


def test_an_unknown_endpoint_is_told_and_none_is_plain_comfyui(checkout: Checkout) -> None:
    refused = checkout.write_parts("poster")
    assert (refused.returncode, "There is no endpoint 'poster'" in refused.stderr) == (1, True)
    assert checkout.write_parts("").returncode == 0
    assert checkout.install("nodes") == []
    assert "install --version 0.3.64" in checkout.install("comfyui")[-1]
