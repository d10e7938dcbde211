"""A signal that many tasks can wait for, again and again."""

from __future__ import annotations

import asyncio
import contextlib


class Pulse:
    """`wait` returns at the next `pulse` after it was called."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def pulse(self) -> None:
        """Wakes everyone who waits now."""
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, timeout: float) -> None:
        """Waits for the next pulse, at most `timeout` seconds."""
        event = self._event
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), timeout)
