"""`nx run <endpoint>:lock` with the real git and the real uv, on repositories and an index of this machine."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from ryla_modal.endpoint_document import InvalidEndpoint
from ryla_modal.requirements_lock import TOOLS, base_lock, node_lock

REPOSITORY = Path(__file__).resolve().parents[3]
COMFYUI = "https://github.com/comfyanonymous/ComfyUI"
NODES = "https://nodes.example/"
UV = REPOSITORY / ".tools/bin/uv"
pytestmark = pytest.mark.skipif(not (UV.exists() or shutil.which("uv")), reason="uv is not here")

COMMITTED = "2020-06-01T00:00:00Z"
OLD, NEW = "2020-01-01T00:00:00Z", "2024-01-01T00:00:00Z"


def wheel(name: str, version: str) -> bytes:
    """The smallest wheel there can be."""
    data, info = io.BytesIO(), f"{name}-{version}.dist-info"
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return data.getvalue()


@dataclass
class Index:
    """A package index that tells when each file was uploaded, and a Comfy registry with one version."""

    files: dict[str, tuple[bytes, str]] = field(default_factory=dict[str, tuple[bytes, str]])
    url: str = ""
    archive: bytes = b""

    @property
    def version(self) -> dict[str, str]:
        return {"version": "1.2.3", "downloadUrl": f"{self.url}/archives/node.zip", "createdAt": COMMITTED}

    def add(self, name: str, version: str, uploaded: str) -> None:
        self.files[f"{name}-{version}-py3-none-any.whl"] = (wheel(name, version), uploaded)

    def page(self, name: str) -> dict[str, object]:
        listed = [
            {
                "filename": filename,
                "url": f"{self.url}/files/{filename}",
                "hashes": {"sha256": hashlib.sha256(data).hexdigest()},
                "upload-time": uploaded,
            }
            for filename, (data, uploaded) in self.files.items()
            if filename.startswith(f"{name.replace('-', '_')}-")
        ]
        return {"meta": {"api-version": "1.1"}, "name": name, "files": listed}


@pytest.fixture
def index() -> Iterator[Index]:
    served = Index()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, name = self.path.strip("/").split("/", 1)
            if kind == "nodes":
                self.answer(json.dumps(served.version).encode(), "application/json")
            elif kind == "archives":
                self.answer(served.archive, "application/zip")
            elif kind == "files":
                self.answer(served.files[name][0], "application/zip")
            else:
                page = json.dumps(served.page(name)).encode()
                self.answer(page, "application/vnd.pypi.simple.v1+json")

        def answer(self, body: bytes, content_type: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

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


@dataclass
class Checkout:
    """A copy of what the program reads, with one endpoint, and repositories in place of GitHub's."""

    folder: Path
    index: Index

    @property
    def endpoint(self) -> Path:
        return self.folder / "apps/endpoints/probe"

    def repository(self, name: str, requirements: str | None, tag: str = "") -> str:
        """Makes a repository; returns its commit."""
        place = self.folder / "git" / name
        place.mkdir(parents=True)
        (place / "README.md").write_text(name)
        if requirements is not None:
            (place / "requirements.txt").write_text(requirements)
        who = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
        dates = {"GIT_COMMITTER_DATE": COMMITTED, "GIT_AUTHOR_DATE": COMMITTED}
        git = ["git", "-C", str(place)]
        for command in (
            [*git, "init", "--quiet"],
            [*git, "config", "uploadpack.allowAnySHA1InWant", "true"],
            [*git, "config", "uploadpack.allowFilter", "true"],
            [*git, "add", "."],
            [*git, *who, "commit", "--quiet", "-m", "x"],
            *([[*git, "tag", tag]] if tag else []),
        ):
            subprocess.run(command, check=True, env={**os.environ, **dates})
        done = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def write(self, *nodes: tuple[str, str]) -> list[dict[str, str]]:
        return self.write_nodes(
            *({"name": name, "repository": NODES + name, "commit": commit} for name, commit in nodes)
        )

    def write_nodes(self, *nodes: dict[str, str]) -> list[dict[str, str]]:
        listed = list(nodes)
        document = {"name": "probe", "title": "P", "comfyui": {"version": "9.9.9"}, "customNodes": listed}
        self.endpoint.mkdir(parents=True, exist_ok=True)
        (self.endpoint / "endpoint.json").write_text(json.dumps(document))
        return listed

    def lock(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        places = [(self.folder / "git/ComfyUI", COMFYUI), (f"{self.folder}/git/", NODES)]
        env = {
            "PATH": os.pathsep.join((str(UV.parent), os.environ["PATH"])),
            "HOME": str(self.folder),
            "UV_DEFAULT_INDEX": f"{self.index.url}/simple",
            "UV_NO_CONFIG": "1",
            "RYLA_COMFY_REGISTRY": self.index.url,
            "UV_PYTHON": sys.executable,
            "GIT_CONFIG_COUNT": str(len(places)),
        }
        for number, (place, address) in enumerate(places):
            env[f"GIT_CONFIG_KEY_{number}"] = f"url.file://{place}.insteadOf"
            env[f"GIT_CONFIG_VALUE_{number}"] = address
        program = self.folder / "apps/modal/lock_requirements.py"
        command = [sys.executable, str(program), str(self.endpoint), *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


@pytest.fixture
def checkout(tmp_path: Path, index: Index) -> Checkout:
    for path in ("apps/modal/lock_requirements.py", "libs/workflow/schema/endpoint.schema.json"):
        (tmp_path / path).parent.mkdir(parents=True)
        shutil.copyfile(REPOSITORY / path, tmp_path / path)
    for name, version in (("comfy_cli", "1.23.0"), ("aiohttp", "3.13.0"), ("blake3", "1.0.11")):
        index.add(name, version, NEW)
    for name, version, uploaded in (("alpha", "1.0", OLD), ("alpha", "2.0", NEW), ("beta", "1.5", OLD)):
        index.add(name, version, uploaded)
    made = Checkout(tmp_path, index)
    made.repository("ComfyUI", "alpha\n", tag="v9.9.9")
    return made


def pins(file: Path) -> list[str]:
    lines = file.read_text().splitlines()
    return [line.split(" ")[0] for line in lines if not line.startswith(("#", " "))]


def test_requirements_are_of_their_time_and_each_file_holds_what_is_new(checkout: Checkout) -> None:
    commit, plain = checkout.repository("needy", "alpha>=1\nbeta\n"), checkout.repository("plain", None)
    nodes = checkout.write(("needy", commit), ("plain", plain))
    done = checkout.lock()
    assert done.returncode == 0, done.stderr
    base = checkout.folder / "apps/modal/requirements/9.9.9"
    assert pins(base / "comfyui.txt") == ["alpha==1.0"]  # 2.0 came years after this ComfyUI
    assert pins(base / "worker.txt") == ["aiohttp==3.13.0", "blake3==1.0.11", "comfy-cli==1.23.0"]
    assert pins(checkout.endpoint / "requirements/needy.txt") == ["beta==1.5"]
    assert pins(checkout.endpoint / "requirements/plain.txt") == []
    digest = hashlib.sha256(checkout.index.files["beta-1.5-py3-none-any.whl"][0]).hexdigest()
    assert f"--hash=sha256:{digest}" in (checkout.endpoint / "requirements/needy.txt").read_text()
    assert "127.0.0.1" not in (base / "comfyui.txt").read_text()

    assert base_lock(checkout.folder / "apps/modal", "9.9.9", TOOLS).checked("again") is not None
    lock = node_lock(checkout.endpoint, "9.9.9", nodes)
    assert lock.checked("again") is not None
    assert lock.options("needy") == "--no-deps --require-hashes"
    with pytest.raises(InvalidEndpoint, match=r"with ComfyUI 9.9.10.*Lock again with `nx lock`"):
        node_lock(checkout.endpoint, "9.9.10", nodes).checked("nx lock")


def test_what_cannot_be_locked_is_told_and_changes_nothing(checkout: Checkout) -> None:
    checkout.write(("fine", checkout.repository("fine", "beta\n")))
    assert checkout.lock().returncode == 0
    file = checkout.endpoint / "requirements/fine.txt"
    before = file.read_text()
    checkout.write(("modern", checkout.repository("modern", "alpha>=2\n")))
    refused = checkout.lock()
    assert refused.returncode != 0
    assert "modern" in refused.stderr
    assert "alpha" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert [path.name for path in file.parent.iterdir()] == ["fine.txt"]
    assert file.read_text() == before

    checkout.write(("gone", "0" * 40))
    unknown = checkout.lock()
    assert f"{NODES}gone at {'0' * 40} cannot be fetched" in unknown.stderr


def test_a_version_of_the_registry_is_locked_from_its_archive(checkout: Checkout) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("requirements.txt", "alpha\nbeta\n")
        archive.writestr("__init__.py", "")
    checkout.index.archive = packed.getvalue()
    digest = hashlib.sha256(checkout.index.archive).hexdigest()
    node = {"name": "published", "registry": "published-nodes", "version": "1.2.3", "sha256": digest}
    nodes = checkout.write_nodes(node)
    done = checkout.lock()
    assert done.returncode == 0, done.stderr
    file = checkout.endpoint / "requirements/published.txt"
    assert pins(file) == ["beta==1.5"]
    assert file.read_text().startswith(
        "# locked for comfy-registry:published-nodes@1.2.3 with ComfyUI 9.9.9\n"
    )
    assert node_lock(checkout.endpoint, "9.9.9", nodes).checked("again") is not None

    checkout.write_nodes({**node, "sha256": "0" * 64})
    refused = checkout.lock()
    assert refused.returncode != 0
    assert f"has the SHA-256 {digest}, but endpoint.json names {'0' * 64}" in refused.stderr
    assert "Traceback" not in refused.stderr
