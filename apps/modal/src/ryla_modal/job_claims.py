"""Who may run a job, and whose end of it counts, in a store that knows put-if-absent and no compare-and-swap.

Attempt n of a job is the key `claim:<job>:<n>`, taken with put_if_absent, so that of two containers one wins. Its holder
writes `beat:<job>:<n>` while it lives; the next attempt can be taken when that has gone stale. `end:<job>` is the job's
last state, put_if_absent too: whoever is first, a worker that was thought dead included, and never a second one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from .stores import KeyValueStore

LEASE = 30.0
"""Seconds without a sign of life after which a holder counts as dead. The clocks of two containers may differ by the
sixth of it that a holder gives up earlier; those of a cloud's machines differ by milliseconds."""

LEASE_VARIABLE = "RYLA_LEASE_SECONDS"

ATTEMPTS = 3
"""Of one job. One that takes its container down each time must not go on for ever."""

GATEWAY = "gateway"
"""The holder that runs nothing: it has closed the job, whose attempts are over."""


def lease_seconds(environ: Mapping[str, str]) -> float:
    """RYLA_LEASE_SECONDS, or LEASE. Raises ValueError when it is no number of seconds from 1 to 600."""
    text = environ.get(LEASE_VARIABLE) or str(LEASE)
    seconds = float(text)
    if not 1 <= seconds <= 600:
        raise ValueError(f"{LEASE_VARIABLE} must be from 1 to 600, not {text}.")
    return seconds


@dataclass
class Attempt:
    """The right to run one attempt of a job. Enter it to keep it alive."""

    claims: JobClaims
    job_id: str
    number: int
    """1, and one more for each holder that died."""
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when no sign of life could be given for so long that another worker may take over: stop."""
    _beats: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Attempt:
        self._beats = asyncio.create_task(self.claims.keep_alive(self))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._beats is not None:
            self._beats.cancel()
            await asyncio.gather(self._beats, return_exceptions=True)
            self._beats = None

    async def end(self, state: Mapping[str, Any]) -> bool:
        """Writes the job's last state, unless it has one; whether it did."""
        return await self.claims.end(self.job_id, state)

    async def release(self) -> None:
        """Lets go of a job that has not ended: whoever comes next need not wait for the lease."""
        await self.__aexit__(None, None, None)
        await self.claims.release(self.job_id, self.number)


class JobClaims:
    """The claims of an app's jobs, as one process sees them."""

    def __init__(
        self,
        store: KeyValueStore,
        worker_id: str = "",
        *,
        lease: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`lease` in seconds; without it, RYLA_LEASE_SECONDS or 30."""
        self._store = store
        self._worker_id = worker_id
        self._lease = lease_seconds(os.environ) if lease is None else lease
        self._clock = clock
        self._held: set[tuple[str, int]] = set()

    async def take(self, job_id: str, delivery: str) -> Attempt | None:
        """Claims the next attempt of a job; None when it has ended, or another delivery of it is being run.

        The same delivery comes again when its container has died: then this waits until that holder's lease is over,
        should it live after all.
        """
        holder = {"worker": self._worker_id, "delivery": delivery}
        number = 1
        while True:
            if await self._store.put_if_absent(f"claim:{job_id}:{number}", holder):
                await self._beat(job_id, number)
                if await self.ended(job_id) is None:
                    return Attempt(self, job_id, number)
                return None
            found = await self._store.get(f"claim:{job_id}:{number}")
            if await self._store.get(f"claim:{job_id}:{number + 1}") is not None:
                number += 1
                continue
            if found is None or found["worker"] == GATEWAY or await self.ended(job_id) is not None:
                return None
            if await self._is_alive(job_id, number, found):
                if found["delivery"] != delivery:
                    return None
                await asyncio.sleep(self._lease / 10)
                continue
            number += 1

    async def last(self, job_id: str) -> tuple[int, bool]:
        """The number of the last attempt, 0 without one, and whether its holder may live.

        Ask once and act on it: asked again a moment later, a lease may be over.
        """
        number = 0
        holder: dict[str, Any] | None = None
        while (found := await self._store.get(f"claim:{job_id}:{number + 1}")) is not None:
            if found["worker"] == GATEWAY:
                return number, False
            number, holder = number + 1, found
        return number, holder is not None and await self._is_alive(job_id, number, holder)

    async def note_interrupted(self, job_id: str) -> None:
        """Counts a worker that was lost before it could claim as the first attempt: the next ones are limited."""
        if await self._store.put_if_absent(f"claim:{job_id}:1", {"worker": "", "delivery": ""}):
            await self.release(job_id, 1)

    async def close(self, job_id: str) -> bool:
        """Makes sure that no worker will run the job; False while one may be running it."""
        number = 1
        while not await self._store.put_if_absent(f"claim:{job_id}:{number}", {"worker": GATEWAY}):
            found = await self._store.get(f"claim:{job_id}:{number}")
            if found is None or found["worker"] == GATEWAY:
                return True
            is_last = await self._store.get(f"claim:{job_id}:{number + 1}") is None
            if is_last and await self._is_alive(job_id, number, found):
                return False
            number += 1
        return True

    async def ended(self, job_id: str) -> dict[str, Any] | None:
        """The last state of a job that has ended."""
        return await self._store.get(f"end:{job_id}")

    async def end(self, job_id: str, state: Mapping[str, Any]) -> bool:
        """Writes the last state of a job, unless it has one; whether it did."""
        return await self._store.put_if_absent(f"end:{job_id}", dict(state))

    async def release(self, job_id: str, number: int) -> None:
        """Makes a holder's last sign of life an old one."""
        await self._store.put(f"beat:{job_id}:{number}", 0.0)

    async def _is_alive(self, job_id: str, number: int, holder: Mapping[str, Any]) -> bool:
        if self._worker_id and holder["worker"] == self._worker_id and (job_id, number) not in self._held:
            return False  # it was this very process, which has let go of it
        beat = await self._store.get(f"beat:{job_id}:{number}")
        if beat is None:
            # Claimed a moment ago, or by a worker that died within that moment: its lease begins now.
            await self._store.put_if_absent(f"beat:{job_id}:{number}", self._clock())
            return True
        return self._clock() - beat < self._lease

    async def _beat(self, job_id: str, number: int) -> None:
        self._held.add((job_id, number))
        await self._store.put(f"beat:{job_id}:{number}", self._clock())

    async def keep_alive(self, attempt: Attempt) -> None:
        """Gives signs of life until cancelled; sets `lost` when they do not get through."""
        given_at = time.monotonic()
        try:
            while True:
                await asyncio.sleep(self._lease / 6)
                begun = time.monotonic()
                with contextlib.suppress(Exception):  # a store that is away for a moment ends no job
                    async with asyncio.timeout(self._lease / 6):
                        await self._beat(attempt.job_id, attempt.number)
                        given_at = begun
                if time.monotonic() - given_at > self._lease * 5 / 6:
                    attempt.lost.set()
        finally:
            self._held.discard((attempt.job_id, attempt.number))
