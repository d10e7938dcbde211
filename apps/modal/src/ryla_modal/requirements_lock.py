"""Locked Python requirements of an image: of a ComfyUI version for all endpoints, and of an endpoint's custom nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .endpoint_document import InvalidEndpoint

FOLDER = "requirements"
"""Beside endpoint.json, for its custom nodes; beside comfyui_app.py, a folder for each version of ComfyUI."""

COMFYUI = "comfyui"
"""The lock file of ComfyUI's own requirements."""

WORKER = "worker"
"""The lock file of comfy-cli and of what libs/worker imports."""

COMFY_CLI = "comfy-cli==1.23.0"

WORKER_PACKAGES = ("aiohttp>=3.12,<4", "blake3==1.0.11")
"""What libs/worker and the GPU side of this package import."""

TOOLS = (COMFY_CLI, *WORKER_PACKAGES)
"""What an image has beside ComfyUI's own requirements and those of the nodes."""

MARK = "# locked for "
"""Begins a lock file; what follows says of which source."""


@dataclass(frozen=True)
class Lock:
    """Lock files in one folder, and what each must be for."""

    folder: Path
    sources: Mapping[str, str]

    def file(self, name: str) -> Path:
        """A lock file, there or not."""
        return self.folder / f"{name}.txt"

    def stale(self) -> list[str]:
        """Names of files that are for something else, or not there."""
        return [name for name, source in self.sources.items() if _source_of(self.file(name)) != source]

    def pins(self, name: str) -> list[str]:
        """`name==version` of what a file holds."""
        lines = self.file(name).read_text(encoding="utf-8").splitlines()
        return [line.removesuffix(" \\") for line in lines if line and not line.startswith(("#", " "))]

    def options(self, name: str) -> str:
        """How uv installs the file: nothing besides, and by hash unless a pin has none (those from git)."""
        hashed = all("==" in pin for pin in self.pins(name))
        return "--no-deps --require-hashes" if hashed else "--no-deps"

    def checked(self, command: str) -> Lock | None:
        """This lock; None when there is none. Raises InvalidEndpoint when it is stale; `command` mends it."""
        if not self.folder.is_dir():
            return None
        for name in self.stale():
            found, wanted = _source_of(self.file(name)) or "nothing", self.sources[name]
            raise InvalidEndpoint(
                f"{self.file(name)} is locked for {found}, but the image is for {wanted}. "
                f"Lock again with `{command}`."
            )
        return self


def base_lock(folder: Path, comfyui_version: str, tools: Sequence[str]) -> Lock:
    """The lock of a ComfyUI version, and of the tools beside it, that all endpoints share."""
    sources = {COMFYUI: f"ComfyUI {comfyui_version}", WORKER: " ".join(tools)}
    return Lock(folder / FOLDER / comfyui_version, sources)


def node_lock(folder: Path, comfyui_version: str, nodes: Sequence[Mapping[str, str]]) -> Lock:
    """The lock of custom nodes beside an endpoint.json."""
    sources = {node["name"]: f"{node_source(node)} with ComfyUI {comfyui_version}" for node in nodes}
    return Lock(folder / FOLDER, sources)


def node_source(node: Mapping[str, str]) -> str:
    """Where a custom node's code is from, and which: equal for equal code."""
    if "registry" in node:
        return f"comfy-registry:{node['registry']}@{node['version']}"
    return f"{node['repository']}@{node['commit']}"


def _source_of(file: Path) -> str:
    try:
        with file.open(encoding="utf-8") as lines:
            first = lines.readline().strip()
    except FileNotFoundError:
        return ""
    return first.removeprefix(MARK) if first.startswith(MARK) else ""
