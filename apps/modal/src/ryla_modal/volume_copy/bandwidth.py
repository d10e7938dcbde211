"""A cap on the rate of a run."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable


class Bandwidth:
    """Bytes a second over all connections; None for no cap. What is taken is waited for afterwards."""

    def __init__(
        self,
        rate: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._free_at = clock()
        self._lock = threading.Lock()

    async def take(self, count: int) -> None:
        """Waits until the bytes that were taken before are paid for."""
        wait = self.owed(count)
        if wait > 0:
            await self._sleep(wait)

    def owed(self, count: int) -> float:
        """Takes bytes; returns the seconds that are to be waited for them. Safe in any thread."""
        if self._rate is None:
            return 0.0
        with self._lock:
            now = self._clock()
            self._free_at = max(self._free_at, now) + count / self._rate
            return self._free_at - now
