"""Where the gateway and the workers meet: a key-value store and a folder of files, on Modal or in one process."""

from __future__ import annotations

import asyncio
import mimetypes
import os
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from blake3 import blake3

RETENTION = 7 * 24 * 3600
"""Seconds that jobs and their outputs are kept; Modal keeps results of calls as long."""

PIECE = 1 << 20

INLINE_BYTES = 2 * 1024 * 1024
"""A job's outputs that have no more bytes together are kept beside its state, larger ones on the Volume. Up to this
size Modal carries a payload in the call itself (contract of 2026-11, `modal` 1.6.4: beyond it, through blobs); a commit
of the Volume, and a reload by whoever reads, would take longer than such a picture."""


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
        small: KeyValueStore | None = None,
        scratch: Path | None = None,
    ) -> None:
        """`small` keeps the outputs of jobs that make little; without it all are files. `scratch` is a folder of this
        container for copies of them; without it, one among the temporary files."""
        self._folder = folder
        self._scratch = scratch or Path(tempfile.gettempdir()) / "ryla-small-outputs"
        self._small = small
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

    async def keep(self, contents: Iterable[AsyncIterator[bytes]]) -> list[Blob]:
        """Stores a job's outputs, visible to other containers afterwards: by their size together, see INLINE_BYTES."""
        whole: list[bytes] = []
        blobs: list[Blob] = []
        left = INLINE_BYTES if self._small is not None else -1
        for content in contents:
            if left >= 0:
                begun, ended = await _read_up_to(content, left)
                left -= len(begun)
                if ended:
                    whole.append(begun)
                    continue
                left = -1
                blobs += [await self.write(_pieces(earlier)) for earlier in whole]
                whole = []
                content = _pieces(begun, content)
            blobs.append(await self.write(content))
        if left >= 0 and self._small is not None:
            return [await self._keep_small(self._small, content) for content in whole]
        await self.commit()
        return blobs

    async def _keep_small(self, small: KeyValueStore, content: bytes) -> Blob:
        digest = blake3(content).hexdigest()
        is_new = await small.put_if_absent(f"blob:{digest}", content)
        return Blob(f"blake3:{digest}", len(content), is_new)

    async def commit(self) -> None:
        """Makes what was written visible to other containers."""
        await self._commit()

    async def path(self, content_hash: str) -> Path | None:
        """Where the bytes with this hash lie; None when there are none."""
        name = content_hash.removeprefix("blake3:")
        if len(name) != 64 or not all(digit in "0123456789abcdef" for digit in name):
            return None
        path = self._folder / "blobs" / name
        if path.exists():
            return path
        small = None if self._small is None else await self._small.get(f"blob:{name}")
        if small is not None:
            return self._scratch_copy(name, small)
        await self._reload()
        return path if path.exists() else None

    def _scratch_copy(self, name: str, content: bytes) -> Path:
        """The bytes as a file of this container: what reads files reads these, too."""
        self._scratch.mkdir(exist_ok=True, mode=0o700)
        path = self._scratch / name
        if not path.exists():
            partial = self._scratch / f".{uuid.uuid4().hex}.partial"
            partial.write_bytes(content)
            os.replace(partial, path)
        return path


async def _read_up_to(content: AsyncIterator[bytes], most: int) -> tuple[bytes, bool]:
    """Bytes up to the piece that exceeds `most`, and whether those are all."""
    found = bytearray()
    async for piece in content:
        found += piece
        if len(found) > most:
            return bytes(found), False
    return bytes(found), True


async def _pieces(first: bytes, rest: AsyncIterator[bytes] | None = None) -> AsyncIterator[bytes]:
    yield first
    if rest is not None:
        async for piece in rest:
            yield piece


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
