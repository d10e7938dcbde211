"""One version of one object, as a source of a download."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping

import aiohttp

from ..models.errors import ModelError
from ..models.part_file import PartFile
from ..models.sources import Answer, RangeIgnored, SourceFailed
from .bandwidth import Bandwidth
from .bucket import Bucket, Head, etag_of
from .errors import ChangedDuringCopy
from .layout import shown
from .range_connections import Reading, headers_of, read_into

BUFFER_BYTES = 1 << 20
"""Of each thread: what is read before it is written and noted."""

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
            self._check(response.status, response.headers, response.content_length, start, end)
            yield Answer(None, self._paced(response))

    async def fetch_into(
        self, start: int, end: int, part: PartFile, note: Callable[[int, int], None]
    ) -> None:
        """See models.download.Fetch: the range by a thread of its own, which only tells the loop what it has written."""
        loop = asyncio.get_running_loop()
        failed: list[ModelError] = []

        def noted(begin: int, until: int) -> None:
            try:
                note(begin, until)
            except ModelError as error:
                failed.append(error)

        def work(reading: Reading) -> None:
            at = start

            def take(data: memoryview) -> None:
                nonlocal at
                reading.pause(0)
                part.write(at, [data])
                loop.call_soon_threadsafe(noted, at, at + len(data))
                at += len(data)
                reading.pause(self._bandwidth.owed(len(data)))

            key, etag = self._key, self._head.etag
            with self._bucket.blocking_get(key, start, end, etag, reading) as answer:
                self._check(answer.status, headers_of(answer), answer.length, start, end)
                read_into(answer, end - start, _buffer(), take)

        await self._bucket.connections.run(work)
        if failed:
            raise failed[0]

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

    def _check(
        self, status: int, headers: Mapping[str, str], length: int | None, start: int, end: int | None
    ) -> None:
        etag = etag_of(headers)
        if etag and self._head.etag and etag != self._head.etag:
            raise self._changed()
        text = headers.get("Content-Range", "")
        if status == 200 and not text:  # rclone's server sends ranges with 200
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


_of_thread = threading.local()


def _buffer() -> memoryview:
    """One for each thread, for as long as it lives: a fresh one each time would have to be cleared."""
    if not hasattr(_of_thread, "buffer"):
        _of_thread.buffer = memoryview(bytearray(BUFFER_BYTES))
    return _of_thread.buffer
