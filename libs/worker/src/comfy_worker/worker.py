"""A warm ComfyUI that runs one job after the other."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from types import TracebackType

from .client import ComfyClient, Message
from .engine import EngineConfig
from .errors import EngineUnavailable
from .job import Job
from .job_run import JobRun
from .message_hub import MessageHub
from .metrics import Device
from .process import ComfyProcess

ANSWER_LASTS = 5.0
"""Seconds for which an answer of a started ComfyUI stands for the next job; its end is noticed in any case."""

KNOWN_JOBS = 10_000
"""Jobs that a ComfyUI may remember: its history holds no more."""


class Worker:
    """Keeps one ComfyUI ready and runs one job at a time on it. An async context manager."""

    def __init__(self, config: EngineConfig, *, on_log: Callable[[str], None] | None = None) -> None:
        self._process = ComfyProcess(config, on_log=on_log)
        self._cancel_timeout = config.cancel_timeout
        self._hang_timeout = config.hang_timeout
        self._given: OrderedDict[str, None] = OrderedDict()
        self._answered = -ANSWER_LASTS
        self._client: ComfyClient | None = None
        self._hub: MessageHub | None = None
        self._device = Device()
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

    @property
    def hang_timeout(self) -> float:
        """Seconds that a started ComfyUI may give no answer during a job."""
        return self._hang_timeout

    async def prepare(self) -> None:
        """Imports what ComfyUI needs and touches no GPU, for a memory snapshot; `start` goes on from there.

        Raises EngineUnavailable.
        """
        await self._process.prepare()

    async def start(self) -> None:
        """Starts ComfyUI and waits until it answers. Raises EngineUnavailable."""
        await self.ensure_ready()

    async def stop(self) -> None:
        """Stops ComfyUI, unless it was attached to."""
        await self._disconnect()
        await self._process.stop()

    async def ensure_ready(self) -> None:
        """Makes sure that ComfyUI answers; starts it again when it has ended. Raises EngineUnavailable."""
        async with self._ready:
            if self._client is not None and self._process.alive and await self._answers(self._client):
                return
            self._given.clear()
            started = time.monotonic()
            await self._disconnect()
            await (self._process.start() if self._process.prepared else self._process.restart())
            self._client = await ComfyClient(self._process.url).__aenter__()
            self._hub = MessageHub(self._client)
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

    async def _disconnect(self) -> None:
        if self._hub is not None:
            await self._hub.close()
            self._hub = None
        if self._client is not None:
            await self._client.close()
            self._client = None

    def client_id(self, job_id: str) -> str:
        """Whom ComfyUI tells of a job: this worker; on an attached one the job itself, so that whoever asks for the
        job again, in another process too, hears of it."""
        return job_id if self._process.attached else self.client.client_id

    def messages(self, job_id: str) -> AsyncGenerator[Message, None]:
        """What ComfyUI tells `client_id`, forever, beginning with `connected`."""
        if self._hub is None or self._process.attached:
            return self.client.messages(job_id)
        return self._hub.messages()

    def may_know(self, job_id: str) -> bool:
        """Whether this ComfyUI may have been given this job before. It is from now on.

        What others give an attached one is not known here.
        """
        known = self._process.attached or job_id in self._given
        self._given[job_id] = None
        if len(self._given) > KNOWN_JOBS:
            self._given.popitem(last=False)
        return known

    async def device(self) -> Device:
        """The GPU as it is now. Raises EngineUnavailable."""
        self._device = Device.from_stats(await self.client.system_stats())
        return self._device

    @property
    def last_device(self) -> Device:
        """The GPU at the last look."""
        return self._device

    async def _answers(self, client: ComfyClient) -> bool:
        if not self._process.attached and time.monotonic() - self._answered < ANSWER_LASTS:
            return True
        try:
            async with asyncio.timeout(10):
                self._device = Device.from_stats(await client.system_stats())
        except (EngineUnavailable, TimeoutError):
            return False
        self._answered = time.monotonic()
        return True
