"""Reports of something that changes often: the newest counts, none is late, and not every one is sent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Report = TypeVar("Report")
log = logging.getLogger("comfy_worker")


class LatestReport(Generic[Report]):
    """Sends what it was given last, at most once an interval, and never later than that.

    A report that cannot be sent is dropped and logged: it must not cost the job. None is sent after `close`.
    """

    def __init__(self, send: Callable[[Report], Awaitable[None]], interval: float) -> None:
        """`interval` in seconds, counted between the beginnings of two sends."""
        self._send = send
        self._interval = interval
        self._waiting: list[Report] = []
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def add(self, report: Report) -> None:
        """Sends this, now or when the interval is over, unless a newer one comes. Needs a running event loop."""
        self._waiting = [report]
        self._arrived.set()
        if self._task is None:
            self._task = asyncio.create_task(self._send_all())

    async def _send_all(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            begun = loop.time()
            try:
                await self._send(self._waiting.pop())
            except Exception as error:
                log.warning("a report was dropped: %s", error)
            await asyncio.sleep(max(0.0, begun + self._interval - loop.time()))

    async def close(self) -> None:
        """What was not sent is dropped: something final follows. Waits for a send that is under way to stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
