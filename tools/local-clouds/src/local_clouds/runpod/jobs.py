"""Jobs of an endpoint, their queue, and how long they are kept."""

from __future__ import annotations

import asyncio
import secrets
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .limits import EXECUTION_TIMEOUT_MS, RUN_RETENTION_MS, TTL_MS

TERMINAL = ("COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT")


@dataclass
class Job:
    """One job. Times are milliseconds of the clock that the server was given."""

    input: Any
    created: float
    id: str = field(default_factory=lambda: f"{uuid.uuid4()}-u{secrets.randbelow(2) + 1}")
    status: str = "IN_QUEUE"
    webhook: str | None = None
    execution_timeout: float = EXECUTION_TIMEOUT_MS
    ttl: float = TTL_MS
    expires: float | None = None
    low_priority: bool = False
    retention: float = RUN_RETENTION_MS
    started: float | None = None
    completed: float | None = None
    output: Any = None
    has_output: bool = False
    error: Any = None
    worker_id: str | None = None
    stream: list[Any] = field(default_factory=list[Any])
    streamed: int = 0
    retries: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def terminal(self) -> bool:
        """Whether the job has ended."""
        return self.status in TERMINAL

    def envelope(self, with_input: bool = False) -> dict[str, Any]:
        """As GET /status answers; webhooks also get the input."""
        document: dict[str, Any] = {"id": self.id, "status": self.status}
        if self.started is not None:
            document["delayTime"] = round(self.started - self.created)
            document["workerId"] = self.worker_id
        if self.completed is not None and self.started is not None:
            document["executionTime"] = round(self.completed - self.started)
        if self.has_output:
            document["output"] = self.output
        if self.error is not None:
            document["error"] = self.error
        if with_input:
            document["input"] = self.input
            document["webhook"] = self.webhook
        return document


class JobTable:
    """The jobs of one endpoint."""

    def __init__(self, now: Callable[[], float], on_end: Callable[[Job], None]) -> None:
        self._now = now
        self._on_end = on_end
        self._jobs: dict[str, Job] = {}
        self._queue: deque[Job] = deque()
        self.arrived = asyncio.Event()
        self.counts = {"completed": 0, "failed": 0, "retried": 0}

    def add(self, job: Job) -> None:
        """Takes a new job."""
        self._jobs[job.id] = job
        self._enqueue(job)

    def _enqueue(self, job: Job) -> None:
        self._queue.append(job) if job.low_priority else self._put_before_low_priority(job)
        event, self.arrived = self.arrived, asyncio.Event()
        event.set()

    def _put_before_low_priority(self, job: Job) -> None:
        place = next(
            (index for index, other in enumerate(self._queue) if other.low_priority), len(self._queue)
        )
        self._queue.insert(place, job)

    def get(self, job_id: str) -> Job | None:
        """A job that is still kept."""
        job = self._jobs.get(job_id)
        return None if job is None or self._is_gone(job) else job

    def _is_gone(self, job: Job) -> bool:
        now = self._now()
        if job.completed is not None and now - job.completed > job.retention:
            return True
        if job.expires is not None and now > job.expires:
            return True
        return job.status not in ("COMPLETED", "FAILED", "CANCELLED") and now - job.created > job.ttl

    def sweep(self) -> list[Job]:
        """Forgets what is not kept any longer; the jobs among it that a worker still runs."""
        gone = [job for job in self._jobs.values() if self._is_gone(job)]
        for job in gone:
            del self._jobs[job.id]
            if job in self._queue:
                self._queue.remove(job)
            job.changed.set()
        return [job for job in gone if job.status == "IN_PROGRESS"]

    def all(self) -> list[Job]:
        """Every job that is still kept."""
        return [job for job in self._jobs.values() if not self._is_gone(job)]

    def waiting(self) -> int:
        """Jobs that wait for a worker."""
        return len(self._queue)

    def take(self, worker_id: str) -> Job | None:
        """Gives the next job to a worker."""
        while self._queue:
            job = self._queue.popleft()
            if self.get(job.id) is not None and job.status == "IN_QUEUE":
                job.status, job.started, job.worker_id = "IN_PROGRESS", self._now(), worker_id
                return job
        return None

    def end(self, job: Job, status: str, *, error: Any = None) -> None:
        """Ends a job; one that has ended stays as it is."""
        if job.terminal:
            return
        job.status, job.completed = status, self._now()
        job.error = error if error is not None else job.error
        if job in self._queue:
            self._queue.remove(job)
        if status == "COMPLETED":
            self.counts["completed"] += 1
        elif status in ("FAILED", "TIMED_OUT"):
            self.counts["failed"] += 1
        job.changed.set()
        self._on_end(job)

    def again(self, job: Job) -> None:
        """Puts a job back into the queue under the same id."""
        job.status, job.started, job.completed, job.worker_id = "IN_QUEUE", None, None, None
        job.output, job.has_output, job.error = None, False, None
        job.retries += 1
        job.changed.clear()
        self.counts["retried"] += 1
        self._enqueue(job)

    def purge(self) -> int:
        """Cancels all that waits; how many there were."""
        waiting = [job for job in self._queue if not job.terminal]
        for job in waiting:
            self.end(job, "CANCELLED")
        self._queue.clear()
        return len(waiting)

    def overdue(self) -> list[Job]:
        """Jobs that run longer than they may."""
        now = self._now()
        running = (
            job for job in self._jobs.values() if job.status == "IN_PROGRESS" and job.started is not None
        )
        return [job for job in running if now - (job.started or now) > job.execution_timeout]


def milliseconds() -> float:
    """The default clock."""
    return time.time() * 1000
