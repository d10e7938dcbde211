"""An unfinished download: its bytes, and a journal of which of them have arrived."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Protocol

from .errors import NotWritten
from .extents import Extents

HASH_PIECE = 1 << 20
"""Bytes read back and hashed at a time, in one buffer: a fresh one each time costs as much as the hash.

They stay in the processor's cache; with 4 MiB a copy took a twentieth longer.
"""


class Digest(Protocol):
    """What bytes are fed to: one of hashlib's, or several at once."""

    def update(self, data: memoryview, /) -> None:
        """Takes more bytes."""
        ...

    def hexdigest(self) -> str:
        """What came of them."""
        ...


class PartFile:
    """`<sha256>.part` and `<sha256>.journal`. The journal's lines are written after the bytes they speak of.

    A killed process leaves both in the page cache, so the next one goes on from there. What a crashed machine may
    have lost is found by the hash at the end. Threads may write and note at once.
    """

    def __init__(self, folder: Path, sha256: str, size: int) -> None:
        self.path = folder / f"{sha256}.part"
        self._journal_path = folder / f"{sha256}.journal"
        self._sha256 = sha256
        self.size = size
        self.extents = Extents()
        self.etag: str | None = None
        """Version of the source that the bytes came from, as it says."""
        self._fd = -1
        self._journal = -1
        self._buffer: memoryview | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> PartFile:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._recall()
            if not self.path.is_file() or self.path.stat().st_size != self.size:
                # A new file, never one that was cut to nothing: ext4 flushes those when they are closed.
                self.path.unlink(missing_ok=True)
                self.extents, self.etag = Extents(), None
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            os.ftruncate(self._fd, self.size)
            self._rewrite_journal()
        except OSError as error:
            self.close()
            raise _not_written(self.path, error) from error
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the files and keeps them."""
        for descriptor in (self._fd, self._journal):
            if descriptor >= 0:
                os.close(descriptor)
        self._fd = self._journal = -1

    def restart(self, etag: str | None = None) -> None:
        """Forgets every byte."""
        self.extents, self.etag = Extents(), etag
        self._rewrite_journal()

    def remember_etag(self, etag: str) -> None:
        """Notes the version that the bytes are of."""
        self.etag = etag
        self._append({"etag": etag})

    def write(self, offset: int, data: memoryview) -> None:
        """Writes bytes, in any thread; `note` makes them count. Raises NotWritten."""
        try:
            while data:
                written = os.pwrite(self._fd, data, offset)
                offset, data = offset + written, data[written:]
        except OSError as error:
            raise _not_written(self.path, error) from error

    def note(self, start: int, end: int) -> None:
        """Says that bytes have been written, in any thread. Raises NotWritten."""
        if start < end:
            with self._lock:
                self.extents.add(start, end)
                self._append([start, end])

    @property
    def frontier(self) -> int:
        """Bytes from the beginning without a gap; in any thread."""
        with self._lock:
            return self.extents.frontier

    def next_gap(self, at: int) -> int:
        """The first byte from `at` on that is not there; in any thread."""
        with self._lock:
            return self.extents.next_gap(at)

    def hash_into(self, digest: Digest, start: int, end: int) -> None:
        """Feeds bytes of the file, read back, to a hash. For a thread of its own: it blocks."""
        if self._buffer is None:
            self._buffer = memoryview(bytearray(min(HASH_PIECE, self.size)))
        buffer = self._buffer
        while start < end:
            count = os.preadv(self._fd, [buffer[: end - start]], start)
            if count == 0:
                raise NotWritten(f"{self.path} became shorter while it was read.")
            digest.update(buffer[:count])
            start += count

    def finish(self, target: Path, *, durable: bool) -> None:
        """Puts the file in its place, whole or not at all; where `durable`, on the disk first. Raises NotWritten."""
        try:
            if durable:
                os.fsync(self._fd)
            self.path.replace(target)
            if durable:
                _sync_folder(target.parent)
            self._journal_path.unlink(missing_ok=True)
        except OSError as error:
            raise _not_written(target, error) from error

    def discard(self) -> None:
        """Removes both files."""
        self.close()
        self.path.unlink(missing_ok=True)
        self._journal_path.unlink(missing_ok=True)

    def _header(self) -> dict[str, str | int]:
        return {"sha256": self._sha256, "size": self.size}

    def _recall(self) -> None:
        try:
            # What follows the last line break was being written when the process ended.
            lines = self._journal_path.read_bytes().split(b"\n")[:-1]
            records = [json.loads(line) for line in lines]
        except (OSError, ValueError):
            return
        if not records or records[0] != self._header():
            return
        for record in records[1:]:
            if _is_extent(record, self.size):
                self.extents.add(record[0], record[1])
            elif isinstance(record, dict) and isinstance(record.get("etag"), str):
                self.etag = record["etag"]

    def _rewrite_journal(self) -> None:
        records: list[object] = [self._header(), *map(list, self.extents)]
        if self.etag is not None:
            records.append({"etag": self.etag})
        fresh = self._journal_path.with_suffix(".journal-new")
        try:
            fresh.write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")
            fresh.replace(self._journal_path)
            if self._journal >= 0:
                os.close(self._journal)
            self._journal = os.open(self._journal_path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except OSError as error:
            raise _not_written(self._journal_path, error) from error

    def _append(self, record: object) -> None:
        try:
            os.write(self._journal, f"{json.dumps(record)}\n".encode())
        except OSError as error:
            raise _not_written(self._journal_path, error) from error


def _is_extent(record: object, size: int) -> bool:
    match record:
        case [int(start), int(end)]:
            return 0 <= start < end <= size
        case _:
            return False


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _not_written(path: Path, error: OSError) -> NotWritten:
    return NotWritten(
        f"{path} could not be written: {error.strerror or error}.",
        hint="Run it again when there is space and right to write: it goes on where it stopped.",
    )
