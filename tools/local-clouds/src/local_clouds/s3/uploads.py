"""Objects written through the API: whole, or in parts."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from aiohttp import web

from .objects import HIDDEN, ObjectStore

PART_BYTES = 500_000_000
"""The largest part, and the largest object written whole (RunPod's limit)."""


class Refused(Exception):
    """A write that the API does not take: status, S3's code, message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Uploads:
    """Writes into an object store's folder."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._folder = store.folder / HIDDEN

    async def put(self, key: str, request: web.Request, check: Callable[[], None]) -> None:
        """Writes an object whole. `check` raises Refused where the object of now does not let it."""
        target = self._target(key)
        fresh = self._fresh(uuid4().hex)
        try:
            await self._receive(request, fresh)
            check()  # nothing is awaited from here on: no other write comes between
            target.parent.mkdir(parents=True, exist_ok=True)
            fresh.replace(target)
        finally:
            fresh.unlink(missing_ok=True)
        self._store.changed(key)

    def begin(self, key: str) -> str:
        """Begins an upload in parts; returns its id."""
        self._target(key)
        upload = uuid4().hex
        self._fresh(upload).mkdir(parents=True)
        return upload

    async def part(self, upload: str, number: int, request: web.Request) -> None:
        """Takes one part, 1 to 10000."""
        folder = self._existing(upload)
        if not 1 <= number <= 10_000:
            raise Refused(400, "InvalidArgument", "Part numbers go from 1 to 10000.")
        await self._receive(request, folder / f"{number:05d}")

    def complete(self, key: str, upload: str) -> None:
        """Makes the object of the parts that have come."""
        folder, target = self._existing(upload), self._target(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        whole = folder / "whole"
        with whole.open("wb") as file:
            for part in sorted(folder.glob("[0-9]*")):
                with part.open("rb") as source:
                    shutil.copyfileobj(source, file, 1 << 20)
        whole.replace(target)
        shutil.rmtree(folder)
        self._store.changed(key)

    def abort(self, upload: str) -> None:
        """Forgets an upload."""
        shutil.rmtree(self._existing(upload))

    def delete(self, key: str) -> None:
        """Removes one object; S3 does not mind one that is not there."""
        self._store.held.pop(key, None)
        target = self._store.file_of(key)
        if target is not None:
            target.unlink(missing_ok=True)

    def _target(self, key: str) -> Path:
        target = self._store.file_of(key)
        if target is None:
            raise Refused(400, "InvalidArgument", "The key is no path on the volume.")
        return target

    def _fresh(self, name: str) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder / name

    def _existing(self, upload: str) -> Path:
        folder = self._folder / upload
        if not upload.isalnum() or not folder.is_dir():
            raise Refused(404, "NoSuchUpload", "There is no such upload.")
        return folder

    async def _receive(self, request: web.Request, target: Path) -> None:
        if (request.content_length or 0) > PART_BYTES:
            raise Refused(400, "EntityTooLarge", f"A part has at most {PART_BYTES} bytes.")
        if request.headers.get("X-Amz-Content-SHA256", "").startswith("STREAMING-"):
            raise Refused(501, "NotImplemented", "Bodies in signed chunks are not supported.")
        with target.open("wb") as file:
            try:
                async for piece in request.content.iter_any():
                    file.write(piece)
            except ConnectionError as lost:
                raise Refused(400, "IncompleteBody", "The connection ended before the body.") from lost
