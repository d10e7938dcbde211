"""`.ryla/volume-copy/manifest.jsonl`: what was copied from which version, and what proves it. One line a file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..models import NotWritten
from ..models.model_file import OWN_FOLDER
from .plan import Item

COPY_FOLDER = f"{OWN_FOLDER}/volume-copy"
MANIFEST_FILE = f"{COPY_FOLDER}/manifest.jsonl"


@dataclass(frozen=True, slots=True)
class Copied:
    """A file that was copied and verified."""

    path: str
    bucket: str
    key: str
    size: int
    etag: str
    modified: str
    sha256: str
    """Of the bytes on the volume; empty where an MD5 is the proof and there was no time for it."""
    proof: str
    """What they were compared with; see verification.py."""
    verified_at: str
    """UTC, ISO 8601."""
    mtime: int
    """Its modification time on the volume, in seconds since 1970."""

    def is_of(self, item: Item, bucket: str) -> bool:
        """Whether it is of the version that the source has now."""
        source = item.source
        return (self.bucket, self.key, self.size, self.etag, self.modified) == (
            bucket,
            source.key,
            source.size,
            source.etag,
            source.modified,
        ) and item.sha256 in (None, self.sha256)


class Manifest:
    """Entries by path; the last line of a path counts. A line that cannot be read counts as not there."""

    def __init__(self, volume: Path) -> None:
        self._volume = volume
        self._file = volume / MANIFEST_FILE
        self._open = -1
        self.entries: dict[str, Copied] = {}
        self._read()

    def read_again(self) -> Manifest:
        """What it says by now."""
        self.entries.clear()
        self._read()
        return self

    def _read(self) -> None:
        try:
            text = self._file.read_bytes()
        except OSError:
            return
        # What follows the last line break was being written when the process ended.
        for entry in _entries(text.split(b"\n")[:-1]):
            self.entries[entry.path] = entry

    def __enter__(self) -> Manifest:
        """Opens it for `put`; writes it afresh first, without what is no longer of use. Raises NotWritten."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._file.with_suffix(".jsonl-new")
            with fresh.open("wb") as file:
                file.writelines(_line(entry) for entry in self.entries.values())
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._file)
            self._open = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except OSError as error:
            raise _not_written(self._file, error) from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._open >= 0:
            os.close(self._open)
            self._open = -1

    def put(self, entry: Copied) -> None:
        """Adds or replaces an entry, on the volume too. Raises NotWritten."""
        line = _line(entry)
        try:
            if os.write(self._open, line) != len(line):
                raise OSError("it was written in part")
        except OSError as error:
            raise _not_written(self._file, error) from error
        self.entries[entry.path] = entry

    def holds(self, item: Item, bucket: str) -> bool:
        """Whether the item is on the volume as it was copied, from the version that the source has now."""
        entry = self.entries.get(item.path)
        return entry is not None and entry.is_of(item, bucket) and self.is_untouched(entry)

    def is_untouched(self, entry: Copied) -> bool:
        """Whether the file is of the size and time that it had when it was verified."""
        try:
            found = (self._volume / entry.path).lstat()
        except OSError:
            return False
        return (found.st_size, int(found.st_mtime)) == (entry.size, entry.mtime)


def _entries(lines: list[bytes]) -> Iterator[Copied]:
    for line in lines:
        try:
            entry = _read(json.loads(line))
        except (ValueError, KeyError, TypeError):
            continue
        yield entry


def _read(document: Any) -> Copied:
    texts = ("path", "bucket", "key", "etag", "modified", "sha256", "proof", "verifiedAt")
    if not all(isinstance(document[name], str) for name in texts):
        raise TypeError("a text is none")
    return Copied(
        path=document["path"],
        bucket=document["bucket"],
        key=document["key"],
        size=int(document["size"]),
        etag=document["etag"],
        modified=document["modified"],
        sha256=document["sha256"],
        proof=document["proof"],
        verified_at=document["verifiedAt"],
        mtime=int(document["mtime"]),
    )


def _line(entry: Copied) -> bytes:
    document = {
        "path": entry.path,
        "bucket": entry.bucket,
        "key": entry.key,
        "size": entry.size,
        "etag": entry.etag,
        "modified": entry.modified,
        "sha256": entry.sha256,
        "proof": entry.proof,
        "verifiedAt": entry.verified_at,
        "mtime": entry.mtime,
    }
    return f"{json.dumps(document)}\n".encode()


def _not_written(file: Path, error: OSError) -> NotWritten:
    return NotWritten(
        f"{file} could not be written: {error.strerror or error}.",
        hint="Run it again when there is space and right to write: it goes on where it stopped.",
    )
