"""What happens before a memory snapshot and what after it, on the local Modal, which runs both kinds of enter hooks.

The ComfyUI is comfy-sim in a folder that looks like ComfyUI's to the launcher. A real one is checked where COMFYUI_DIR
names it: see test_a_real_comfyui_asks_for_no_gpu_before_the_snapshot.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from comfy_worker import EngineConfig, EngineUnavailable, Worker
from endpoint_workspace import Workspace
from local_modal import LocalModal, needs_local_clouds, running
from ryla_modal.snapshot import before_snapshot, worker_of

IMPORTS_DONE = "Snapshot: ComfyUI's imports are done, "
ENGINE_STARTS = "the engine starts"
WARMED_UP = "The warm-up run took"

FILES = {
    "comfy/__init__.py": "",
    "comfy/utils.py": "",
    "comfy/options.py": "def enable_args_parsing(): pass\n",
    "cuda_malloc.py": "",
    "comfyui_version.py": "__version__ = '0.3.64'\n",
}


@pytest.fixture
def comfyui(tmp_path: Path) -> Path:
    spec = find_spec("comfy_sim")
    if spec is None or spec.origin is None:
        pytest.skip("comfy-sim is not installed")
    engine = Path(spec.origin).parent / "engine" / "main.py"
    folder = tmp_path / "ComfyUI"
    main = f"import runpy\nprint({ENGINE_STARTS!r}, flush=True)\nrunpy.run_path({str(engine)!r}, run_name='__main__')\n"
    for name, text in {**FILES, "main.py": main}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def cloud(tmp_path: Path, comfyui: Path) -> Iterator[LocalModal]:
    (tmp_path / "cloud").mkdir()
    yield from running(tmp_path / "cloud", COMFYUI_DIR=str(comfyui), COMFYUI_PYTHON=sys.executable)


@needs_local_clouds
def test_imports_come_before_the_snapshot_and_the_gpu_and_the_warm_up_after_it(
    cloud: LocalModal, tmp_path: Path
) -> None:
    created = cloud.modal("secret", "create", "ryla-secrets", "RYLA_LEASE_SECONDS=4")
    assert created.returncode == 0, created.stderr
    workspace = Workspace(tmp_path / "checkout")
    workspace.write(snapshot="cpu", warmUp={"required": True})
    workspace.deploy(cloud)
    with cloud.client("ryla-probe-api", **cloud.proxy_auth) as client:
        job = client.post("/api/ryla/run", json={"inputs": {"width": 64}}).json()
        client.get(job["urls"]["events"])
        assert client.get(job["urls"]["self"]).json()["status"] == "succeeded"
    log = (tmp_path / "cloud" / "log").read_text(encoding="utf-8")
    places = [log.index(text) for text in (IMPORTS_DONE, ENGINE_STARTS, WARMED_UP)]
    assert places == sorted(places)
    assert log.count(ENGINE_STARTS) == 1
    facts = json.loads(log[places[0] + len(IMPORTS_DONE) :].partition("}")[0] + "}")
    assert (facts["cudaProbes"], facts["gpuFiles"]) == ([], 0)


async def test_a_comfyui_that_cannot_be_prepared_is_started_after_the_snapshot(engine: EngineConfig) -> None:
    log: list[str] = []
    worker = Worker(engine)
    await before_snapshot(worker, "cpu", log.append)
    assert log == ["Snapshot: nothing was prepared, because this ComfyUI is none that could be."]
    await before_snapshot(worker, "none", log.append)
    assert len(log) == 1
    assert not worker.process.prepared


async def test_a_snapshot_with_a_gpu_holds_a_comfyui_that_runs(engine: EngineConfig) -> None:
    worker = Worker(engine)
    try:
        await before_snapshot(worker, "gpu", print)
        url = worker.process.url
        await worker.start()  # after the restore
        assert worker.process.url == url
    finally:
        await worker.stop()


async def test_imports_that_fail_do_not_stop_the_container(comfyui: Path) -> None:
    log: list[str] = []
    worker = Worker(EngineConfig(directory=comfyui, python=Path("/nonexistent/python")))
    await before_snapshot(worker, "cpu", log.append)
    assert log[0].startswith("Snapshot: it holds no ComfyUI.")
    with pytest.raises(EngineUnavailable):
        await worker.start()


def test_the_endpoints_models_are_read_ahead(comfyui: Path) -> None:
    models = [{"directory": "vae", "filename": "a.safetensors"}]
    environ = {"COMFYUI_DIR": str(comfyui), "COMFYUI_MODELS_DIR": "/models"}
    assert read_ahead(worker_of(environ, models)) == (Path("/models/vae/a.safetensors"),)
    own = {**environ, "COMFYUI_READ_AHEAD": "b.safetensors"}
    assert read_ahead(worker_of(own, models)) == (Path("/models/b.safetensors"),)


def read_ahead(worker: Worker) -> tuple[Path, ...]:
    return worker.process.cold_start.config.read_ahead


@pytest.mark.skipif(
    not Path(os.environ.get("COMFYUI_DIR", "/nonexistent"), "comfy", "utils.py").is_file(),
    reason="COMFYUI_DIR names no real ComfyUI",
)
async def test_a_real_comfyui_asks_for_no_gpu_before_the_snapshot() -> None:
    worker = worker_of(os.environ, ())
    try:
        await before_snapshot(worker, "cpu", print)
        assert worker.process.prepared
        facts = worker.process.cold_start.held_facts
        assert facts is not None
        assert (facts["cudaProbes"], facts["cudaInitialized"], facts["gpuFiles"]) == ([], False, 0)
        await worker.start()
    finally:
        await worker.stop()
