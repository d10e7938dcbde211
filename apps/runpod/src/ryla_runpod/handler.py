"""One RunPod job: checked, run on the warm worker, reported."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from comfy_worker import (
    Claims,
    EngineUnavailable,
    HeldClaim,
    InputFile,
    Job,
    LogLine,
    OutputReady,
    Preview,
    Progress,
    ResultKept,
    Worker,
    WorkerError,
)
from comfy_worker.remote_input import fetch_inputs

from .model_check import ModelCheck
from .payload import Payload, parse_payload
from .result import to_result
from .result_bucket import ResultBucket

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

    def __init__(
        self,
        worker: Worker,
        report: Report,
        claims: Claims | None = None,
        *,
        models: ModelCheck | None = None,
        bucket: ResultBucket | None = None,
        private_inputs: bool = False,
    ) -> None:
        """`bucket` takes results that RunPod does not deliver; `private_inputs` lets input files come from hosts that
        are not public, and by http."""
        self._models = models
        self._bucket = bucket
        self._private_inputs = private_inputs
        self._worker = worker
        self._report = report
        self._claims = claims
        self._undelivered: HeldClaim | None = None
        self._worker_id = os.environ.get("RUNPOD_POD_ID", "")
        self._turn = asyncio.Lock()

    async def __call__(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """The handler that the SDK calls: returns the result, or `{"error": <JSON>}`."""
        async with self._turn:
            # RunPod's SDK asks for the next job when it has sent the last one's result.
            await self.delivered()
            try:
                payload = parse_payload(job.get("input"), str(job["id"]))
                refusal = None if self._models is None else self._models.refusal()
                if refusal is not None:
                    raise refusal
                if self._claims is None:
                    await self._worker.ensure_ready()
                    return await self._run(job, payload)
                holder = {"runpodJobId": str(job["id"]), "worker": self._worker_id}
                async with self._claims.claim(payload.job_id, holder) as claim:
                    await self._worker.ensure_ready()
                    result = await self._run(job, payload)
                    result = {**result, "attempt": claim.attempt}
                    await claim.commit(result)
                    self._undelivered = claim
                    return result
            except ResultKept as kept:
                return dict(kept.result)
            except WorkerError as error:
                failure: dict[str, Any] = {"error": json.dumps(error.to_json(), ensure_ascii=False)}
                if isinstance(error, EngineUnavailable):
                    # ComfyUI cannot be brought back here: RunPod replaces this worker.
                    failure["refresh_worker"] = True
                return failure

    async def delivered(self) -> None:
        """The last job's result was sent: it need not be kept for another delivery of the job."""
        claim, self._undelivered = self._undelivered, None
        if claim is not None:
            await claim.delivered()

    async def _run(self, job: Mapping[str, Any], payload: Payload) -> dict[str, Any]:
        if not payload.remote:
            return await self._run_with(job, payload, list(payload.files))
        with tempfile.TemporaryDirectory(prefix="ryla-inputs-") as folder:
            fetched = await fetch_inputs(
                list(payload.remote), Path(folder), payload.job_id, allow_private=self._private_inputs
            )
            return await self._run_with(job, payload, [*payload.files, *fetched])

    async def _run_with(
        self, job: Mapping[str, Any], payload: Payload, files: list[InputFile]
    ) -> dict[str, Any]:
        extra = {"api_key_comfy_org": payload.api_key_comfy_org} if payload.api_key_comfy_org else None
        request = Job(payload.job_id, payload.workflow, files, extra_data=extra, previews=False)
        reports = ProgressReports(
            lambda progress: self._report(job, {"progress": progress, "jobId": payload.job_id})
        )
        try:
            async with self._worker.run_job(request) as running:
                async for event in running:
                    match event:
                        case Progress() if event.value < 1:
                            reports.add(event.to_json())
                        case Progress() | Preview() | OutputReady() | LogLine():
                            continue
                return await to_result(running, self._worker_id, self._bucket)
        finally:
            reports.close()


class ProgressReports:
    """Sends the newest progress, never more often than the interval; none is sent after `close`."""

    def __init__(self, send: Callable[[Any], None], interval: float = PROGRESS_INTERVAL) -> None:
        self._send = send
        self._interval = interval
        self._latest: Any = None
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0.0

    def add(self, progress: Any) -> None:
        """Sends this, now or when the interval is over, unless a newer one comes."""
        self._latest = progress
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, self._next - loop.time()), self._flush)

    def _flush(self) -> None:
        self._timer = None
        self._next = asyncio.get_running_loop().time() + self._interval
        self._send(self._latest)

    def close(self) -> None:
        """What was not sent is dropped: the result follows."""
        if self._timer is not None:
            self._timer.cancel()
