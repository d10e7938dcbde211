"""Brings files into the page cache in parallel, first those that imports wait for, then the models."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from . import memory
from .reading import CHUNK_BYTES, is_cached, thread_count

MOST_OF_MEMORY = 0.8
"""Share of the memory that is free which a read-ahead may fill: the rest is the processes'."""

READ_BYTES = 1 << 20
"""Bytes of one read. Only the page cache is filled, so that a small buffer of each thread is enough."""

GENTLE_THREADS = 1
"""Threads that read while ComfyUI imports. On an H200 machine 16 made its boot 3 s longer than one did
(docs/benchmarks.md)."""

LARGEST_FOLDER = 20_000
"""Entries of a folder that are looked at; Python's own largest, site-packages, has some hundreds."""

HURRY_INTERVAL = 0.2
"""Seconds between two looks of a waiting thread at whether there is anything left to read."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file, and which parts of it: pairs of offset and bytes, or None for all of it.

    Of a folder, its list and what the system keeps of each entry: an import asks for many files that it does not open.
    """

    path: Path
    parts: tuple[tuple[int, int], ...] | None = None


@dataclass(frozen=True, slots=True)
class ReadAheadReport:
    """What a read-ahead did: bytes read from the disk, bytes that were cached before, seconds, and what it left out."""

    read_bytes: int
    cached_bytes: int
    seconds: float
    left_out: tuple[str, ...]


class ReadAhead:
    """One read-ahead of `wanted`, in that order. A file that cannot be read is left out: who needs it will say so."""

    def __init__(
        self,
        wanted: Sequence[Wanted],
        *,
        budget: int | None = None,
        threads: int | None = None,
        gentle: bool = False,
    ) -> None:
        """`budget` in bytes; by default MOST_OF_MEMORY of what is free when it starts. A gentle one reads with
        GENTLE_THREADS until `hurry` is called.
        """
        self._wanted, self._budget = wanted, budget
        self._threads = threads or thread_count()
        self._stop = threading.Event()
        self._hurry = threading.Event()
        if not gentle:
            self._hurry.set()
        self._lock = threading.Lock()
        self._read = 0
        self._cached = 0
        self._left_out: list[str] = []
        self._local = threading.local()

    def hurry(self) -> None:
        """From now on as fast as the disk; from any thread."""
        self._hurry.set()

    def stop(self) -> None:
        """Ends it soon; from any thread."""
        self._stop.set()
        self._hurry.set()

    def run(self) -> ReadAheadReport:
        """Reads, and returns when everything was read, or it was stopped."""
        started = time.monotonic()
        with ThreadPoolExecutor(self._threads, "read-ahead") as pool:
            ranges = list(pool.map(self._ranges, self._wanted))
        parts = self._parts(ranges)
        done = threading.Event()

        def drain(number: int) -> None:
            while number >= GENTLE_THREADS and not (self._hurry.wait(HURRY_INTERVAL) or done.is_set()):
                pass
            while not self._stop.is_set():
                with self._lock:
                    part = next(parts, None)
                if part is None:
                    break
                self._bring(*part)
            done.set()

        with ThreadPoolExecutor(self._threads, "read-ahead") as pool:
            for task in [pool.submit(drain, number) for number in range(self._threads)]:
                task.result()
        return ReadAheadReport(
            self._read, self._cached, time.monotonic() - started, tuple(sorted(set(self._left_out)))
        )

    def _ranges(self, wanted: Wanted) -> Sequence[tuple[int, int]]:
        """What to read of one: nothing of a folder, whose entries are looked at here, nor of what is not there."""
        if self._stop.is_set():
            return ()
        try:
            status = wanted.path.stat()
            if stat.S_ISDIR(status.st_mode):
                _look_at(wanted.path)
                return ()
            return wanted.parts if wanted.parts is not None else ((0, status.st_size),)
        except OSError:
            self._leave_out(wanted.path)
            return ()

    def _parts(self, ranges: Sequence[Sequence[tuple[int, int]]]) -> Iterator[tuple[Path, int, int]]:
        budget = self._budget
        if budget is None:
            free = memory.available_memory()
            budget = int(free * MOST_OF_MEMORY) if free is not None else 1 << 62
        for one, own in zip(self._wanted, ranges, strict=True):
            size = sum(nbytes for _, nbytes in own)
            if size > budget:
                self._left_out.append(str(one.path))  # whoever asks for the next part holds the lock
                continue
            budget -= size
            for begin, nbytes in own:
                for offset in range(begin, begin + nbytes, CHUNK_BYTES):
                    yield one.path, offset, min(CHUNK_BYTES, begin + nbytes - offset)

    def _bring(self, path: Path, offset: int, nbytes: int) -> None:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._leave_out(path)
            return
        try:
            if is_cached(fd, offset, nbytes):
                self._count(0, nbytes)
                return
            done = 0
            buffer: memoryview = getattr(self._local, "buffer", None) or memoryview(bytearray(READ_BYTES))
            self._local.buffer = buffer
            while done < nbytes and not self._stop.is_set():
                count = os.preadv(fd, [buffer[: min(len(buffer), nbytes - done)]], offset + done)
                if count == 0:
                    break
                done += count
            self._count(done, 0)
        except OSError:
            self._leave_out(path)
        finally:
            os.close(fd)

    def _count(self, read: int, cached: int) -> None:
        with self._lock:
            self._read += read
            self._cached += cached

    def _leave_out(self, path: Path) -> None:
        with self._lock:
            self._left_out.append(str(path))


def _look_at(folder: Path) -> None:
    with os.scandir(folder) as entries:
        for entry in itertools.islice(entries, LARGEST_FOLDER):
            with contextlib.suppress(OSError):
                entry.stat()
