"""What the real `modal deploy` sends for each shipped endpoint, and which layers a change builds anew."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from endpoint_workspace import REPOSITORY, Workspace, deploy
from local_modal import LocalModal, needs_local_clouds, running

pytestmark = needs_local_clouds

UV = "COPY --from=ghcr.io/astral-sh/uv:0.13.9 /uv /.uv/uv"
INSTALL = "RUN /.uv/uv pip install --python $(command -v python) --compile-bytecode"
COMFY = "RUN comfy --skip-prompt --workspace /root/comfy/ComfyUI install --version {} --nvidia --skip-manager"
COMPILE = "RUN python -m compileall -q {} || true"
SYSTEM = ["FROM base", "RUN apt-get update", "RUN apt-get install -y git ffmpeg libgl1 libglib2.0-0"]
ENV = [
    "FROM base",
    "ENV COMFYUI_DIR=/root/comfy/ComfyUI",
    "ENV COMFYUI_MODELS_DIR=/root/models",
    "ENV RYLA_FILES_DIR=/root/outputs",
]


def locked(name: str) -> list[str]:
    return [
        "FROM base",
        UV,
        f"COPY /.0_{name}.txt /.uv/0/{name}.txt",
        f"{INSTALL} --no-deps --require-hashes --requirements /.uv/0/{name}.txt",
    ]


RES4LYF = "/root/comfy/ComfyUI/custom_nodes/res4lyf"
GATEWAY = [
    [
        "FROM base",
        UV,
        f"{INSTALL} 'aiohttp>=3.12,<4' blake3==1.0.11 python-multipart==0.0.21 starlette==1.10.0",
    ],
    ["FROM base", "ENV RYLA_FILES_DIR=/root/outputs"],
]
OUTPUTS = {"name": "ryla-outputs", "mountPath": "/root/outputs", "readOnly": False, "subPath": None}
MODELS = {"name": "ryla-models", "mountPath": "/root/models", "readOnly": True, "subPath": None}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalModal]:
    for made in running(tmp_path_factory.mktemp("clouds")):
        for secret in ("ryla-secrets", "extra"):
            created = made.modal("secret", "create", secret, "A=1")
            assert created.returncode == 0, created.stderr
        yield made


def commands(function: dict[str, Any]) -> list[list[str]]:
    """Commands by layer, above Modal's own base."""
    return [layer["commands"] for layer in function["image"]][1:]


SHIPPED: dict[str, dict[str, Any]] = {
    "flux-schnell": {
        "gpu": ["L40S", "A100-80GB"],
        "resources": {"milliCpu": 4000, "memoryMb": 32768, "gpuConfig": {"count": 1, "gpuType": "L40S"}},
        "timeout": 420,
        "startupTimeout": 600,
    },
    "photo-finish": {
        "gpu": ["T4"],
        "resources": {"milliCpu": 2000, "memoryMb": 4096, "gpuConfig": {"count": 1, "gpuType": "T4"}},
        "timeout": 240,
        "startupTimeout": 300,
    },
    "z-image-turbo": {
        "gpu": ["L4"],
        "resources": {"milliCpu": 4000, "memoryMb": 20480, "gpuConfig": {"count": 1, "gpuType": "L4"}},
        "timeout": 420,
        "startupTimeout": 600,
    },
    "comfyui": {
        "gpu": ["L40S", "A100-80GB"],
        "resources": {"milliCpu": 4000, "memoryMb": 16384, "gpuConfig": {"count": 1, "gpuType": "L40S"}},
        "timeout": 1920,
        "startupTimeout": 600,
    },
}
"""By app, the generic one included: what its GPU class must be given."""

COMFYUI = {"z-image-turbo": "0.3.75"}
"""Versions of ComfyUI that are not the one of all others; nobody has locked their requirements."""

EVERY_WORKER = {
    "minContainers": 0,
    "maxContainers": 2,
    "bufferContainers": 0,
    "scaledownWindow": 60,
    "concurrency": 1,
    "retries": 0,
    "snapshot": False,
    "experimental": {},
    "regions": [],
    "secrets": ["ryla-secrets"],
    "volumes": [MODELS, OUTPUTS],
    "webLabels": [],
}


def test_every_shipped_endpoint_is_asserted() -> None:
    shipped = {path.parent.name for path in (REPOSITORY / "apps/endpoints").glob("*/endpoint.json")}
    assert shipped <= SHIPPED.keys(), "say in SHIPPED what the new endpoint's deployment must be"


@pytest.mark.parametrize("name", SHIPPED)
def test_the_recorded_deployment(cloud: LocalModal, name: str) -> None:
    environ = {} if name == "comfyui" else {"RYLA_ENDPOINT": name}
    app = deploy(cloud, f"ryla-{name}", "--tag", "f00d", **environ)
    functions = app["functions"]
    assert set(functions) == {"ComfyWorker.*", "api", "generate_image", "notify"}
    assert app["deployments"][-1]["tag"] == "f00d"
    assert app["tags"] == {
        "ryla-endpoint": "any" if name == "comfyui" else name,
        "ryla-environment": "default",
        "comfyui": COMFYUI.get(name, "0.3.64"),
    }
    worker = functions["ComfyWorker.*"]
    wanted = SHIPPED[name] | EVERY_WORKER
    assert {key: worker[key] for key in wanted} == wanted
    cloned = [
        "FROM base",
        f"RUN git clone https://github.com/ClownsharkBatwing/RES4LYF {RES4LYF}"
        f" && git -C {RES4LYF} checkout --detach 022c873c6d198c67b3312a1804336533a050df18"
        f" && git -C {RES4LYF} submodule update --init --recursive",
        f"RUN if [ -f {RES4LYF}/install.py ]; then cd {RES4LYF} && python install.py; fi",
        COMPILE.format(RES4LYF),
    ]
    compiled = COMPILE.format("/root/comfy/ComfyUI")
    install = ["FROM base", f"{COMFY.format('0.3.64')} --skip-torch-or-directml --skip-requirement", compiled]
    nodes = [locked("res4lyf"), cloned] if name == "comfyui" else []
    layers = [locked("comfyui"), locked("worker"), install, *nodes]
    if name in COMFYUI:
        tools, unlocked, packages, *others = commands(worker)[1:-1]
        assert (unlocked, others) == (["FROM base", COMFY.format(COMFYUI[name]), compiled], [])
        assert (tools[:2], packages[:2]) == (["FROM base", UV], ["FROM base", UV])
        layers = [tools, unlocked, packages]
    assert commands(worker) == [SYSTEM, *layers, ENV]
    for function, label in (("api", f"ryla-{name}-api"), ("generate_image", f"ryla-{name}-generate-image")):
        web = functions[function]
        assert commands(web) == GATEWAY
        assert (web["webLabels"], web["proxyAuth"]) == ([f"local--{label}"], True)
        assert (web["concurrency"], web["gpu"], web["volumes"]) == (100, [], [OUTPUTS])
        assert web["resources"] == {"milliCpu": 500, "memoryMb": 512, "gpuConfig": {}}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def node(name: str, digit: str) -> dict[str, str]:
    return {"name": name, "repository": f"https://nodes.example/{name}", "commit": digit * 40}


def layers(app: Any, function: str = "ComfyWorker.*") -> list[str]:
    return [layer["id"] for layer in app["functions"][function]["image"]]


def test_a_nodes_commit_builds_from_there_and_python_code_builds_nothing(
    cloud: LocalModal, workspace: Workspace
) -> None:
    nodes = [node("first", "1"), node("second", "2"), node("third", "3")]
    workspace.write(customNodes=nodes)
    before = layers(workspace.deploy(cloud))
    assert [
        index
        for index, text in enumerate(
            map(str, commands(cloud.app("ryla-probe")["functions"]["ComfyWorker.*"])), 1
        )
        if "git clone" in text
    ] == [5, 6, 7]

    workspace.write(customNodes=[nodes[0], node("second", "4"), nodes[2]])
    changed = layers(workspace.deploy(cloud))
    assert changed[:6] == before[:6]
    assert not set(changed[6:]) & set(before[6:])
    assert len(changed) == len(before)

    workspace.write(customNodes=nodes)
    app = workspace.deploy(cloud)
    assert layers(app) == before
    for path in ("ryla_modal/gateway.py", "ryla_modal/job_runner.py"):
        with (workspace.folder / "apps/modal/src" / path).open("a", encoding="utf-8") as file:
            file.write("\nADDED = 1\n")
    # What a container is given besides its image is new: its settings, its GPUs, its files.
    workspace.write(customNodes=nodes, gpu=["H100"], scaling={"maxContainers": 7}, title="Another")
    again = workspace.deploy(cloud)
    assert layers(again) == before
    assert layers(again, "api") == layers(app, "api")
    assert again["functions"]["ComfyWorker.*"]["gpu"] == ["H100"]
    assert again["functions"]["ComfyWorker.*"]["mounts"] != app["functions"]["ComfyWorker.*"]["mounts"]


def test_everything_endpoint_json_can_say_reaches_modal(cloud: LocalModal, workspace: Workspace) -> None:
    workspace.write(
        gpu=["H100:2", "A100-80GB"],
        cpu=8,
        memory=65536,
        regions=["us-east", "eu"],
        snapshot="cpu",
        secrets=["extra"],
        volumes=[{"name": "loras", "mountPath": "/data/loras", "readOnly": True, "subPath": "team"}],
        image={"systemPackages": ["libsndfile1"], "variables": {"OMP_NUM_THREADS": "8"}},
        scaling={"minContainers": 1, "maxContainers": 4, "bufferContainers": 2, "scaledownWindow": 300},
        timeouts={"execution": 86400, "startup": 900},
        gateway={"cpu": 1, "memory": 1024, "concurrency": 50, "minContainers": 1, "scaledownWindow": 120},
        providers={"modal": {"label": "pictures", "auth": "bearer"}},
        environments={
            "dev": {"gpu": ["T4"], "scaling": {"minContainers": 0}, "gateway": {"minContainers": 0}},
            "gpu-snapshots": {
                "snapshot": "gpu",
                "scaling": {"minContainers": 0},
                "gateway": {"minContainers": 0},
            },
        },
    )
    # Nothing is deployed with warm containers, which would start here: the two environments have none.
    dev = workspace.deploy(cloud, RYLA_ENVIRONMENT="dev")
    worker, api = dev["functions"]["ComfyWorker.*"], dev["functions"]["api"]
    assert dev["tags"]["ryla-environment"] == "dev"
    assert worker["gpu"] == ["T4"]
    assert (worker["resources"]["milliCpu"], worker["resources"]["memoryMb"]) == (8000, 65536)
    assert worker["regions"] == api["regions"] == ["us-east", "eu"]
    assert worker["secrets"] == ["ryla-secrets", "extra"]
    assert worker["volumes"] == [
        MODELS,
        OUTPUTS,
        {"name": "loras", "mountPath": "/data/loras", "readOnly": True, "subPath": "team"},
    ]
    assert (worker["minContainers"], worker["maxContainers"], worker["bufferContainers"]) == (0, 4, 2)
    assert (worker["scaledownWindow"], worker["timeout"], worker["startupTimeout"]) == (300, 86400, 900)
    assert (worker["snapshot"], worker["experimental"]) == (True, {})
    assert ["FROM base", "RUN apt-get update", "RUN apt-get install -y libsndfile1"] in commands(worker)
    assert "ENV OMP_NUM_THREADS=8" in commands(worker)[-1]
    assert api["webLabels"] == ["local--pictures-api"]
    assert (api["proxyAuth"], api["concurrency"], api["scaledownWindow"]) == (False, 50, 120)
    assert api["resources"] == {"milliCpu": 1000, "memoryMb": 1024, "gpuConfig": {}}

    snapshots = workspace.deploy(cloud, RYLA_ENVIRONMENT="gpu-snapshots")["functions"]["ComfyWorker.*"]
    assert (snapshots["gpu"], snapshots["snapshot"]) == (["H100", "A100-80GB"], True)
    assert snapshots["resources"]["gpuConfig"] == {"count": 2, "gpuType": "H100"}
    assert "enable_gpu_snapshot" in snapshots["experimental"]


def test_a_version_of_the_comfy_registry_is_a_layer_of_its_own(
    cloud: LocalModal, workspace: Workspace
) -> None:
    published = {"name": "second", "registry": "second-nodes", "version": "1.2.3", "sha256": "a" * 64}
    workspace.write(customNodes=[node("first", "1"), published])
    before = workspace.deploy(cloud)
    made = commands(before["functions"]["ComfyWorker.*"])
    folder = "/root/comfy/ComfyUI/custom_nodes/second"
    assert made[-2][1].startswith("RUN python -c 'exec(")
    assert made[-2][1].endswith(f" second-nodes 1.2.3 {folder} {'a' * 64}")
    # The program that is in the command runs, and takes these words.
    command = made[-2][1].removeprefix("RUN ").replace(f" {folder} {'a' * 64}", "")
    env = {"PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))}
    told = subprocess.run(["sh", "-c", command], env=env, capture_output=True, text=True, check=False)
    assert told.stderr == "python registry_node.py <id> <version> <folder> [<sha256>]\n"

    workspace.write(customNodes=[node("first", "1"), {**published, "version": "1.2.4"}])
    changed = workspace.deploy(cloud)
    assert layers(changed)[:6] == layers(before)[:6]
    assert layers(changed)[6] != layers(before)[6]


def test_the_modal_environment_chooses_the_overrides(cloud: LocalModal, workspace: Workspace) -> None:
    workspace.write(environments={"staging": {"memory": 2048}})
    assert cloud.modal("environment", "create", "staging").returncode == 0
    created = cloud.modal("secret", "create", "-e", "staging", "ryla-secrets", "A=1")
    assert created.returncode == 0, created.stderr
    done = cloud.modal(
        "deploy", "comfyui_app.py", "-e", "staging", cwd=workspace.folder / "apps/modal", **workspace.environ
    )
    assert done.returncode == 0, done.stdout + done.stderr
    apps = httpx.get(f"{cloud.web}/_local/apps").json()
    (found,) = [app for app in apps if (app["name"], app["environment"]) == ("ryla-probe", "staging")]
    assert cloud.app(found["id"])["functions"]["ComfyWorker.*"]["resources"]["memoryMb"] == 2048


def test_what_modal_does_not_take_is_refused_before_anything_is_sent(
    cloud: LocalModal, workspace: Workspace
) -> None:
    workspace.write(
        timeouts={"execution": 90000},
        scaling={"scaledownWindow": 2000},
        gpu=["ZZZ"],
        environments={"prod": {"memory": 1}},
        customNodes=[{"name": "x", "registry": "x", "version": "latest"}],
    )
    sent = httpx.get(f"{cloud.web}/_local/state").json()["rpcs"]
    done = cloud.modal("deploy", "comfyui_app.py", cwd=workspace.folder / "apps/modal", **workspace.environ)
    assert done.returncode != 0
    text = " ".join((done.stdout + done.stderr).replace("│", " ").split())
    assert "timeouts.execution: 90000 is out of range; Modal takes 1 to 86400 seconds" in text
    assert "scaling.scaledownWindow: 2000 is out of range; Modal takes 2 to 1200 seconds" in text
    assert "gpu[0]: 'ZZZ' does not match" in text
    assert "customNodes[0].version: 'latest' does not match" in text
    assert "environments.prod.memory: 1 is out of range; Modal takes 128 to 344064 MiB" in text
    assert httpx.get(f"{cloud.web}/_local/state").json()["rpcs"] == sent
