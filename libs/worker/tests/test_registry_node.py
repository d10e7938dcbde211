"""A version of the Comfy registry, from a registry of this machine, by the program that images run."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import comfy_worker
import pytest
from comfy_worker import registry_node
from comfy_worker.registry_node import RegistryError, fetch, unpack

PROGRAM = Path(comfy_worker.__file__).with_name("registry_node.py")


@dataclass
class Registry:
    url: str = ""
    archive: bytes = b""
    version: str = "1.2.3"
    errors: int = 0
    asked: int = 0


def zipped(**files: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__dot__", "."), text)
    return data.getvalue()


@pytest.fixture
def registry() -> Iterator[Registry]:
    served = Registry(archive=zipped(__init__="NODES = {}", requirements="alpha"))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked += 1
            failing = served.asked <= served.errors
            known = self.path in ("/nodes/some-nodes/install?version=1.2.3", "/node.zip")
            self.send_response(503 if failing else 200 if known else 404)
            self.end_headers()
            if not failing and self.path == "/node.zip":
                self.wfile.write(served.archive)
            elif not failing and known:
                answer = {
                    "version": served.version,
                    "downloadUrl": f"{served.url}/node.zip",
                    "createdAt": "2026-08-24T05:48:29.409619Z",
                }
                self.wfile.write(json.dumps(answer).encode())

        def log_request(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


def install(registry: Registry, folder: Path, *sha256: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(PROGRAM), "some-nodes", "1.2.3", str(folder), *sha256]
    env = {"RYLA_COMFY_REGISTRY": registry.url}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def test_the_program_puts_the_files_of_a_version_into_its_folder(registry: Registry, tmp_path: Path) -> None:
    folder = tmp_path / "custom_nodes/some"
    done = install(registry, folder, hashlib.sha256(registry.archive).hexdigest())
    assert done.returncode == 0, done.stderr
    assert (folder / "__init__").read_text() == "NODES = {}"
    assert (folder / ".tracking").read_text().splitlines() == ["__init__", "requirements"]


def test_another_archive_than_the_pinned_one_is_not_installed(registry: Registry, tmp_path: Path) -> None:
    done = install(registry, tmp_path / "some", "0" * 64)
    assert done.returncode == 1
    assert hashlib.sha256(registry.archive).hexdigest() in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "some").exists()


def test_a_servers_error_is_outlived(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_node.time, "sleep", lambda _: None)
    registry.errors = registry_node.ATTEMPTS - 1
    archive = fetch("some-nodes", "1.2.3", registry=registry.url)
    assert archive.data == registry.archive
    assert archive.published is not None
    assert archive.published.year == 2026


def test_what_the_registry_has_not_is_told(registry: Registry) -> None:
    with pytest.raises(RegistryError, match=r"no-nodes 1\.2\.3 cannot be had: .* answers 404"):
        fetch("no-nodes", "1.2.3", registry=registry.url)
    registry.version = "2.0.0"
    with pytest.raises(RegistryError, match=r"answered 2\.0\.0 for some-nodes 1\.2\.3"):
        fetch("some-nodes", "1.2.3", registry=registry.url)


def test_an_archive_cannot_write_elsewhere(registry: Registry, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("../outside.py", "")
        archive.writestr("/absolute.py", "")
    registry.archive = packed.getvalue()
    folder = tmp_path / "nodes/some"
    unpack(fetch("some-nodes", "1.2.3", registry=registry.url), folder)
    assert sorted(path.name for path in folder.iterdir()) == [".tracking", "absolute.py", "outside.py"]
    assert not (tmp_path / "nodes/outside.py").exists()

    registry.archive = b"<html>"
    with pytest.raises(RegistryError, match="is no zip"):
        unpack(fetch("some-nodes", "1.2.3", registry=registry.url), folder)
