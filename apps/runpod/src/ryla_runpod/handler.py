"""One RunPod job: checked, run on the warm worker, reported."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from comfy_worker import EngineUnavailable, Job, LogLine, OutputReady, Preview, Progress, Worker, WorkerError

from .payload import Payload, parse_payload
from .result import to_result

PROGRESS_INTERVAL = 0.25
"""Seconds between two progress updates: each is a request to RunPod, and a later one may overtake an earlier."""

MODEL_FOLDERS = ("/runpod-volume/models", "/workspace/models", "/root/models")
"""Where models are: the network volume in a serverless worker, in a pod, and the image itself."""

Report = Callable[[Mapping[str, Any], Any], None]


def models_directory(environ: Mapping[str, str]) -> str | None:
    """COMFYUI_MODELS_DIR, or the first of the usual folders that exists."""
    return environ.get("COMFYUI_MODELS_DIR") or next(
        (path for path in MODEL_FOLDERS if Path(path).is_dir()), None
    )


class Handler:
    """Runs jobs one after the other on one worker."""

    def __init__(self, worker: Worker, report: Report) -> None:
        self._worker = worker
        self._report = report
        self._worker_id = os.environ.get("RUNPOD_POD_ID", "")
        self._turn = asyncio.Lock()

    async def __call__(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """The handler that the SDK calls: returns the result, or `{"error": <JSON>}`."""
        async with self._turn:
            try:
                payload = parse_payload(job.get("input"), str(job["id"]))
                await self._worker.ensure_ready()
                return await self._run(job, payload)
            except WorkerError as error:
                await self._worker.recover(error)
                failure: dict[str, Any] = {"error": json.dumps(error.to_json(), ensure_ascii=False)}
                if isinstance(error, EngineUnavailable):
                    # ComfyUI cannot be brought back here: RunPod replaces this worker.
                    failure["refresh_worker"] = True
                return failure

    async def _run(self, job: Mapping[str, Any], payload: Payload) -> dict[str, Any]:
        extra = {"api_key_comfy_org": payload.api_key_comfy_org} if payload.api_key_comfy_org else None
        request = Job(payload.job_id, payload.workflow, payload.files, extra_data=extra, previews=False)
        reported = 0.0
        async with self._worker.run_job(request) as running:
            async for event in running:
                match event:
                    case Progress() if time.monotonic() - reported >= PROGRESS_INTERVAL and event.value < 1:
                        reported = time.monotonic()
                        self._report(job, {"progress": event.to_json(), "jobId": payload.job_id})
                    case Progress() | Preview() | OutputReady() | LogLine():
                        continue
            return await to_result(running, self._worker_id)
