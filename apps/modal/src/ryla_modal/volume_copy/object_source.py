"""One version of one object, as a source of a download."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator

import aiohttp

from ..models.sources import Answer, RangeIgnored, SourceFailed
from .bandwidth import Bandwidth
from .bucket import Bucket, Head, etag_of
from .errors import ChangedDuringCopy
from .layout import shown

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class ObjectSource:
    """See models.sources.Source. Another version than `head` raises ChangedDuringCopy."""

    def __init__(self, bucket: Bucket, key: str, head: Head, bandwidth: Bandwidth) -> None:
        self._bucket = bucket
        self._key = key
        self._head = head
        self._bandwidth = bandwidth
        self.label = shown(key)

    @contextlib.asynccontextmanager
    async def open(self, start: int, end: int | None) -> AsyncGenerator[Answer]:
        """See Source. The answer's ETag is looked at here."""
        async with self._bucket.get(self._key, start, end, self._head.etag) as response:
            self._check(response, start, end)
            yield Answer(None, self._paced(response))

    async def read(self, start: int, end: int) -> bytes:
        """Bytes of the object, asked for once. Raises SourceFailed, RangeIgnored, ModelError."""
        pieces: list[bytes] = []
        async with self.open(start, end) as answer:
            async for piece in answer.stream:
                pieces.append(piece)
        content = b"".join(pieces)
        if len(content) < end - start:
            raise SourceFailed(f"{self.label}: the answer ended early")
        return content[: end - start]

    async def read_patiently(self, start: int, end: int) -> bytes:
        """Bytes of the object. Raises RangeIgnored, ModelError."""
        return await self._bucket.patiently(self.label, lambda: self.read(start, end))

    def _check(self, response: aiohttp.ClientResponse, start: int, end: int | None) -> None:
        etag = etag_of(response.headers)
        if etag and self._head.etag and etag != self._head.etag:
            raise self._changed()
        text = response.headers.get("Content-Range", "")
        if response.status == 200 and not text:  # rclone's server sends ranges with 200
            length = response.content_length
            if length is not None and length != self._head.size:
                raise self._changed()
            if end is not None and (start, end) != (0, self._head.size):
                raise RangeIgnored
            return
        match = _CONTENT_RANGE.fullmatch(text)
        if match is None:
            raise SourceFailed(f"{self.label} came with the Content-Range {text[:80]!r}")
        if match[3] != "*" and int(match[3]) != self._head.size:
            raise self._changed()
        if int(match[1]) != start or end is None or int(match[2]) >= end:
            raise SourceFailed(f"{self.label}: bytes {match[1]}-{match[2]} came, not those asked for")

    def _changed(self) -> ChangedDuringCopy:
        return ChangedDuringCopy(
            f"{self.label}: it has another version at the source.",
            hint="It is listed again at the end of the run.",
        )

    async def _paced(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        async for piece in response.content.iter_any():
            yield piece
            await self._bandwidth.take(len(piece))
