"""What a worker tells of its job: how far it is, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from comfy_worker import JobMetrics, LatestReport, Preview, Progress, WorkerError

from .job_claims import Attempt
from .stores import KeyValueStore

REPORT_INTERVAL = 0.1
"""Seconds between two reports of progress, each one write of the store; see EVENT_INTERVAL."""

PREVIEW_INTERVAL = 0.25
"""The same for previews, which are larger."""


class JobReport:
    """The one writer of a job's state while its attempt runs."""

    def __init__(
        self,
        store: KeyValueStore,
        job: Mapping[str, Any],
        attempt: Attempt,
        worker_id: str,
        cold_start_ms: int,
    ) -> None:
        self._store = store
        self._attempt = attempt
        self._id: str = job["id"]
        self._progress = LatestReport[dict[str, Any]](self._write, REPORT_INTERVAL)
        self._previews = LatestReport[Preview](self._write_preview, PREVIEW_INTERVAL)
        started = time.time()
        waited = round((started - job["created"]) * 1000)
        self._queue_ms = max(0, waited - cold_start_ms)
        self._state: dict[str, Any] = {
            "status": "running",
            "started": started,
            "completed": None,
            "reported": started,
            "progress": None,
            "outputs": [],
            "error": None,
            "worker_id": worker_id,
            "attempt": attempt.number,
            "metrics": {
                "queue_ms": self._queue_ms,
                "cold_start_ms": cold_start_ms,
                "execution_ms": None,
            },
            "worker_metrics": None,
        }

    async def begin(self) -> None:
        """Says that the job runs."""
        await self._write(dict(self._state))

    def progress(self, progress: Progress) -> None:
        """Says how far it is, soon."""
        self._state |= {"progress": progress.to_json(), "reported": time.time()}
        self._progress.add(dict(self._state))

    def preview(self, preview: Preview) -> None:
        """Shows a picture, soon."""
        self._previews.add(preview)

    async def end(
        self,
        status: str,
        error: WorkerError | None = None,
        outputs: list[dict[str, Any]] | None = None,
        metrics: JobMetrics | None = None,
    ) -> bool:
        """Writes the end, unless the job has one; whether it did."""
        await self.close()
        completed = time.time()
        execution_ms = round((completed - self._state["started"]) * 1000)
        self._state |= {
            "status": status,
            "completed": completed,
            "outputs": outputs or [],
            "metrics": {**self._state["metrics"], "execution_ms": execution_ms},
        }
        if metrics is not None:
            self._add(metrics.with_cloud(queue_ms=self._queue_ms))
        if error is not None:
            self._state["error"] = job_error(error)
        is_end = await self._attempt.end(self._state)
        await self._store.pop(f"preview:{self._id}")
        await self._store.pop(f"extra_data:{self._id}")
        return is_end

    def _add(self, metrics: JobMetrics) -> None:
        self._state["worker_metrics"] = metrics.to_json()
        self._state["metrics"] |= {
            "boot_ms": metrics.boot_ms,
            "model_load_ms": metrics.model_load_ms,
            "sampling_ms": metrics.sampling_ms,
            "encode_ms": metrics.encode_ms,
            "upload_ms": metrics.upload_ms,
            "peak_memory_bytes": metrics.peak_memory_bytes,
        }

    async def close(self) -> None:
        """Reports nothing more."""
        await self._progress.close()
        await self._previews.close()

    async def _write(self, state: dict[str, Any]) -> None:
        await self._store.put(f"state:{self._id}", state)

    async def _write_preview(self, preview: Preview) -> None:
        await self._store.put(f"preview:{self._id}", preview.to_json())


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
