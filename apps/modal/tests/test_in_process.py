"""The same application over a real worker: `python -m ryla_modal.serve`, without its socket."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import uuid
from pathlib import Path
from typing import Any

import httpx
from comfy_worker import EngineConfig, Worker
from ryla_modal.job_runner import JobRunner
from ryla_modal.jobs import Jobs
from ryla_modal.local_backend import InProcessDispatcher
from ryla_modal.stores import FileStore, MemoryStore

PNG = b"\x89PNG\r\n\x1a\n"


async def finished(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    """Follows the events to the end, then the job."""
    await client.get(f"{url}/events")
    return (await client.get(url)).json()


def events_of(text: str) -> list[tuple[str, Any]]:
    blocks = [block.split("\n") for block in text.split("\n\n") if block.startswith("event:")]
    return [(lines[0][len("event: ") :], json.loads(lines[1][len("data: ") :])) for lines in blocks]


async def test_a_workflow_runs_and_its_outputs_come_before_the_end(
    served: httpx.AsyncClient, picture: dict[str, Any]
) -> None:
    job = (await served.post("/api/v2/jobs", json={"workflow": picture})).json()
    events = events_of((await served.get(job["urls"]["events"])).text)
    kinds = [kind for kind, _ in events]
    assert events[-1] == ("status", {"status": "succeeded", "queue_position": None})
    assert "output" in kinds[:-1]
    done = (await served.get(job["urls"]["self"])).json()
    assert done["progress"]["value"] == 1
    metrics = done["metrics"]
    assert (metrics.pop("peak_memory_bytes") or 1) > 0
    assert all(isinstance(value, int) for value in metrics.values()), metrics
    details = (await served.get(f"/api/ryla/jobs/{done['id']}")).json()
    assert details["metrics"]["uploadMs"] == metrics["upload_ms"]
    content = (await served.get(done["outputs"][0]["url"])).content
    assert content.startswith(PNG)
    assert len(content) == done["outputs"][0]["size_bytes"]
    workflow = (await served.get(f"{job['urls']['self']}/workflow")).json()
    assert workflow == {"workflow": picture, "format": "api"}


async def test_paths_that_lead_nowhere_are_answered_in_the_envelope(served: httpx.AsyncClient) -> None:
    for path in ("/nope", "/api/v2/assets/a%0Ab", "/api/v2/jobs/a%0Ab"):
        response = await served.get(path)
        assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


async def test_an_upload_reaches_the_workflow(served: httpx.AsyncClient, picture: dict[str, Any]) -> None:
    made = (await served.post("/generate-image/", json={"workflow_json": picture})).json()
    form = {"content_type": "image/png", "file_path": "in.png"}
    content = base64.b64decode(made["image"])
    asset = (await served.post("/api/v2/assets", data=form, files={"file": ("in.png", content)})).json()
    picture["1"] = {
        "class_type": "LoadImage",
        "inputs": {"image": {"__type": "core/ASSET", "info": {"id": asset["id"]}}},
    }
    job = (await served.post("/api/v2/jobs", json={"workflow": picture})).json()
    assert (await finished(served, job["urls"]["self"]))["status"] == "succeeded"


async def test_generate_image_answers_with_the_first_picture(
    served: httpx.AsyncClient, picture: dict[str, Any]
) -> None:
    for body in (picture, json.dumps(picture)):
        answer = (await served.post("/generate-image/", json={"workflow_json": body})).json()
        assert base64.b64decode(answer["image"]).startswith(PNG)
        assert answer["images"][0]["data"] == answer["image"]
        assert uuid.UUID(answer["jobId"])
    refused = await served.post("/generate-image/", json={"workflow_json": picture, "prompt": "a cat"})
    assert refused.status_code == 422
    assert (await served.get("/generate-image/")).json()["error"]["code"] == "method_not_allowed"


async def test_what_comfyui_refuses_names_the_node(
    served: httpx.AsyncClient, picture: dict[str, Any]
) -> None:
    picture["1"]["inputs"]["width"] = -5
    job = (await served.post("/api/v2/jobs", json={"workflow": picture})).json()
    error = (await finished(served, job["urls"]["self"]))["error"]
    assert (error["code"], error["node_id"], error["class_type"]) == ("invalid_workflow", "1", "EmptyImage")


async def test_a_killed_engine_fails_its_job_and_serves_the_next(
    engine: EngineConfig, tmp_path: Path, picture: dict[str, Any]
) -> None:
    if engine.url is not None:
        return  # somebody else's ComfyUI is not ours to kill
    store, files, worker = MemoryStore(), FileStore(tmp_path), Worker(engine)
    runner = JobRunner(store, files, worker, worker_id="w", started_at=0)
    dispatcher = InProcessDispatcher(runner)
    jobs = Jobs(store, dispatcher)
    await runner.start()
    try:
        large = {**picture["1"]["inputs"], "width": 8192, "height": 8192}  # seconds of work
        job = await jobs.submit({**picture, "1": {"class_type": "EmptyImage", "inputs": large}})
        while (await jobs.get(job["id"]))["progress"] is None:
            await asyncio.sleep(0.01)
        assert worker.process.pid is not None
        os.killpg(worker.process.pid, signal.SIGKILL)
        failed = await ended(jobs, job["id"])
        assert (failed["status"], failed["error"]["code"]) == ("failed", "engine_crashed")
        assert "-9" in failed["error"]["message"]
        job = await jobs.submit(picture)
        assert (await ended(jobs, job["id"]))["status"] == "succeeded"
    finally:
        await dispatcher.close()
        await runner.stop()


async def test_a_job_is_claimed_once(engine: EngineConfig, tmp_path: Path, picture: dict[str, Any]) -> None:
    store, files = MemoryStore(), FileStore(tmp_path)
    runner = JobRunner(store, files, Worker(engine), worker_id="w", started_at=0)
    dispatcher = InProcessDispatcher(runner)
    jobs = Jobs(store, dispatcher)
    await runner.start()
    try:
        job = await jobs.submit(picture)
        await runner.run(job["id"])
        done = await ended(jobs, job["id"])
        assert await runner.run(job["id"]) is True
        assert await jobs.get(job["id"]) | {"outputs": []} == done | {"outputs": []}
        held = str(uuid.uuid4())
        await store.put(f"job:{held}", {**await store.get(f"job:{job['id']}"), "id": held})
        await store.put(f"cancel:{held}", True)
        await runner.run(held)
        assert (await jobs.get(held))["status"] == "canceled"
    finally:
        await dispatcher.close()
        await runner.stop()


async def ended(jobs: Jobs, job_id: str) -> dict[str, Any]:
    while True:
        job = await jobs.get(job_id)
        if job["status"] in ("succeeded", "failed", "canceled"):
            return job
        await asyncio.sleep(0.02)
