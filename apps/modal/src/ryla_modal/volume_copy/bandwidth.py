"""A cap on the rate of a run."""

from __future__ import annotations

import asyncio
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

    async def take(self, count: int) -> None:
        """Waits until the bytes that were taken before are paid for."""
        if self._rate is None:
            return
        now = self._clock()
        self._free_at = max(self._free_at, now) + count / self._rate
        if self._free_at > now:
            await self._sleep(self._free_at - now)
