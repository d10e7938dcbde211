"""One run at a time on a volume that is mounted on one machine."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from .errors import NotWritten
from .model_file import OWN_FOLDER

LOCK_FILE = f"{OWN_FOLDER}/lock"
LOCK_INTERVAL = 0.2
"""Seconds between two attempts at a lock that another run holds."""


@contextlib.asynccontextmanager
async def locked(volume: Path, say: Callable[[str], None]) -> AsyncGenerator[None]:
    """Holds the volume's lock; waits for another run's end. Raises NotWritten."""
    own = volume / OWN_FOLDER
    try:
        own.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(volume / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise NotWritten(f"{own} cannot be written: {error.strerror}.") from error
    try:
        told = False
        while not _try_lock(descriptor):
            if not told:
                say("Another run is at work on this volume; waiting for its end.")
                told = True
            await asyncio.sleep(LOCK_INTERVAL)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks: a hash decides about every file in any case
    return True
