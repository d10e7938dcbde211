"""Where the gateway and the workers meet: a key-value store and a folder of files, on Modal or in one process."""

from __future__ import annotations

import asyncio
import mimetypes
import os
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from blake3 import blake3

RETENTION = 7 * 24 * 3600
"""Seconds that jobs and their outputs are kept; Modal keeps results of calls as long."""

PIECE = 1 << 20


class KeyValueStore(Protocol):
    """Atomic single keys, nothing more: no transactions and no compare-and-swap (as modal.Dict)."""

    async def get(self, key: str) -> Any:
        """The value, or None."""
        ...

    async def put(self, key: str, value: Any) -> None:
        """Writes a value."""
        ...

    async def put_if_absent(self, key: str, value: Any) -> bool:
        """Writes a value unless there is one; whether it did. Atomic."""
        ...

    async def pop(self, key: str) -> Any:
        """Removes and returns a value, or None."""
        ...


class MemoryStore:
    """A key-value store for one process."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    async def get(self, key: str) -> Any:
        """The value, or None."""
        return self._values.get(key)

    async def put(self, key: str, value: Any) -> None:
        """Writes a value."""
        self._values[key] = value

    async def put_if_absent(self, key: str, value: Any) -> bool:
        """Writes a value unless there is one."""
        if key in self._values:
            return False
        self._values[key] = value
        return True

    async def pop(self, key: str) -> Any:
        """Removes a value."""
        return self._values.pop(key, None)


async def _nothing() -> None:
    return None


@dataclass(frozen=True)
class Blob:
    """Bytes that were stored: their hash as the API writes it, and their size."""

    hash: str
    size: int
    is_new: bool


class FileStore:
    """Files by content below one folder, which may be a Volume: `commit` after writing, `reload` before reading."""

    def __init__(
        self,
        folder: Path,
        *,
        commit: Callable[[], Awaitable[None]] = _nothing,
        reload: Callable[[], Awaitable[None]] = _nothing,
    ) -> None:
        self._folder = folder
        self._commit = commit
        self._reload = reload

    async def write(self, pieces: AsyncIterator[bytes]) -> Blob:
        """Stores a stream of bytes under its blake3 hash. Call `commit` afterwards."""
        blobs = self._folder / "blobs"
        blobs.mkdir(parents=True, exist_ok=True)
        partial = blobs / f".{uuid.uuid4().hex}.partial"
        hasher, size = blake3(), 0
        try:
            with partial.open("wb") as file:
                async for piece in pieces:
                    hasher.update(piece)
                    size += len(piece)
                    file.write(piece)
            target = blobs / hasher.hexdigest()
            is_new = not target.exists()
            os.replace(partial, target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        return Blob(f"blake3:{hasher.hexdigest()}", size, is_new)

    async def commit(self) -> None:
        """Makes what was written visible to other containers."""
        await self._commit()

    async def path(self, content_hash: str) -> Path | None:
        """Where the bytes with this hash lie; None when there are none."""
        name = content_hash.removeprefix("blake3:")
        if len(name) != 64 or not all(digit in "0123456789abcdef" for digit in name):
            return None
        path = self._folder / "blobs" / name
        if not path.exists():
            await self._reload()
        return path if path.exists() else None


def timestamp(seconds: float | None = None) -> str:
    """A moment as the API writes it (RFC 3339, UTC)."""
    moment = datetime.fromtimestamp(time.time() if seconds is None else seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_asset(
    blob: Blob,
    content_type: str,
    file_path: str,
    *,
    expires_in: float | None = None,
    job_id: str | None = None,
    tags: Sequence[str] = (),
) -> dict[str, Any]:
    """The record of an asset: an id of its own over bytes that are shared by content."""
    now = time.time()
    return {
        "id": str(uuid.uuid4()),
        "hash": blob.hash,
        "size_bytes": blob.size,
        "content_type": content_type or mimetypes.guess_type(file_path)[0] or "application/octet-stream",
        "file_path": file_path,
        "created_at": timestamp(now),
        "expires_at": timestamp(now + (expires_in or RETENTION)),
        "job_id": job_id,
        "tags": list(tags),
    }


async def file_pieces(path: Path, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
    """The bytes of a file, read outside the event loop."""
    with path.open("rb") as file:
        file.seek(start)
        left = length
        while left is None or left > 0:
            piece = await asyncio.to_thread(file.read, PIECE if left is None else min(PIECE, left))
            if not piece:
                return
            left = None if left is None else left - len(piece)
            yield piece
