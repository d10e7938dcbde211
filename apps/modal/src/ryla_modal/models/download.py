"""One file by parallel ranges into its part file, hashed on the way."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import aiohttp

from .errors import HashMismatch, SourceUnavailable
from .model_file import ModelFile
from .part_file import Digest, PartFile
from .progress import Progress
from .sources import Answer, RangeIgnored, Source, SourceFailed
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
    block: int = 512 << 10
    """Bytes of one write."""
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


class Fetch(Protocol):
    """Brings one range of a file."""

    async def __call__(
        self, start: int, end: int, part: PartFile, note: Callable[[int, int], None], /
    ) -> None:
        """Writes bytes to the part file, from `start` on, and notes them on the event loop when they are written.

        What came before a failure is noted too. An answer that ends early is no error here. Raises what Source.open does.
        """
        ...


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
        fetch: Fetch | None = None,
    ) -> None:
        """`new_digest` is asked for a fresh one whenever the bytes are hashed from the beginning.

        `fetch` brings ranges in the place of the source's streams.
        """
        self._fetch_range = fetch or self._fetch_stream
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
        self._reached = 0

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
        self._arrived.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hash_along(digest))
            for _ in range(min(self._limits.connections, len(waiting))):
                group.create_task(self._segments(waiting))
        return digest

    async def _hash_along(self, digest: Digest) -> None:
        """Hashes from the beginning as far as there is no gap, while the rest arrives."""
        hashed = 0
        while hashed < self._part.size:
            await self._arrived.wait()
            self._arrived.clear()
            frontier = self._part.extents.frontier
            if frontier - hashed >= HASH_STEP or frontier == self._part.size:
                await in_thread(self._part.hash_into, digest, hashed, frontier)
                hashed = frontier
                self._arrived.set()

    async def _segments(self, waiting: deque[tuple[int, int]]) -> None:
        while waiting:
            start, end = waiting.popleft()
            await self._segment(start, end)

    async def _segment(self, start: int, end: int) -> None:
        failures, mark = 0, start
        while start < end:
            try:
                async with self._slots:
                    await self._fetch_range(start, end, self._part, self._note)
                start = self._part.extents.next_gap(start)
                if start >= end:
                    return
                raise SourceFailed(f"{self._source.label} ended its answer early")
            except (aiohttp.ClientError, TimeoutError, ConnectionError, SourceFailed) as error:
                start = self._part.extents.next_gap(start)
                failures = 1 if start - mark >= COUNTS_AS_PROGRESS else failures + 1
                mark = start
                await self._wait_after(error, failures)

    async def _fetch_stream(
        self, start: int, end: int, part: PartFile, note: Callable[[int, int], None]
    ) -> None:
        async with self._source.open(start, end) as answer:
            self._check_version(answer.etag)
            await self._take(answer, start, end, part, note)

    def _note(self, start: int, end: int) -> None:
        self._part.note(start, end)
        self._advance(end - start)
        self._arrived.set()

    def _check_version(self, etag: str | None) -> None:
        if etag is None or etag == self._part.etag or self._versions >= self._limits.versions:
            return  # after so many versions it is the hash alone that decides
        if self._part.etag is not None and self._part.extents.length > 0:
            raise SourceChanged(etag)
        self._part.remember_etag(etag)

    async def _take(
        self, answer: Answer, start: int, end: int, part: PartFile, note: Callable[[int, int], None]
    ) -> None:
        """Writes what comes until `end`. What was written counts also when it breaks off."""
        pieces: list[bytes] = []
        held = 0

        def write() -> None:
            # Here and not in a thread: handing the interpreter's lock to and fro halved the rate (2 GB, 8 connections).
            nonlocal start, held, pieces
            batch, length = pieces, held
            pieces, held = [], 0
            part.write(start, batch)
            note(start, start + length)
            start += length

        try:
            async for data in answer.stream:
                piece = data[: end - start - held]
                pieces.append(piece)
                held += len(piece)
                if held >= self._limits.block or start + held >= end:
                    write()
                if len(piece) < len(data):
                    break  # more than was asked for; else to the stream's own end, so that its connection is kept
        finally:
            if held:
                write()

    async def _fetch_whole(self) -> Digest:
        """The file in one answer, from a source without ranges: each attempt begins at the beginning."""
        size, failures, furthest = self._part.size, 0, 0
        self._part.restart()
        self._expect()
        while True:
            reached = 0
            try:
                async with self._slots, self._source.open(0, None) as answer:
                    reached = await self._take_whole(answer)
                if reached == size:
                    break
                raise SourceFailed(f"{self._source.label} ended its answer early")
            except (aiohttp.ClientError, TimeoutError, ConnectionError, SourceFailed) as error:
                reached = self._reached
                failures = 1 if reached - furthest >= COUNTS_AS_PROGRESS else failures + 1
                furthest = max(furthest, reached)
                await self._wait_after(error, failures)
        digest = self._new_digest()
        await in_thread(self._part.hash_into, digest, 0, size)
        return digest

    async def _take_whole(self, answer: Answer) -> int:
        self._reached = 0
        async for data in answer.stream:
            piece = data[: self._part.size - self._reached]
            self._part.write(self._reached, [piece])
            self._reached += len(piece)
            if self._counted > self._part.size - self._reached:
                self._advance(self._counted - (self._part.size - self._reached))
            if self._reached >= self._part.size:
                break
        return self._reached

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
