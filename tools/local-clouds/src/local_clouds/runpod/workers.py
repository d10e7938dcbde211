"""The worker processes of an endpoint: the real SDK, started when jobs wait, ended when idle."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..child_environment import inherited
from ..child_process import end_child, follow_to_end, signal_group, start_child
from .jobs import Job
from .worker_log import CONTAINER, SYSTEM, WorkerLog

STOP_GRACE = 10.0
"""Seconds that an idle worker has to end before it is killed."""

SHUTDOWN_GRACE = 3.0
"""The same when the whole local RunPod stops."""

CANCEL_GRACE = 10.0
"""Seconds after which a worker that does not let go of a cancelled job is killed."""

STOP_REPEAT = 1.0
"""Seconds between two tellings of a cancelled job: the SDK ignores one that comes before the job has begun."""

FAILED_START_PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds until the next start after so many workers in a row that ended before they asked for a job."""


@dataclass(frozen=True)
class EndpointConfig:
    """What the control route registers."""

    command: tuple[str, ...]
    cwd: str | None = None
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    workers_min: int = 0
    workers_max: int = 1
    idle_timeout_ms: float = 5_000

    @classmethod
    def from_json(cls, document: Any) -> EndpointConfig:
        """Reads `{command, cwd?, env?, workersMin?, workersMax?, idleTimeoutMs?}`; raises ValueError."""
        command: Any = document.get("command") if isinstance(document, dict) else None
        if not isinstance(command, list) or not command:
            raise ValueError("`command` must be a list of texts that starts a worker")
        config = cls(
            command=tuple(str(word) for word in command),
            cwd=document.get("cwd"),
            env=dict(document.get("env") or {}),
            workers_min=int(document.get("workersMin", 0)),
            workers_max=int(document.get("workersMax", 1)),
            idle_timeout_ms=float(document.get("idleTimeoutMs", 5_000)),
        )
        if not 0 <= config.workers_min <= config.workers_max or config.workers_max < 1:
            raise ValueError("0 <= workersMin <= workersMax and workersMax >= 1 must hold")
        return config


@dataclass
class StopOrder:
    """A job that a worker shall let go of."""

    since: float = field(default_factory=time.monotonic)
    told_at: float = -STOP_REPEAT


@dataclass
class Worker:
    """One worker process."""

    id: str
    process: asyncio.subprocess.Process | None = None
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    log: WorkerLog = field(default_factory=WorkerLog)
    ready: bool = False
    jobs: dict[str, Job] = field(default_factory=dict[str, Job])
    idle_since: float = field(default_factory=time.monotonic)
    stopping: bool = False
    to_stop: dict[str, StopOrder] = field(default_factory=dict[str, "StopOrder"])
    stop_arrived: asyncio.Event = field(default_factory=asyncio.Event)
    handled: int = 0

    def order_stop(self, job_id: str) -> None:
        """The worker shall let go of this job; it is told until it does."""
        self.to_stop.setdefault(job_id, StopOrder())
        self.stop_arrived.set()

    def stops_to_tell(self) -> list[str]:
        """Ids of the jobs that the worker is to be told now."""
        now = time.monotonic()
        due = [job_id for job_id, order in self.to_stop.items() if now - order.told_at >= STOP_REPEAT]
        for job_id in due:
            self.to_stop[job_id].told_at = now
        return due

    def let_go(self, job_id: str) -> None:
        """The worker has no such job any more."""
        self.to_stop.pop(job_id, None)
        if self.jobs.pop(job_id, None) is not None:
            self.idle_since = time.monotonic()

    def holds_on(self) -> bool:
        """Whether a cancelled job is still in its hands after the grace."""
        now = time.monotonic()
        return any(now - order.since >= CANCEL_GRACE for order in self.to_stop.values())

    def to_json(self) -> dict[str, Any]:
        """For the control route."""
        pid = self.process.pid if self.process is not None else None
        return {
            "id": self.id,
            "pid": pid,
            "ready": self.ready,
            "jobs": list(self.jobs),
            "handled": self.handled,
        }


class WorkerPool:
    """Starts and ends the workers of one endpoint."""

    def __init__(
        self,
        endpoint_id: str,
        config: EndpointConfig,
        environment: Callable[[str], Mapping[str, str]],
        on_exit: Callable[[Worker], None],
        log: Callable[[str], None],
    ) -> None:
        self.endpoint_id = endpoint_id
        self.config = config
        self._environment = environment
        self._on_exit = on_exit
        self._log = log
        self.workers: dict[str, Worker] = {}
        self.started = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False
        self._failed_starts = 0
        self._next_start = 0.0

    def scale(self, waiting: int, start_latency: float = 0) -> None:
        """Starts as many workers as jobs wait for, within the limits."""
        if self._stopped or time.monotonic() < self._next_start:
            return
        live = [worker for worker in self.workers.values() if not worker.stopping]
        free = sum(1 for worker in live if not worker.jobs)
        wanted = max(len(live) + max(0, waiting - free), self.config.workers_min)
        for _ in range(min(wanted, self.config.workers_max) - len(live)):
            worker = Worker(secrets.token_hex(7))
            self.workers[worker.id] = worker
            self.started += 1
            self._spawn(self._supervise(worker, start_latency))

    def end_idle(self) -> None:
        """Ends workers that have had nothing to do for the idle timeout."""
        live = [worker for worker in self.workers.values() if not worker.stopping]
        idle = [
            worker
            for worker in live
            if worker.ready
            and not worker.jobs
            and (time.monotonic() - worker.idle_since) * 1000 >= self.config.idle_timeout_ms
        ]
        for worker in idle[: max(0, len(live) - self.config.workers_min)]:
            self._spawn(self.stop_worker(worker))

    def end_surplus(self) -> None:
        """Ends workers beyond the most that there may be; one that has a job finishes it first."""
        live = [worker for worker in self.workers.values() if not worker.stopping]
        free = [worker for worker in live if not worker.jobs]
        for worker in free[: max(0, len(live) - self.config.workers_max)]:
            self._spawn(self.stop_worker(worker))

    async def stop_worker(self, worker: Worker, grace: float = STOP_GRACE) -> None:
        """Ends a worker: SIGTERM, then SIGKILL."""
        worker.stopping = True
        worker.stop_arrived.set()
        if worker.process is not None:
            await end_child(worker.process, grace)

    def kill(self, worker: Worker) -> None:
        """Kills a worker at once."""
        if worker.process is not None:
            signal_group(worker.process.pid, signal.SIGKILL)

    async def stop(self) -> None:
        """Ends every worker; none is started any more."""
        self._stopped = True
        await asyncio.gather(
            *(self.stop_worker(worker, SHUTDOWN_GRACE) for worker in list(self.workers.values()))
        )
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _supervise(self, worker: Worker, start_latency: float) -> None:
        # A container's /tmp goes with it, however it ends.
        scratch = tempfile.mkdtemp(prefix="local-runpod-worker-")
        try:
            await asyncio.sleep(start_latency)
            environment = self._variables(worker, Path(scratch))
            cwd = Path(self.config.cwd) if self.config.cwd else None
            worker.process = await start_child(self.config.command, env=environment, cwd=cwd)
            self._say(worker, f"worker {worker.id} started, pid {worker.process.pid}")
            code = await follow_to_end(
                worker.process, lambda line: self._say(worker, line.rstrip(), CONTAINER)
            )
            self._say(worker, f"worker {worker.id} ended, code {code}")
        except OSError as error:
            self._say(worker, f"worker could not be started: {error}")
        finally:
            if worker.process is not None:
                signal_group(worker.process.pid, signal.SIGKILL)
            shutil.rmtree(scratch, ignore_errors=True)
            self.workers.pop(worker.id, None)
            worker.log.end()
            self._pause_after(worker)
            self._on_exit(worker)

    def _variables(self, worker: Worker, scratch: Path) -> dict[str, str]:
        """What a container would have, and nothing else of this machine: its keys are no worker's business."""
        home, temporary = scratch / "home", scratch / "tmp"
        home.mkdir()
        temporary.mkdir()
        return {
            **inherited(os.environ),
            "HOME": str(home),
            "TMPDIR": str(temporary),
            **self._environment(worker.id),
            **self.config.env,
        }

    def _say(self, worker: Worker, line: str, source: str = SYSTEM) -> None:
        worker.log.add(source, line)
        self._log(f"[runpod {self.endpoint_id}] {line}")

    def _pause_after(self, worker: Worker) -> None:
        if worker.ready or worker.stopping:
            self._failed_starts = 0
            return
        pause = FAILED_START_PAUSES[min(self._failed_starts, len(FAILED_START_PAUSES) - 1)]
        self._failed_starts += 1
        self._next_start = time.monotonic() + pause
        self._log(f"[runpod {self.endpoint_id}] worker {worker.id} was never ready; next start in {pause} s")
