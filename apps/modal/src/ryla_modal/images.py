"""Images of a deployment. What changes seldom comes first; our own code is mounted, so that its change builds nothing."""

from __future__ import annotations

import importlib.util
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import modal

from .endpoint_inputs import FOLDER, Endpoint
from .requirements_lock import COMFY_CLI, WORKER, WORKER_PACKAGES, Lock
from .requirements_lock import COMFYUI as COMFYUI_LOCK
from .settings import Settings
from .warm_up import WarmUp

PYTHON_VERSION = "3.11"
UV_VERSION = "0.13.9"
COMFYUI = "/root/comfy/ComfyUI"
MODELS = "/root/models"
FILES = "/root/outputs"

SYSTEM_PACKAGES = ("git", "ffmpeg", "libgl1", "libglib2.0-0")
"""Of every image: what ComfyUI and most custom nodes need."""

GATEWAY_PACKAGES = (
    "starlette==1.10.0",
    "python-multipart==0.0.21",
    "blake3==1.0.11",
    "aiohttp>=3.12,<4",
)
SOURCE = ("comfy_worker", "ryla_modal")


def worker_image(
    settings: Settings, base: Lock | None, nodes: Lock | None, endpoints: Path | None = None
) -> modal.Image:
    """ComfyUI and its custom nodes, a layer or two for each node in the order of endpoint.json.

    `endpoints` is the folder of the endpoints: for a warm-up run it holds the endpoint's files, as the gateway's does.
    """
    image = _comfyui(settings.comfyui_version, base)
    if settings.system_packages:
        image = image.apt_install(*settings.system_packages)
    for node in settings.custom_nodes:
        image = _with_node(image, node, nodes)
    variables = {"COMFYUI_DIR": COMFYUI, "COMFYUI_MODELS_DIR": MODELS, "RYLA_FILES_DIR": FILES}
    image = image.env({**settings.variables, **variables}).add_local_python_source(*SOURCE)
    warm_up = WarmUp.of(settings.warm_up)
    if warm_up is None:
        return image
    extra = () if warm_up.workflow is None else (warm_up.workflow,)
    return _with_endpoint(image, settings, endpoints, extra)


def _comfyui(version: str, lock: Lock | None) -> modal.Image:
    image = modal.Image.debian_slim(python_version=PYTHON_VERSION).apt_install(*SYSTEM_PACKAGES)
    install = f"comfy --skip-prompt --workspace {COMFYUI} install --version {version} --nvidia --skip-manager"
    if lock is None:
        return (
            image.uv_pip_install(COMFY_CLI, uv_version=UV_VERSION)
            .run_commands(install, _compiled(COMFYUI))
            .uv_pip_install(*WORKER_PACKAGES, uv_version=UV_VERSION)
        )
    image = _locked(_locked(image, lock, COMFYUI_LOCK), lock, WORKER)
    return image.run_commands(f"{install} --skip-torch-or-directml --skip-requirement", _compiled(COMFYUI))


def _compiled(folder: str) -> str:
    """Bytecode for what was cloned: each container would compile it anew at its start. Some files are for no Python."""
    return f"python -m compileall -q {folder} || true"


def _locked(image: modal.Image, lock: Lock, name: str) -> modal.Image:
    if not lock.pins(name):
        return image
    requirements, options = [str(lock.file(name))], lock.options(name)
    return image.uv_pip_install(requirements=requirements, extra_options=options, uv_version=UV_VERSION)


def _with_node(image: modal.Image, node: Mapping[str, str], lock: Lock | None) -> modal.Image:
    folder = f"{COMFYUI}/custom_nodes/{node['name']}"
    commands = [_download(node, folder)]
    if lock is not None:
        image = _locked(image, lock, node["name"])
    else:
        install = f"python -m uv pip install --system -r {folder}/requirements.txt"
        commands.append(f"if [ -f {folder}/requirements.txt ]; then {install}; fi")
    commands.append(f"if [ -f {folder}/install.py ]; then cd {folder} && python install.py; fi")
    return image.run_commands(*commands, _compiled(folder))


def _download(node: Mapping[str, str], folder: str) -> str:
    if "registry" in node:
        words = [node["registry"], node["version"], folder, *filter(None, [node.get("sha256")])]
        return shlex.join(["python", "-c", f"exec({json.dumps(_registry_program())})", *words])
    repository = shlex.quote(node["repository"])
    return (
        f"git clone {repository} {folder} && git -C {folder} checkout --detach {node['commit']}"
        f" && git -C {folder} submodule update --init --recursive"
    )


def _registry_program() -> str:
    """Source of libs/worker's registry_node.py: in the command itself, as our code is not there while an image is built."""
    spec = importlib.util.find_spec("comfy_worker")
    if spec is None or spec.origin is None:
        raise RuntimeError("libs/worker is not installed: npm run setup")
    return Path(spec.origin).with_name("registry_node.py").read_text(encoding="utf-8")


def gateway_image(settings: Settings, endpoints: Path | None) -> modal.Image:
    """The CPU gateway: no ComfyUI, so that it starts in a second. It holds the endpoint's files, for typed inputs.

    `endpoints` is the folder of the endpoints; None inside a container, where the image is there already.
    """
    image = (
        modal.Image.debian_slim(python_version=PYTHON_VERSION)
        .uv_pip_install(*GATEWAY_PACKAGES, uv_version=UV_VERSION)
        .env({"RYLA_FILES_DIR": FILES})
        .add_local_python_source(*SOURCE)
    )
    return _with_endpoint(image, settings, endpoints)


def _with_endpoint(
    image: modal.Image, settings: Settings, endpoints: Path | None, extra: Sequence[str] = ()
) -> modal.Image:
    for file, name in _endpoint_files(settings, endpoints, extra):
        image = image.add_local_file(file, f"/root/{FOLDER}/{name}")
    return image


def _endpoint_files(
    settings: Settings, endpoints: Path | None, extra: Sequence[str]
) -> Sequence[tuple[Path, str]]:
    if settings.endpoint is None or endpoints is None:
        return ()
    folder = endpoints / settings.endpoint
    endpoint = Endpoint.load(folder)
    return [] if endpoint is None else [(folder / name, name) for name in (*endpoint.files(), *extra)]
