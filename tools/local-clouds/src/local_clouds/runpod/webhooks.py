"""Calls the webhooks of jobs that have ended."""

from __future__ import annotations

import asyncio
import contextlib

import aiohttp

from ..faults import Faults
from .jobs import Job
from .limits import WEBHOOK_RETRIES, WEBHOOK_RETRY_MS


class Webhooks:
    """The calls that are under way."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._tasks: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """Gives up what is under way."""
        for task in list(self._tasks):
            task.cancel()

    def ended(self, job: Job) -> None:
        """A job has ended: calls its webhook, if it has one."""
        if job.webhook:
            for _ in range(2 if self._faults.hit("duplicate-webhook") is not None else 1):
                task = asyncio.create_task(self._notify(job, job.webhook))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _notify(self, job: Job, url: str) -> None:
        await asyncio.sleep(self._faults.seconds("late-webhook-ms"))
        timeout = aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            for attempt in range(WEBHOOK_RETRIES + 1):
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with session.post(url, json=job.envelope(with_input=True)) as response:
                        if response.status == 200:
                            return
                if attempt < WEBHOOK_RETRIES:
                    await asyncio.sleep(WEBHOOK_RETRY_MS / 1000)
