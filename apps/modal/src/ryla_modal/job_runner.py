"""The GPU side of a job: claim, run, report, keep its outputs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping
from typing import Any

from comfy_worker import (
    EngineUnavailable,
    InputFile,
    InputFileRejected,
    Job,
    JobCanceled,
    JobMetrics,
    JobRun,
    Preview,
    Progress,
    Worker,
    WorkerError,
)

from .job_claims import ATTEMPTS, Attempt, JobClaims
from .job_report import JobReport
from .stores import FileStore, KeyValueStore, new_asset


class WorkerLost(WorkerError):
    """The containers that ran the job are gone."""

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
        claims: JobClaims | None = None,
    ) -> None:
        """`refusal` is why this worker can run no job, such as models that are missing: each job is told."""
        self._store = store
        self._files = files
        self._worker = worker
        self._worker_id = worker_id
        self._claims = claims or JobClaims(store, worker_id)
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

    async def run(self, job_id: str, delivery: str = "") -> bool:
        """Runs a job to its end, which is in the store afterwards. `delivery` is the id of the call that brought it.

        Does nothing for a job that is unknown, has ended, or is being run: a second delivery never runs twice, and
        one whose worker died runs as the next attempt.
        Returns False when this worker cannot go on and should take no more jobs.
        """
        job = await self._store.get(f"job:{job_id}")
        attempt = None if job is None else await self._claims.take(job_id, delivery)
        if job is None or attempt is None:
            return True
        report = JobReport(self._store, job, attempt, self._worker_id, self._cold_start_ms(job))
        async with attempt:
            try:
                return await self._unless_lost(attempt, self._attempt(job, report, attempt))
            except asyncio.CancelledError:
                await asyncio.shield(self._stopped(report, attempt))
                raise
            except Exception:
                await attempt.release()
                raise

    async def _unless_lost(self, attempt: Attempt, work: Coroutine[Any, Any, bool]) -> bool:
        """Does the work, but stops it when another worker may take the job over; its end is that one's to write."""
        running, lost = asyncio.create_task(work), asyncio.create_task(attempt.lost.wait())
        try:
            await asyncio.wait({running, lost}, return_when=asyncio.FIRST_COMPLETED)
            return running.result() if running.done() else True
        finally:
            running.cancel()
            lost.cancel()
            await asyncio.gather(running, lost, return_exceptions=True)

    async def _attempt(self, job: Mapping[str, Any], report: JobReport, attempt: Attempt) -> bool:
        try:
            await report.begin()
            if await self._is_canceled(attempt.job_id):
                raise JobCanceled(
                    f"Job {attempt.job_id} was canceled before it began.", job_id=attempt.job_id
                )
            if attempt.number > ATTEMPTS:
                raise _gave_up(attempt.job_id)
            if self._refusal is not None:
                raise self._refusal
            await self._worker.ensure_ready()
            await self._run(job, report)
        except JobCanceled:
            await report.end("canceled")
        except WorkerError as error:
            await report.end("failed", error)
            if error is self._refusal:
                return False  # the next job gets a container that looks at the volume anew
            return not isinstance(error, EngineUnavailable) or await self._recovers()
        finally:
            await report.close()
        return True

    async def _is_canceled(self, job_id: str) -> bool:
        return await self._store.get(f"cancel:{job_id}") is not None

    async def _stopped(self, report: JobReport, attempt: Attempt) -> None:
        """Our task was cancelled, and ComfyUI has let go: by the caller's wish, or the cloud takes the container
        away. Then it delivers the job elsewhere, or its call fails, which the gateway tells."""
        if await self._is_canceled(attempt.job_id):
            await report.end("canceled")
        else:
            await attempt.release()

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

    async def _run(self, job: Mapping[str, Any], report: JobReport) -> None:
        secret = await self._store.get(f"extra_data:{job['id']}")
        request = Job(
            job["id"], job["workflow"], await self._inputs(job), timeout=job.get("timeout"), extra_data=secret
        )
        async with self._worker.run_job(request) as running:
            async for event in running:
                if isinstance(event, Progress):
                    report.progress(event)
                elif isinstance(event, Preview):
                    report.preview(event)
            outputs, metrics = await self._keep(running)
        await report.end("succeeded", outputs=outputs, metrics=metrics)

    async def _inputs(self, job: Mapping[str, Any]) -> list[InputFile]:
        files: list[InputFile] = []
        for name, content_hash in job["files"].items():
            path = await self._files.path(content_hash)
            if path is None:
                raise InputFileRejected(f"The input file {name} is no longer kept.", job_id=job["id"])
            files.append(InputFile(name, path))
        return files

    async def _keep(self, running: JobRun) -> tuple[list[dict[str, Any]], JobMetrics]:
        outputs = await running.outputs()
        begun = time.monotonic()
        kept: list[dict[str, Any]] = []
        blobs = await self._files.keep(output.stream() for output in outputs)
        for output, blob in zip(outputs, blobs, strict=True):
            asset = new_asset(blob, output.content_type, output.name, job_id=running.job_id)
            await self._store.put(f"asset:{asset['id']}", asset)
            kept.append({**asset, "node_id": output.node_id, "name": output.name, "type": output.kind})
        return kept, running.metrics.with_cloud(upload_ms=round((time.monotonic() - begun) * 1000))


def _gave_up(job_id: str) -> WorkerLost:
    return WorkerLost(
        f"The worker of job {job_id} died {ATTEMPTS} times.",
        job_id=job_id,
        hint="See the containers' logs: it may need more memory than they have.",
    )
