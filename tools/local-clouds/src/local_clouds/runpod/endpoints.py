"""The serverless queue endpoints of the local RunPod: their jobs, their workers, their limits."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from ..faults import Faults
from .jobs import Job, JobTable
from .management_billing import Life, worker_life
from .rate_limit import RateLimits
from .workers import EndpointConfig, Worker, WorkerPool

TICK_S = 0.2

MOST_ENDED = 100_000
"""Workers that have ended, as far as bills remember them."""


class Endpoint:
    """One endpoint."""

    def __init__(self, table: JobTable, pool: WorkerPool) -> None:
        self.jobs = table
        self.pool = pool
        self.rates = RateLimits()


class Endpoints(Mapping[str, Endpoint]):
    """Endpoints by id, and what happens in them without a request: scaling, timeouts, workers that end."""

    def __init__(
        self,
        faults: Faults,
        now: Callable[[], float],
        on_end: Callable[[Job], None],
        worker_environment: Callable[[str, str], Mapping[str, str]],
        log: Callable[[str], None],
    ) -> None:
        """`worker_environment` gives the variables of a worker by the ids of its endpoint and its own."""
        self._faults = faults
        self._now = now
        self._on_end = on_end
        self._worker_environment = worker_environment
        self._log = log
        self._endpoints: dict[str, Endpoint] = {}
        self._ended: deque[Life] = deque(maxlen=MOST_ENDED)
        self._ticker: asyncio.Task[None] | None = None

    def __getitem__(self, endpoint_id: str) -> Endpoint:
        return self._endpoints[endpoint_id]

    def __iter__(self):
        return iter(self._endpoints)

    def __len__(self) -> int:
        return len(self._endpoints)

    def start(self) -> None:
        """Starts looking after them."""
        self._ticker = asyncio.create_task(self._tick())

    async def stop(self) -> None:
        """Ends every worker."""
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker
        await asyncio.gather(*(endpoint.pool.stop() for endpoint in self._endpoints.values()))

    def register(self, endpoint_id: str, config: EndpointConfig) -> None:
        """Makes an endpoint take jobs, or gives it other workers."""
        existing = self._endpoints.get(endpoint_id)
        if existing is not None:
            existing.pool.config = config
        else:
            table = JobTable(self._now, self._on_end)
            pool = WorkerPool(
                endpoint_id,
                config,
                lambda worker_id: self._worker_environment(endpoint_id, worker_id),
                self._worker_gone(endpoint_id),
                self._log,
            )
            self._endpoints[endpoint_id] = Endpoint(table, pool)
        self.scale(self._endpoints[endpoint_id])

    async def unregister(self, endpoint_id: str) -> None:
        """Ends an endpoint's workers and forgets its jobs."""
        endpoint = self._endpoints.pop(endpoint_id, None)
        if endpoint is not None:
            await endpoint.pool.stop()

    def scale(self, endpoint: Endpoint) -> None:
        """Starts workers where jobs wait."""
        endpoint.pool.scale(endpoint.jobs.waiting(), self._faults.seconds("cold-start-latency-ms"))

    def worker_lives(self) -> list[Life]:
        """From when to when workers were there, those of endpoints that are gone too."""
        live = [
            worker_life(endpoint_id, worker.created)
            for endpoint_id, endpoint in self._endpoints.items()
            for worker in endpoint.pool.workers.values()
        ]
        return [*self._ended, *live]

    def describe(self) -> dict[str, Any]:
        """For the control route."""
        return {
            endpoint_id: {
                "workers": [worker.to_json() for worker in endpoint.pool.workers.values()],
                "workersStarted": endpoint.pool.started,
                "jobs": {job.id: job.status for job in endpoint.jobs.all()},
                "queued": endpoint.jobs.waiting(),
            }
            for endpoint_id, endpoint in self._endpoints.items()
        }

    def _worker_gone(self, endpoint_id: str) -> Callable[[Worker], None]:
        def gone(worker: Worker) -> None:
            """A worker that ends with a job in its hands: the job fails, and says so."""
            self._ended.append(worker_life(endpoint_id, worker.created))
            endpoint = self._endpoints.get(endpoint_id)
            if endpoint is None:
                return
            for job in list(worker.jobs.values()):
                code = worker.process.returncode if worker.process is not None else None
                text = f"worker {worker.id} exited with code {code} while the job was running"
                error = {"code": "worker_lost", "message": text, "retryable": True}
                endpoint.jobs.end(job, "FAILED", error=json.dumps(error))
            self.scale(endpoint)

        return gone

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            for endpoint in list(self._endpoints.values()):
                self._end_overdue(endpoint)
                for worker in list(endpoint.pool.workers.values()):
                    if worker.holds_on():
                        endpoint.pool.kill(worker)
                self.scale(endpoint)
                endpoint.pool.end_surplus()
                endpoint.pool.end_idle()

    def _end_overdue(self, endpoint: Endpoint) -> None:
        for job in endpoint.jobs.overdue():
            worker = endpoint.pool.workers.get(job.worker_id or "")
            endpoint.jobs.end(job, "TIMED_OUT", error="job timed out: executionTimeout was reached")
            if worker is not None:
                endpoint.pool.kill(worker)
        for job in endpoint.jobs.sweep():
            worker = endpoint.pool.workers.get(job.worker_id or "")
            if worker is not None:
                worker.order_stop(job.id)
