"""What a RunPod image is made of, from endpoint.json: the first stage of the Dockerfile.

python image_parts.py <root of the workspace> <endpoint, or nothing for plain ComfyUI> <folder for the parts>

Writes a folder for each step of the image, so that a step is built again only when what it needs is another: `system`
(Debian packages), `comfyui` and `nodes` (an install.sh with its locked requirements), and variables.sh.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ryla_modal.endpoint_document import InvalidEndpoint
from ryla_modal.requirements_lock import (
    COMFY_CLI,
    COMFYUI,
    TOOLS,
    WORKER,
    Lock,
    base_lock,
    node_lock,
)
from ryla_modal.settings import Settings

SYSTEM_PACKAGES = ("ffmpeg", "git", "libgl1", "libglib2.0-0")
"""Of every image: what ComfyUI and most custom nodes need."""

REGISTRY_PROGRAM = "registry_node.py"

HEAD = '#!/bin/sh\nset -eu\ncd "$(dirname "$0")"\n'


def write_parts(workspace: Path, endpoint: str, destination: Path) -> None:
    """Writes the parts of an endpoint's image. Raises InvalidEndpoint, also for a lock that is stale."""
    folder = workspace / "apps/endpoints" / endpoint
    settings = Settings.from_document(_document(folder, endpoint))
    command = f"npx nx run {endpoint}:lock"
    base = base_lock(workspace / "apps/modal", settings.comfyui_version, TOOLS).checked(command)
    nodes = node_lock(folder, settings.comfyui_version, settings.custom_nodes) if endpoint else None
    locked = None if nodes is None or base is None else nodes.checked(command)
    packages = sorted({*SYSTEM_PACKAGES, *settings.system_packages})
    _write(destination / "system/packages.txt", "\n".join(packages) + "\n")
    _write_step(destination / "comfyui", _comfyui(settings.comfyui_version, base), base)
    _write_step(destination / "nodes", _nodes(settings, locked), locked)
    if settings.custom_nodes:
        program = workspace / "libs/worker/src/comfy_worker" / REGISTRY_PROGRAM
        shutil.copyfile(program, destination / "nodes" / REGISTRY_PROGRAM)
    _write(destination / "variables.sh", "".join(_variables(settings.variables)))


def _document(folder: Path, endpoint: str) -> Mapping[str, Any]:
    file = folder / "endpoint.json"
    if not endpoint:
        return {"name": "comfyui"}
    if "/" in endpoint or not file.is_file():
        raise InvalidEndpoint(f"There is no endpoint {endpoint!r}: give --build-arg ENDPOINT=<name>.")
    return json.loads(file.read_text(encoding="utf-8"))


def _comfyui(version: str, lock: Lock | None) -> Iterator[str]:
    install = (
        'comfy --skip-prompt --no-enable-telemetry --workspace "$COMFYUI_DIR"'
        f" install --version {shlex.quote(version)} --nvidia --skip-manager"
    )
    if lock is None:
        yield f"uv pip install {shlex.quote(COMFY_CLI)}"
        yield install
        return
    for name in (COMFYUI, WORKER):
        yield _locked(lock, name)
    yield f"{install} --skip-torch-or-directml --skip-requirement"


def _nodes(settings: Settings, lock: Lock | None) -> Iterator[str]:
    for node in settings.custom_nodes:
        yield f'folder="$COMFYUI_DIR/custom_nodes/{node["name"]}"'
        yield from _download(node)
        if lock is None:
            yield 'if [ -f "$folder/requirements.txt" ]; then uv pip install -r "$folder/requirements.txt"; fi'
        elif lock.pins(node["name"]):
            yield _locked(lock, node["name"])
        yield 'if [ -f "$folder/install.py" ]; then (cd "$folder" && python install.py); fi'


def _download(node: Mapping[str, str]) -> Iterator[str]:
    if "registry" in node:
        package, version = shlex.quote(node["registry"]), shlex.quote(node["version"])
        sha256 = shlex.quote(node.get("sha256", ""))
        yield f'python {REGISTRY_PROGRAM} {package} {version} "$folder" {sha256 if node.get("sha256") else ""}'.rstrip()
        return
    yield f'git clone {shlex.quote(node["repository"])} "$folder"'
    yield f'git -C "$folder" checkout --detach {shlex.quote(node["commit"])}'
    yield 'git -C "$folder" submodule update --init --recursive'


def _locked(lock: Lock, name: str) -> str:
    return f"uv pip install {lock.options(name)} --requirements {shlex.quote(f'{name}.txt')}"


def _variables(variables: Mapping[str, str]) -> Iterator[str]:
    for name, value in sorted(variables.items()):
        yield f'[ -n "${{{name}+set}}" ] || export {name}={shlex.quote(value)}\n'


def _write_step(folder: Path, commands: Iterator[str], lock: Lock | None) -> None:
    _write(folder / "install.sh", HEAD + "".join(f"{command}\n" for command in commands))
    if lock is not None:
        for name in lock.sources:
            shutil.copyfile(lock.file(name), folder / lock.file(name).name)


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def main() -> None:
    """Writes the parts, or says what to mend."""
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    workspace, endpoint, destination = sys.argv[1:]
    try:
        write_parts(Path(workspace), endpoint, Path(destination))
    except InvalidEndpoint as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
