"""`python -m ryla_runpod`, the real SDK in it, on the local RunPod with comfy-sim behind."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools/local-clouds/tests/runpod"))

from cloud import Cloud, is_alive, running_cloud
from local_clouds.engine import engine_environment


def workflow(node: str = "EmptyImage", **save: Any) -> dict[str, Any]:
    """One plain picture."""
    inputs = {"width": 16, "height": 8, "batch_size": 1, "color": 0xFF0000}
    return {
        "1": {"class_type": node, "inputs": inputs},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "red", **save}},
    }


def with_photo() -> tuple[dict[str, Any], list[dict[str, str]]]:
    """A picture that comes with the job, turned over."""
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (0, 255, 255)).save(buffer, "PNG")
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "photo.png"}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "turned/over"}},
    }
    return graph, [{"name": "photo.png", "image": base64.b64encode(buffer.getvalue()).decode()}]


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Cloud]:
    """A local RunPod whose endpoint runs this application."""
    environment = engine_environment({})
    async with running_cloud(tmp_path, worker_environment=environment) as started:
        yield started


async def register(cloud: Cloud, **env: str) -> None:
    """Registers this application as the endpoint's worker."""
    await cloud.register([sys.executable, "-m", "ryla_runpod"], env=env)


def error_of(job: dict[str, Any]) -> dict[str, Any]:
    """The machine-readable error of a failed job."""
    assert job["status"] == "FAILED", job
    return json.loads(job["error"])


async def test_both_payload_styles_give_the_same_shape_and_the_engine_stays_warm(cloud: Cloud) -> None:
    await register(cloud)
    bare = await cloud.ended(await cloud.run(workflow()))
    assert bare["status"] == "COMPLETED", bare
    (image,) = bare["output"]["images"]
    content = base64.b64decode(image["data"])
    assert (image["type"], image["nodeId"], image["kind"], image["contentType"]) == (
        "base64",
        "2",
        "image",
        "image/png",
    )
    assert image["size"] == len(content)
    assert Image.open(io.BytesIO(content)).convert("RGB").getpixel((0, 0)) == (255, 0, 0)
    assert bare["output"]["jobId"] == bare["id"]
    assert bare["output"]["workerId"] == bare["workerId"]
    assert bare["output"]["timings"]["bootMs"] > 0

    graph, images = with_photo()
    job_id = str(uuid.uuid4())
    wrapped = await cloud.ended(await cloud.run({"workflow": graph, "images": images, "jobId": job_id}))
    (image,) = wrapped["output"]["images"]
    assert (wrapped["output"]["jobId"], image["subfolder"]) == (job_id, "turned")
    assert Image.open(io.BytesIO(base64.b64decode(image["data"]))).convert("RGB").getpixel((0, 0)) == (
        255,
        0,
        0,
    )
    assert wrapped["output"]["timings"]["bootMs"] == 0


async def test_errors_name_the_node_and_the_worker_goes_on(cloud: Cloud) -> None:
    await register(cloud, COMFY_SIM_FAULTS="node-error=EmptyImage:1")
    failed = error_of(await cloud.ended(await cloud.run(workflow())))
    assert (failed["code"], failed["nodeId"], failed["classType"]) == (
        "node_execution_error",
        "1",
        "EmptyImage",
    )
    unknown = error_of(await cloud.ended(await cloud.run(workflow("NoSuchNode"))))
    assert (unknown["code"], unknown["nodeId"]) == ("invalid_workflow", "1")
    dangling = workflow()
    dangling["2"]["inputs"]["images"] = ["9", 0]
    assert error_of(await cloud.ended(await cloud.run(dangling)))["nodeId"] == "2"
    assert (await cloud.ended(await cloud.run(workflow())))["status"] == "COMPLETED"


async def test_comfyui_killed_in_mid_job_is_the_cause_and_the_next_job_succeeds(cloud: Cloud) -> None:
    await register(cloud, COMFY_SIM_FAULTS="slow=2:1")
    job = await cloud.run(workflow())
    running = await cloud.eventually(lambda: cloud.status(job), lambda found: "output" in found)  # in ComfyUI
    worker = (await cloud.workers())[0]["pid"]
    engine = await cloud.eventually(lambda: _engine_of(worker), lambda pid: pid is not None)
    os.kill(engine, signal.SIGKILL)
    failed = error_of(await cloud.ended(job))
    assert (failed["code"], failed["details"]["exitCode"]) == ("engine_crashed", -9)
    after = await cloud.ended(await cloud.run(workflow()))
    assert after["status"] == "COMPLETED", after
    assert after["workerId"] == running["workerId"]
    assert after["output"]["timings"]["bootMs"] > 0


async def test_a_job_that_is_submitted_twice_runs_once_and_says_where(cloud: Cloud, tmp_path: Path) -> None:
    await register(cloud, RYLA_CLAIMS_DIR=str(tmp_path / "claims"))
    job = {"workflow": workflow(), "jobId": str(uuid.uuid4())}
    first = await cloud.ended(await cloud.run(job))
    assert (first["status"], first["output"]["attempt"]) == ("COMPLETED", 1)
    second = error_of(await cloud.ended(await cloud.run(job)))
    assert (second["code"], second["details"]["runpodJobId"]) == ("already_claimed", first["id"])


async def test_a_comfyui_that_does_not_start_fails_the_job_with_its_last_words(
    cloud: Cloud, tmp_path: Path
) -> None:
    (tmp_path / "main.py").write_text("import sys; sys.exit('no such device')")
    await register(cloud, COMFYUI_DIR=str(tmp_path), COMFYUI_PYTHON=sys.executable)
    failed = error_of(await cloud.ended(await cloud.run(workflow())))
    assert failed["code"] == "engine_unavailable"
    assert "no such device" in json.dumps(failed)


async def test_a_cancelled_job_is_interrupted_and_the_worker_takes_the_next(cloud: Cloud) -> None:
    await register(cloud, COMFY_SIM_FAULTS="slow=1:1")
    job = await cloud.run(workflow())
    running = await cloud.until(job, "IN_PROGRESS")
    await cloud.call("POST", f"/cancel/{job}")
    after = await cloud.ended(await cloud.run(workflow()))
    assert (after["status"], after["workerId"]) == ("COMPLETED", running["workerId"])


async def test_nothing_is_left_of_a_stopped_worker(tmp_path: Path) -> None:
    async with running_cloud(tmp_path, worker_environment=engine_environment({})) as cloud:
        await register(cloud)
        await cloud.ended(await cloud.run(workflow()))
        worker = (await cloud.workers())[0]["pid"]
        engine = await _engine_of(worker)
        assert engine is not None
    assert not is_alive(worker)
    assert not is_alive(engine)


async def _engine_of(worker: int) -> int | None:
    """The ComfyUI that a worker has started."""
    for entry in Path("/proc").iterdir():
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            command = (entry / "cmdline").read_bytes()
        except (OSError, ValueError, IndexError):
            continue
        if parent == worker and b"main.py" in command:
            return int(entry.name)
    return None


async def test_a_worker_without_its_models_starts_no_comfyui_and_tells_each_job(
    cloud: Cloud, tmp_path: Path
) -> None:
    model = {"directory": "vae", "filename": "v.safetensors", "size": 1, "sha256": "a" * 64}
    await register(
        cloud,
        RYLA_MODELS=json.dumps([model]),
        RYLA_ENDPOINT="photo-finish",
        COMFYUI_MODELS_DIR=str(tmp_path / "models"),
    )
    refused = error_of(await cloud.ended(await cloud.run(workflow())))
    assert refused["code"] == "missing_models"
    assert refused["details"] == [{"path": "vae/v.safetensors", "problem": "missing"}]
    assert "/workspace/models/vae/v.safetensors" in refused["hint"]
    assert await _engine_of((await cloud.workers())[0]["pid"]) is None
    (tmp_path / "models/vae").mkdir(parents=True)
    (tmp_path / "models/vae/v.safetensors").write_bytes(b"x")
    assert (await cloud.ended(await cloud.run(workflow())))["status"] == "COMPLETED"


async def test_a_result_tells_where_the_time_went(cloud: Cloud) -> None:
    await register(cloud)
    done = await cloud.ended(await cloud.run(workflow()))
    metrics = done["output"]["metrics"]
    assert metrics["bootMs"] > 0
    assert set(metrics) == {
        *("queueMs", "bootMs", "modelLoadMs", "samplingMs", "encodeMs", "uploadMs"),
        *("gpu", "peakMemoryBytes"),
    }
