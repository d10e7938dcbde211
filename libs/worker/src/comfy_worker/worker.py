"""A warm ComfyUI that runs one job after the other."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from types import TracebackType

from .client import ComfyClient
from .engine import EngineConfig
from .errors import EngineUnavailable, OutOfMemory, WorkerError
from .job import Job
from .job_run import JobRun
from .process import ComfyProcess


class Worker:
    """Keeps one ComfyUI ready and runs one job at a time on it. An async context manager."""

    def __init__(self, config: EngineConfig, *, on_log: Callable[[str], None] | None = None) -> None:
        self._process = ComfyProcess(config, on_log=on_log)
        self._cancel_timeout = config.cancel_timeout
        self._client: ComfyClient | None = None
        self._boot_ms = 0
        self._needs_free = False
        self._ready = asyncio.Lock()

    async def __aenter__(self) -> Worker:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def process(self) -> ComfyProcess:
        """The ComfyUI."""
        return self._process

    @property
    def client(self) -> ComfyClient:
        """The client on it. Raises EngineUnavailable before the start."""
        if self._client is None:
            raise EngineUnavailable("The worker has not been started.")
        return self._client

    @property
    def cancel_timeout(self) -> float:
        """Seconds that an interrupted job has to leave ComfyUI before a started one is killed."""
        return self._cancel_timeout

    async def start(self) -> None:
        """Starts ComfyUI and waits until it answers. Raises EngineUnavailable."""
        await self.ensure_ready()

    async def stop(self) -> None:
        """Stops ComfyUI, unless it was attached to."""
        if self._client is not None:
            await self._client.close()
            self._client = None
        await self._process.stop()

    async def ensure_ready(self) -> None:
        """Makes sure that ComfyUI answers; starts it again when it has ended. Raises EngineUnavailable."""
        async with self._ready:
            if self._client is not None and self._process.alive and await self._answers(self._client):
                return
            started = time.monotonic()
            if self._client is not None:
                await self._client.close()
                self._client = None
            await self._process.restart()
            self._client = await ComfyClient(self._process.url).__aenter__()
            self._boot_ms += round((time.monotonic() - started) * 1000)

    def run_job(self, job: Job) -> JobRun:
        """Prepares a job; it begins when it is first iterated, awaited or entered.

        It starts ComfyUI when that is not running, and then says so in `timings.boot_ms`.
        """
        return JobRun(job, self)

    def take_boot_ms(self) -> int:
        """Milliseconds of starts since the last call: each start is accounted to one job."""
        boot_ms, self._boot_ms = self._boot_ms, 0
        return boot_ms

    async def recover(self, error: WorkerError) -> None:
        """After a failed job: frees memory when that is what it ran out of. A run does this by itself too."""
        if isinstance(error, OutOfMemory) and self._client is not None:
            with contextlib.suppress(EngineUnavailable):
                await self._client.free()

    @staticmethod
    async def _answers(client: ComfyClient) -> bool:
        try:
            async with asyncio.timeout(10):
                await client.system_stats()
        except (EngineUnavailable, TimeoutError):
            return False
        return True
