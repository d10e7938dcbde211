"""Objects of one bucket: the files below a folder, and such whose keys no file could have."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HASH_PIECE = 4 << 20
HIDDEN = ".s3-uploads"
"""Folder of unfinished uploads below the bucket's; its files are no objects."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One version of an object."""

    key: str
    size: int
    modified: float
    """Seconds since 1970."""
    content: bytes | Path

    def read(self, start: int, end: int) -> bytes:
        """Its bytes from `start` up to, not including, `end`."""
        if isinstance(self.content, bytes):
            return self.content[start:end]
        with self.content.open("rb", buffering=0) as file:
            return os.pread(file.fileno(), end - start, start)


class ObjectStore:
    """The bucket. `held` are objects in memory, by key; each hides a file of the same key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.held: dict[str, tuple[bytes, float]] = {}
        self._hashes: dict[str, dict[tuple[int, int, str], str]] = {}

    def hold(self, key: str, content: bytes, modified: float | None = None) -> None:
        """Puts an object into memory, whatever its key is."""
        self.held[key] = (content, time.time() if modified is None else modified)

    def changed(self, key: str) -> None:
        """A file was written: what was held under its key, or known of it, is void.

        Two writes within the file system's tick have the same time.
        """
        self.held.pop(key, None)
        self._hashes.pop(key, None)

    def get(self, key: str) -> StoredObject | None:
        """The object, or None."""
        if key in self.held:
            content, modified = self.held[key]
            return StoredObject(key, len(content), modified, content)
        file = self.file_of(key)
        return None if file is None or not file.is_file() else _of_file(key, file)

    def file_of(self, key: str) -> Path | None:
        """Where a key's file would be; None for a key that is no path below the folder."""
        parts = key.split("/")
        if not key or "\0" in key or any(part in ("", ".", "..") for part in parts) or parts[0] == HIDDEN:
            return None
        return self.folder / key

    def directory(self, prefix: str) -> tuple[list[StoredObject], list[str]]:
        """Objects right below a prefix that is empty or ends with `/`, and the prefixes below it; both sorted."""
        objects: dict[str, StoredObject] = {}
        prefixes: set[str] = set()
        folder = self.folder if not prefix else self.file_of(prefix[:-1])
        if folder is not None and folder.is_dir():
            for entry in os.scandir(folder):
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != HIDDEN and _has_files(Path(entry.path)):
                        prefixes.add(f"{prefix}{entry.name}/")
                elif entry.is_file(follow_symlinks=False):
                    key = f"{prefix}{entry.name}"
                    objects[key] = _of_file(key, Path(entry.path))
        for key in self.held:
            if not key.startswith(prefix):
                continue
            head, slash, _ = key[len(prefix) :].partition("/")
            if slash:
                prefixes.add(f"{prefix}{head}/")
            elif (found := self.get(key)) is not None:
                objects[key] = found
        return [objects[key] for key in sorted(objects)], sorted(prefixes)

    def all(self, prefix: str) -> Iterator[StoredObject]:
        """Every object whose key begins with a prefix, in the keys' order."""
        keys = {key for key in self.held if key.startswith(prefix)}
        for folder, folders, names in os.walk(self.folder):
            relative = Path(folder).relative_to(self.folder).as_posix()
            if relative == ".":
                folders[:] = [name for name in folders if name != HIDDEN]
            keys.update(
                key
                for name in names
                if (key := name if relative == "." else f"{relative}/{name}").startswith(prefix)
            )
        for key in sorted(keys):
            found = self.get(key)
            if found is not None:
                yield found

    def digest(self, item: StoredObject, algorithm: str) -> str:
        """Hash of an object in hexadecimal; computed once for each version of it."""
        if isinstance(item.content, bytes):
            return hashlib.new(algorithm, item.content, usedforsecurity=False).hexdigest()
        found = item.content.stat()
        version, known = (found.st_mtime_ns, found.st_size, algorithm), self._hashes.setdefault(item.key, {})
        if version not in known:
            with item.content.open("rb") as file:
                known[version] = hashlib.file_digest(file, algorithm).hexdigest()
        return known[version]


def _of_file(key: str, file: Path) -> StoredObject:
    found = file.stat()
    return StoredObject(key, found.st_size, found.st_mtime, file)


def _has_files(folder: Path) -> bool:
    return any(names for _, _, names in os.walk(folder))
