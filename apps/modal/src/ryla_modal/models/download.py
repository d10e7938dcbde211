"""One file by parallel ranges into its part file, hashed on the way."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from .arrivals import InOrder, RangeArrivals, WholeArrivals
from .connections import SourceFailed
from .errors import HashMismatch, SourceUnavailable
from .model_file import ModelFile
from .part_file import Digest, PartFile
from .progress import Progress
from .sources import RangeIgnored, Source
from .threads import in_thread

COUNTS_AS_PROGRESS = 64 << 10
"""Bytes after which a failure is a new one: a source that gives a byte at a time is not waited for."""

HASH_STEP = 8 << 20
"""Bytes that have to be there before a thread is asked to hash them."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How hard a source is asked."""

    connections: int = 8
    """At once, over all files."""
    files: int = 2
    """At once: while one is being verified the next is on its way."""
    segment: int = 16 << 20
    """Bytes of one request."""
    stall: float = 60.0
    """Seconds without a byte after which a connection is given up; also to connect."""
    failures: int = 8
    """Failures in a row, without progress, after which a source is given up."""
    backoff: float = 0.5
    """Seconds before the second attempt, at most; doubled for each further one."""
    longest_wait: float = 300.0
    """Seconds: the end of the doubling, and of what Retry-After may ask for."""
    attempts: int = 2
    """Whole downloads of a file whose hash is wrong, before its source is called wrong."""
    versions: int = 3
    """Times that a source may change under a download before its versions are no longer told apart."""


class SourceChanged(Exception):
    """The source has another version now; bytes of two versions make no file."""

    def __init__(self, etag: str) -> None:
        super().__init__(etag)
        self.etag = etag


class Download:
    """Fetches what a part file lacks and verifies the whole."""

    def __init__(
        self,
        model: ModelFile,
        source: Source,
        part: PartFile,
        *,
        limits: Limits,
        slots: asyncio.Semaphore,
        progress: Progress,
        remark: Callable[[str], None],
        new_digest: Callable[[], Digest] = hashlib.sha256,
    ) -> None:
        """`new_digest` is asked for a fresh one whenever the bytes are hashed from the beginning."""
        self._model = model
        self._source = source
        self._part = part
        self._limits = limits
        self._slots = slots
        self._progress = progress
        self._remark = remark
        self._new_digest = new_digest
        self._arrived = asyncio.Event()
        self._versions = 0
        self._counted = 0
        """Bytes that the progress still expects of this file."""

    async def run(self) -> None:
        """Returns when the part file is whole and has the hash that it must have. Raises ModelError."""
        found = ""
        for _ in range(self._limits.attempts):
            found = (await self.fetch()).hexdigest()
            if found == self._model.sha256:
                return
            self._remark(f"{self._model.path}: its hash is {found[:12]}…, not {self._model.sha256[:12]}…")
            self._part.restart()
        self._part.discard()
        raise HashMismatch(
            f"{self._source.label} has the sha256 {found}, but {self._model.path} is {self._model.sha256} in endpoint.json.",
            hint="Nothing was kept. Pin the url to the revision whose sha256 stands there, or correct it.",
        )

    def _expect(self) -> None:
        """Tells the progress what is to come, once for each start from the beginning."""
        missing = self._part.size - self._part.extents.length
        self._progress.expect(missing - self._counted)
        self._counted = missing

    def _advance(self, count: int) -> None:
        self._progress.advance(count)
        self._counted -= count

    async def fetch(self) -> Digest:
        """The digest of the whole part file, whatever it is. Raises ModelError."""
        self._expect()
        while True:
            try:
                return await self._fetch_ranges()
            except ExceptionGroup as group:
                error = _first(group)
            if isinstance(error, RangeIgnored):
                self._remark(f"{self._model.path}: the source ignores ranges, so it comes in one piece")
                return await self._fetch_whole()
            if not isinstance(error, SourceChanged):
                raise error
            self._versions += 1
            self._remark(f"{self._model.path}: the source has changed, so it is fetched from the beginning")
            self._part.restart(error.etag)
            self._expect()

    async def _fetch_ranges(self) -> Digest:
        digest = self._new_digest()
        waiting = deque(self._part.extents.missing(self._part.size, self._limits.segment))
        # What one connection brings is hashed where it arrives, and not read back.
        in_order = InOrder(digest) if list(waiting) == [(0, self._part.size)] else None
        self._arrived.set()
        async with asyncio.TaskGroup() as group:
            if in_order is None:
                group.create_task(self._hash_along(digest))
            for _ in range(min(self._limits.connections, len(waiting))):
                group.create_task(self._segments(waiting, in_order))
        if in_order is not None and in_order.position < self._part.size:
            await in_thread(self._part.hash_into, digest, in_order.position, self._part.size)
        return digest

    async def _hash_along(self, digest: Digest) -> None:
        """Hashes from the beginning as far as there is no gap, while the rest arrives."""
        hashed = 0
        while hashed < self._part.size:
            await self._arrived.wait()
            self._arrived.clear()
            frontier = self._part.frontier
            if frontier - hashed >= HASH_STEP or frontier == self._part.size:
                await in_thread(self._part.hash_into, digest, hashed, frontier)
                hashed = frontier
                self._arrived.set()

    async def _segments(self, waiting: deque[tuple[int, int]], in_order: InOrder | None) -> None:
        while waiting:
            start, end = waiting.popleft()
            await self._segment(start, end, in_order)

    async def _segment(self, start: int, end: int, in_order: InOrder | None) -> None:
        failures, mark = 0, start
        while start < end:
            try:
                await self._range(start, end, in_order)
                start = self._part.next_gap(start)
                if start >= end:
                    return
                raise SourceFailed(f"{self._source.label} ended its answer early")
            except SourceFailed as error:
                start = self._part.next_gap(start)
                failures = 1 if start - mark >= COUNTS_AS_PROGRESS else failures + 1
                mark = start
                await self._wait_after(error, failures)

    async def _range(self, start: int, end: int, in_order: InOrder | None) -> None:
        """One answer. What was written counts also when it breaks off."""
        loop = asyncio.get_running_loop()

        def begin(etag: str | None) -> None:
            if etag is not None and etag != self._part.etag:
                asyncio.run_coroutine_threadsafe(self._check_version(etag), loop).result()

        def noted(count: int) -> None:
            loop.call_soon_threadsafe(self._arrive, count)

        arrivals = RangeArrivals(self._part, begin, noted, in_order)
        async with self._slots:
            try:
                await self._source.fetch(start, end, arrivals)
            finally:
                arrivals.note()

    def _arrive(self, count: int) -> None:
        self._advance(count)
        self._arrived.set()

    async def _check_version(self, etag: str) -> None:
        if etag == self._part.etag or self._versions >= self._limits.versions:
            return  # after so many versions it is the hash alone that decides
        if self._part.etag is not None and self._part.extents.length > 0:
            raise SourceChanged(etag)
        self._part.remember_etag(etag)

    async def _fetch_whole(self) -> Digest:
        """The file in one answer, from a source without ranges: each attempt begins at the beginning."""
        loop, size, failures, furthest = asyncio.get_running_loop(), self._part.size, 0, 0
        self._part.restart()
        self._expect()
        while True:
            arrivals = WholeArrivals(
                self._part, lambda reached: loop.call_soon_threadsafe(self._reach, reached) and None
            )
            try:
                async with self._slots:
                    await self._source.fetch(0, None, arrivals)
                if arrivals.reached == size:
                    break
                raise SourceFailed(f"{self._source.label} ended its answer early")
            except SourceFailed as error:
                failures = 1 if arrivals.reached - furthest >= COUNTS_AS_PROGRESS else failures + 1
                furthest = max(furthest, arrivals.reached)
                await self._wait_after(error, failures)
        digest = self._new_digest()
        await in_thread(self._part.hash_into, digest, 0, size)
        return digest

    def _reach(self, reached: int) -> None:
        if self._counted > self._part.size - reached:
            self._advance(self._counted - (self._part.size - reached))

    async def _wait_after(self, error: Exception, failures: int) -> None:
        reason = str(error) or type(error).__name__
        if failures > self._limits.failures:
            raise SourceUnavailable(
                f"{self._source.label} failed {failures} times in a row, at last: {reason}.",
                hint="Run it again later: it goes on where it stopped.",
            ) from error
        asked = error.retry_after if isinstance(error, SourceFailed) else None
        wait = self._limits.backoff * 2 ** (failures - 1) * random.uniform(0.5, 1)
        await asyncio.sleep(min(self._limits.longest_wait, max(asked or 0.0, wait)))
        if asked is not None:
            self._remark(f"{self._model.path}: waited {asked:.0f} s as the source asked")


def _first(group: ExceptionGroup[Exception]) -> Exception:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error
