"""Parallel reads of a file: into memory, or only into the page cache."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

CHUNK_BYTES = 16 << 20
"""Bytes of one read: of 4, 16 and 64 MiB the fastest onto a GPU, with any number of threads (docs/benchmarks.md)."""

MOST_THREADS = 16
"""Of 4, 8, 16 and 32 threads, 16 were the fastest from the page cache onto a GPU (docs/benchmarks.md)."""

NOT_CACHED = (errno.EAGAIN, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
"""What a read of the page cache alone answers for other bytes, and where there are no such reads."""


def thread_count() -> int:
    """Threads that read: two a core, at most MOST_THREADS, at least 4, because a cold disk wants reads in flight."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(4, min(MOST_THREADS, 2 * cores))


def read_exactly(fd: int, view: memoryview, offset: int) -> None:
    """Fills `view` with the bytes from `offset`. Raises EOFError when the file ends before."""
    done = 0
    while done < len(view):
        count = os.preadv(fd, [view[done:]], offset + done)
        if count == 0:
            raise EOFError(f"the file ends at byte {offset + done}, {len(view) - done} bytes early")
        done += count


def read_if_cached(fd: int, view: memoryview, offset: int) -> bool:
    """Fills `view` from the page cache alone; False when not all of it is there, or where that cannot be asked.

    Raises EOFError when the file ends before.
    """
    flag: int | None = getattr(os, "RWF_NOWAIT", None)
    if flag is None:
        return False
    done = 0
    while done < len(view):
        try:
            count = os.preadv(fd, [view[done:]], offset + done, flag)
        except OSError as error:
            if error.errno in NOT_CACHED:
                return False
            raise
        if count == 0:
            raise EOFError(f"the file ends at byte {offset + done}, {len(view) - done} bytes early")
        done += count
    return True


def in_parallel(work: Iterator[Callable[[], None]], threads: int) -> None:
    """Runs all of `work` on `threads` threads, and raises the first error once every thread has ended."""
    lock, errors = threading.Lock(), list[BaseException]()

    def drain() -> None:
        while not errors:
            try:
                with lock:
                    task = next(work, None)
                if task is None:
                    return
                task()
            except BaseException as error:
                errors.append(error)

    with ThreadPoolExecutor(threads, "weights") as pool:
        for _ in range(threads):
            pool.submit(drain)
    if errors:
        raise errors[0]


def is_cached(fd: int, offset: int, nbytes: int) -> bool:
    """Whether this part of the file is in the page cache, by three looks; False where that cannot be asked."""
    flag: int | None = getattr(os, "RWF_NOWAIT", None)
    if flag is None:
        return False
    probe = bytearray(1)
    for place in (offset, offset + nbytes // 2, offset + nbytes - 1):
        try:
            os.preadv(fd, [probe], place, flag)
        except OSError as error:
            if error.errno in NOT_CACHED:
                return False
            raise
    return True
