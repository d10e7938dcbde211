"""What a worker has printed, for those who read it while it runs."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

MOST_LINES = 5_000
"""Lines that are kept of a worker: the most that RunPod's `tail` may ask for."""

CONTAINER = "container"
SYSTEM = "system"
SOURCES = (CONTAINER, SYSTEM)


@dataclass(frozen=True)
class LogLine:
    """One line, and when it was printed."""

    source: str
    text: str
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


class WorkerLog:
    """The latest lines of one worker, in order."""

    def __init__(self) -> None:
        self._lines: deque[LogLine] = deque(maxlen=MOST_LINES)
        self._count = 0
        self._changed = asyncio.Event()
        self._ended = False

    def add(self, source: str, text: str) -> None:
        """The worker, or the machine about it, says something."""
        self._lines.append(LogLine(source, text))
        self._count += 1
        self._wake()

    def end(self) -> None:
        """Nothing more will come."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        event, self._changed = self._changed, asyncio.Event()
        event.set()

    async def follow(
        self, *, tail: int = MOST_LINES, since: datetime | None = None
    ) -> AsyncIterator[LogLine]:
        """The last `tail` lines, or those from a time on, then each new one until the worker has ended."""
        first = self._count - len(self._lines)
        position = max(first, self._count - tail) if since is None else first
        while True:
            changed = self._changed
            first = self._count - len(self._lines)
            new = list(self._lines)[max(position - first, 0) :]
            position = self._count
            for line in new:
                if since is None or line.at >= since:
                    yield line
            if position == self._count:
                if self._ended:
                    return
                await changed.wait()
