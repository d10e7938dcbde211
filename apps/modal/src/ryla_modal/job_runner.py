"""The GPU side of a job: claim, run, report, keep its outputs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from comfy_worker import (
    EngineUnavailable,
    InputFile,
    InputFileRejected,
    Job,
    JobCanceled,
    JobRun,
    OutputReady,
    Preview,
    Progress,
    Worker,
    WorkerError,
)

from .stores import FileStore, KeyValueStore, new_asset

REPORT_INTERVAL = 0.2
"""Seconds between two reports of progress; the gateway asks every 0.25 s."""


class WorkerLost(WorkerError):
    """The container that ran the job is gone."""

    code = "worker_lost"
    retryable = True


class JobRunner:
    """Runs jobs out of the store on one warm worker."""

    def __init__(
        self,
        store: KeyValueStore,
        files: FileStore,
        worker: Worker,
        *,
        worker_id: str,
        started_at: float,
        catalogue_key: str = "",
        refusal: WorkerError | None = None,
    ) -> None:
        """`refusal` is why this worker can run no job, such as models that are missing: each job is told."""
        self._store = store
        self._files = files
        self._worker = worker
        self._worker_id = worker_id
        self._refusal = refusal
        self._catalogue_key = catalogue_key
        self._started_at = started_at
        """When this container began to start, in seconds since 1970."""
        self._ready_at: float | None = None

    async def start(self) -> None:
        """Starts ComfyUI and tells the gateway which node classes it has. Raises EngineUnavailable.

        With a refusal it starts nothing: the error belongs to a job, where its caller reads it.
        """
        if self._refusal is not None:
            return
        await self._worker.start()
        self._ready_at = time.time()
        classes = sorted(await self._worker.client.node_classes())
        await self._store.put(f"node_classes:{self._catalogue_key}", classes)

    async def stop(self) -> None:
        """Stops ComfyUI."""
        await self._worker.stop()

    async def run(self, job_id: str) -> bool:
        """Runs a job to its end, which is in the store afterwards.

        Does nothing for a job that is unknown or was claimed before: a second delivery never runs twice.
        Returns False when this worker cannot go on and should take no more jobs.
        """
        job = await self._store.get(f"job:{job_id}")
        if job is None or not await self._store.put_if_absent(f"claim:{job_id}", self._worker_id):
            return True
        reporter = _Reporter(self._store, job, self._worker_id, self._cold_start_ms(job))
        await reporter.begin()
        try:
            if await self._is_canceled(job_id):
                raise JobCanceled(f"Job {job_id} was canceled before it began.", job_id=job_id)
            if self._refusal is not None:
                raise self._refusal
            await self._worker.ensure_ready()
            await self._run(job, reporter)
        except asyncio.CancelledError:
            await asyncio.shield(self._stopped(reporter, job_id))
            raise
        except JobCanceled:
            await reporter.end("canceled")
        except WorkerError as error:
            await reporter.end("failed", error)
            if error is self._refusal:
                return False  # the next job gets a container that looks at the volume anew
            await self._worker.recover(error)
            return not isinstance(error, EngineUnavailable) or await self._recovers()
        return True

    async def _is_canceled(self, job_id: str) -> bool:
        return await self._store.get(f"cancel:{job_id}") is not None

    async def _stopped(self, reporter: _Reporter, job_id: str) -> None:
        """Our task was cancelled: by the caller's wish, or because the cloud takes the container away."""
        if await self._is_canceled(job_id):
            await reporter.end("canceled")
            return
        message = f"The container of job {job_id} was stopped while the job ran."
        hint = "It was preempted, replaced by a deployment, or met Modal's timeout. Submit it under a new job id."
        await reporter.end("failed", WorkerLost(message, job_id=job_id, hint=hint))

    async def _recovers(self) -> bool:
        try:
            await self._worker.ensure_ready()
        except EngineUnavailable:
            return False
        return True

    def _cold_start_ms(self, job: Mapping[str, Any]) -> int:
        ready = self._ready_at or time.time()
        begun = max(self._started_at, job["created"])
        return max(0, round((ready - begun) * 1000))

    async def _run(self, job: Mapping[str, Any], reporter: _Reporter) -> None:
        secret = await self._store.pop(f"extra_data:{job['id']}")
        request = Job(
            job["id"], job["workflow"], await self._inputs(job), timeout=job.get("timeout"), extra_data=secret
        )
        async with self._worker.run_job(request) as running:
            async for event in running:
                if isinstance(event, Progress):
                    await reporter.progress(event)
                elif isinstance(event, Preview):
                    await reporter.preview(event)
                elif isinstance(event, OutputReady):
                    continue
            outputs = await self._keep(running)
        await reporter.end("succeeded", outputs=outputs)

    async def _inputs(self, job: Mapping[str, Any]) -> list[InputFile]:
        files: list[InputFile] = []
        for name, content_hash in job["files"].items():
            path = await self._files.path(content_hash)
            if path is None:
                raise InputFileRejected(f"The input file {name} is no longer kept.", job_id=job["id"])
            files.append(InputFile(name, path))
        return files

    async def _keep(self, running: JobRun) -> list[dict[str, Any]]:
        kept: list[dict[str, Any]] = []
        for output in await running.outputs():
            blob = await self._files.write(output.stream())
            asset = new_asset(blob, output.content_type, output.name, job_id=running.job_id)
            await self._store.put(f"asset:{asset['id']}", asset)
            kept.append({**asset, "node_id": output.node_id, "name": output.name, "type": output.kind})
        await self._files.commit()
        return kept


class _Reporter:
    """The one writer of a job's state."""

    def __init__(
        self, store: KeyValueStore, job: Mapping[str, Any], worker_id: str, cold_start_ms: int
    ) -> None:
        self._store = store
        self._id: str = job["id"]
        self._reported = 0.0
        started = time.time()
        waited = round((started - job["created"]) * 1000)
        self._state: dict[str, Any] = {
            "status": "running",
            "started": started,
            "completed": None,
            "progress": None,
            "outputs": [],
            "error": None,
            "worker_id": worker_id,
            "attempt": 1,
            "metrics": {
                "queue_ms": max(0, waited - cold_start_ms),
                "cold_start_ms": cold_start_ms,
                "execution_ms": None,
            },
        }

    async def begin(self) -> None:
        await self._write()

    async def progress(self, progress: Progress) -> None:
        self._state["progress"] = progress.to_json()
        now = time.monotonic()
        if now - self._reported >= REPORT_INTERVAL:
            self._reported = now
            await self._write()

    async def preview(self, preview: Preview) -> None:
        await self._store.put(f"preview:{self._id}", preview.to_json())

    async def end(
        self, status: str, error: WorkerError | None = None, outputs: list[dict[str, Any]] | None = None
    ) -> None:
        completed = time.time()
        self._state |= {"status": status, "completed": completed, "outputs": outputs or []}
        self._state["metrics"]["execution_ms"] = round((completed - self._state["started"]) * 1000)
        if error is not None:
            self._state["error"] = job_error(error)
        await self._write()
        await self._store.pop(f"preview:{self._id}")

    async def _write(self) -> None:
        await self._store.put(f"state:{self._id}", {**self._state, "metrics": dict(self._state["metrics"])})


def job_error(error: WorkerError) -> dict[str, Any]:
    """A worker's error as the API's JobError."""
    details: Mapping[str, Any] = error.details if isinstance(error.details, Mapping) else {}
    message = error.message if error.hint is None else f"{error.message} {error.hint}"
    return {
        "code": error.code,
        "message": message,
        "node_id": error.node_id,
        "class_type": error.class_type,
        "traceback": details.get("traceback") or None,
    }
