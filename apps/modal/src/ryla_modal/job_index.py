"""The list of jobs, in a store that knows single keys only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from .stores import KeyValueStore

HINT = "jobs_next"
AT_ONCE = 50


class JobIndex:
    """Jobs in the order in which they were accepted: entry n is under `jobs:<n>`, without gaps.

    An entry is taken with put_if_absent, so that two gateways never share one. `jobs_next` is where to look for the
    end; it may be behind, never ahead of it by more than what a gateway was about to write.
    """

    def __init__(self, store: KeyValueStore) -> None:
        self._store = store
        self._next = 0
        self._appending = asyncio.Lock()

    async def append(self, entry: dict[str, Any]) -> None:
        """Adds a job."""
        async with self._appending:
            position = max(self._next, await self._hint())
            while not await self._store.put_if_absent(f"jobs:{position}", entry):
                position += 1
            self._next = position + 1
            await self._store.put(HINT, self._next)

    async def newest_first(self, before: int | None, limit: int) -> AsyncIterator[tuple[int, dict[str, Any]]]:
        """Up to `limit` entries below `before`, with their positions; without it from the end."""
        end = await self._end() if before is None else before
        stop = max(0, end - limit)
        for high in range(end, stop, -AT_ONCE):
            positions = range(high - 1, max(stop, high - AT_ONCE) - 1, -1)
            found = await asyncio.gather(*(self._store.get(f"jobs:{n}") for n in positions))
            for position, entry in zip(positions, found, strict=True):
                if entry is not None:
                    yield position, entry

    async def _hint(self) -> int:
        return await self._store.get(HINT) or 0

    async def _end(self) -> int:
        position = max(self._next, await self._hint())
        while await self._store.get(f"jobs:{position}") is not None:
            position += 1
        return position
