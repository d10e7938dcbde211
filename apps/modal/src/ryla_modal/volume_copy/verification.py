"""What proves that a file on the volume is the source's."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import re
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..models.connections import SourceFailed
from ..models.download import Limits
from ..models.errors import SourceUnavailable
from ..models.extents import Extent
from ..models.part_file import HASH_PIECE, Digest
from ..models.sources import RangeIgnored
from ..models.threads import in_thread
from .bucket import Bucket, Head
from .errors import ChangedDuringCopy
from .object_source import ObjectSource

PINNED = "sha256 of endpoint.json"
OFFERED = "sha256 of the source"
MD5 = "md5 of the source"
REREAD = "size, and the whole file read again"
SAMPLED = "size, and sampled ranges read again"
"""No checksum is known: a wrong byte between the samples is not seen."""

SAMPLES = 16
SAMPLE_BYTES = 256 << 10

PROBES = 8
"""Files that are read to find out whether ETags are MD5s; more than one, since an answer may be wrong."""

_MD5 = re.compile(r"[0-9a-f]{32}")


_beside: ThreadPoolExecutor | None = None


@contextlib.contextmanager
def md5_beside() -> Generator[None]:
    """While it is open, MD5s are computed in threads of their own; they end with it, so that a container can end."""
    global _beside
    with ThreadPoolExecutor(thread_name_prefix="md5") as threads:
        before, _beside = _beside, threads
        try:
            yield
        finally:
            _beside = before


class Digests:
    """The sha256 of a file, and its MD5 where the source's ETag may be one."""

    def __init__(self, *, md5: bool, spare: Callable[[], bool] | None = None) -> None:
        """`spare`: where the MD5 is proof enough, the sha256 is left out as soon as there is no time for it."""
        self._sha256: Digest | None = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False) if md5 else None
        self._spare = spare if md5 else None

    def update(self, data: memoryview, /) -> None:
        """Takes more bytes; both hashes at once (`md5_beside`), since MD5 alone is slower than a transfer."""
        if self._spare is not None and not self._spare():
            self._sha256 = None
        threads, sha256, md5 = _beside, self._sha256, self._md5
        if sha256 is None or md5 is None:
            for digest in (sha256, md5):
                if digest is not None:
                    digest.update(data)
            return
        beside = None if threads is None else threads.submit(md5.update, data)
        sha256.update(data)
        if beside is None:
            md5.update(data)
        else:
            beside.result()

    def hexdigest(self) -> str:
        """The sha256; empty where it was left out."""
        return "" if self._sha256 is None else self._sha256.hexdigest()

    @property
    def md5(self) -> str | None:
        """The MD5, where it was asked for."""
        return None if self._md5 is None else self._md5.hexdigest()


def may_be_md5(etag: str) -> bool:
    """Whether an ETag looks like an MD5: one of a file sent in parts (`…-2`) does not."""
    return _MD5.fullmatch(etag) is not None


def digests_of(path: Path, *, md5: bool) -> Digests:
    """Reads a file. For a thread of its own: it blocks."""
    digests, buffer = Digests(md5=md5), memoryview(bytearray(HASH_PIECE))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digests.update(buffer[:count])
    return digests


def sample_ranges(size: int, chance: random.Random) -> list[Extent]:
    """The first and the last bytes and one range in each of the parts between; the whole of a small file."""
    if size <= SAMPLES * SAMPLE_BYTES:
        return whole_ranges(size)
    step = (size - SAMPLE_BYTES) / (SAMPLES - 1)
    inner = [int(step * (at + chance.random() * 0.5 + 0.25)) for at in range(1, SAMPLES - 1)]
    starts = sorted({0, *(min(start, size - SAMPLE_BYTES) for start in inner), size - SAMPLE_BYTES})
    return [(start, start + SAMPLE_BYTES) for start in starts]


def whole_ranges(size: int) -> list[Extent]:
    """The whole file in pieces."""
    piece = SAMPLES * SAMPLE_BYTES
    return [(start, min(size, start + piece)) for start in range(0, size, piece)]


class ETags:
    """Whether this source's ETags are MD5s, which nobody says: found out with its smallest files."""

    def __init__(self, *, are_md5: bool) -> None:
        """`are_md5` where an earlier copy has shown it."""
        self.are_md5 = are_md5

    async def probe(self, bucket: Bucket, candidates: Sequence[tuple[str, int, str]], limits: Limits) -> None:
        """Reads some small files (key, size, ETag) until the MD5 of one is its ETag."""
        small = sorted((size, key, etag) for key, size, etag in candidates if may_be_md5(etag) and size > 0)
        for size, key, etag in small[:PROBES]:
            if self.are_md5 or size > limits.segment:
                return
            try:
                content = await bucket.read(key, size, etag)
            except (SourceFailed, ChangedDuringCopy):
                continue
            if hashlib.md5(content, usedforsecurity=False).hexdigest() == etag:
                self.are_md5 = True


class Verification:
    """Compares a file with what is known of its source."""

    def __init__(
        self, etags: ETags, slots: asyncio.Semaphore, *, reread: bool, chance: random.Random
    ) -> None:
        """`reread` compares every byte where no checksum is known, instead of samples."""
        self.etags = etags
        self._slots = slots
        self._reread = reread
        self._chance = chance

    async def proof(
        self, digests: Digests, pinned: str | None, head: Head, source: ObjectSource, file: Path
    ) -> tuple[str | None, str]:
        """What proves the file, or None and what is different about it."""
        sha256 = digests.hexdigest()
        if pinned is not None:
            return (
                (PINNED, "")
                if sha256 == pinned
                else (None, f"its sha256 is {sha256}, endpoint.json has {pinned}")
            )
        if head.sha256 is not None:
            return (
                (OFFERED, "")
                if sha256 == head.sha256
                else (None, f"its sha256 is {sha256}, not {head.sha256}")
            )
        if digests.md5 is not None and digests.md5 == head.etag:
            self.etags.are_md5 = True
            return MD5, ""
        if digests.md5 is not None and self.etags.are_md5:
            return None, f"its MD5 is {digests.md5}, not {head.etag}"
        ranges = whole_ranges(head.size) if self._reread else sample_ranges(head.size, self._chance)
        for start, end in ranges:
            if not await self._same(source, file, start, end):
                return None, f"bytes {start} to {end - 1} are not the source's"
        is_whole = sum(end - start for start, end in ranges) == head.size
        return (REREAD if is_whole else SAMPLED), ""

    async def _same(self, source: ObjectSource, file: Path, start: int, end: int) -> bool:
        """Whether a range is equal; one that differs is asked for once more, since the answer may be wrong."""
        here = await in_thread(_read, file, start, end)
        for _ in range(2):
            try:
                async with self._slots:
                    there = await source.read_patiently(start, end)
            except RangeIgnored as error:
                raise SourceUnavailable(
                    f"{source.label} cannot be sampled: the source ignores ranges.",
                    hint="No checksum of it is known either; copy it by hand.",
                ) from error
            if there == here:
                return True
        return False


def _read(path: Path, start: int, end: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, end - start, start)
    finally:
        os.close(descriptor)
