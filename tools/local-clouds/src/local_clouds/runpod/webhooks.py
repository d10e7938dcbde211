"""Webhooks: the whole envelope with the job's input, unsigned, as RunPod sends them."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from ..faults import Faults
from .constants import WEBHOOK_RETRIES
from .jobs import Job
from .log import log

ANSWER_TIMEOUT = 10.0
"""Seconds that a receiver has to answer (a choice of the stand-in)."""


class Webhooks:
    """Sends webhooks in the background; `close` ends what is under way."""

    def __init__(self, faults: Faults, *, retry_delay: float) -> None:
        self._faults = faults
        self._retry_delay = retry_delay
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, job: Job) -> None:
        """Sends the job's webhook, if it has one."""
        if job.webhook is None or self._faults.hit("lose-webhook") is not None:
            return
        body = {**job.envelope(), "input": job.input, "webhook": job.webhook}
        copies = 2 if self._faults.hit("duplicate-webhook") is not None else 1
        delay = self._faults.seconds("late-webhook-ms")
        for _ in range(copies):
            task = asyncio.create_task(self._deliver(job.webhook, body, delay))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Drops what has not been delivered."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _deliver(self, url: str, body: dict[str, Any], delay: float) -> None:
        await asyncio.sleep(delay)
        reason = ""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_TIMEOUT)) as session:
            for attempt in range(1 + WEBHOOK_RETRIES):
                if attempt:
                    await asyncio.sleep(self._retry_delay)
                try:
                    async with session.post(url, json=body) as response:
                        if response.status == 200:
                            return
                        reason = f"status {response.status}"
                except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                    reason = str(error) or type(error).__name__
        log(f"webhook of job {body['id']} was not delivered: {reason}")
