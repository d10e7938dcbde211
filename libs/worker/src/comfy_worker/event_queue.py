"""Events of a job that wait for their listener, bounded: a newer snapshot replaces the one nobody has read."""

from __future__ import annotations

import asyncio
from collections import deque

from .job import JobEvent, Preview, Progress


class EventQueue:
    """A queue of one listener. Holds at most one Progress and one Preview between two other events."""

    def __init__(self) -> None:
        self._events: deque[JobEvent] = deque()
        self._changed = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._events)

    def put(self, event: JobEvent) -> None:
        """Adds an event; a Progress or Preview takes the place of an unread one."""
        if isinstance(event, Progress | Preview):
            self._drop_unread(type(event))
        self._events.append(event)
        self._changed.set()

    def close(self) -> None:
        """No more events will come; those that are there can still be read."""
        self._closed = True
        self._changed.set()

    async def get(self) -> JobEvent | None:
        """The next event; None when there will be no more."""
        while not self._events:
            if self._closed:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._events.popleft()

    def _drop_unread(self, kind: type[Progress] | type[Preview]) -> None:
        for position in range(len(self._events) - 1, -1, -1):
            event = self._events[position]
            if isinstance(event, kind):
                del self._events[position]
                return
            if not isinstance(event, Progress | Preview):
                return
