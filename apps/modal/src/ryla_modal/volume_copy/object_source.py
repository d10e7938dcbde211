"""One version of one object, as a source of a download."""

from __future__ import annotations

import re
from http.client import HTTPMessage

from ..models.connections import Reading, SourceFailed, read_into
from ..models.sources import RangeIgnored, Sink
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

    async def fetch(self, start: int, end: int | None, sink: Sink) -> None:
        """See Source. The answer's ETag is looked at here."""
        until = self._head.size if end is None else end
        await self._bucket.connections.run(lambda reading: self._fetch(start, until, sink, reading))

    def _fetch(self, start: int, end: int, sink: Sink, reading: Reading) -> None:
        at = start

        def take(data: memoryview) -> None:
            nonlocal at
            sink.take(at, data)
            at += len(data)
            reading.pause(self._bandwidth.owed(len(data)))

        with self._bucket.get(self._key, start, end, self._head.etag, reading) as answer:
            self._check(answer.status, answer.headers, answer.length, start, end)
            sink.begin(None)
            read_into(answer, end - start, reading, take)

    async def read(self, start: int, end: int) -> bytes:
        """Bytes of the object, asked for once. Raises SourceFailed, RangeIgnored, ModelError."""
        return await self._bucket.connections.run(lambda reading: self._read(start, end, reading))

    async def read_patiently(self, start: int, end: int) -> bytes:
        """Bytes of the object. Raises RangeIgnored, ModelError."""
        return await self._bucket.patiently(self.label, lambda reading: self._read(start, end, reading))

    def _read(self, start: int, end: int, reading: Reading) -> bytes:
        kept = _Kept()
        self._fetch(start, end, kept, reading)
        if len(kept.content) < end - start:
            raise SourceFailed(f"{self.label}: the answer ended early")
        return bytes(kept.content)

    def _check(self, status: int, headers: HTTPMessage, length: int | None, start: int, end: int) -> None:
        etag = etag_of(headers)
        if etag and self._head.etag and etag != self._head.etag:
            raise self._changed()
        text = headers.get("Content-Range", "")
        if status == 200 and not text:  # rclone's server sends ranges with 200
            if length is not None and length != self._head.size:
                raise self._changed()
            if (start, end) != (0, self._head.size):
                raise RangeIgnored
            return
        match = _CONTENT_RANGE.fullmatch(text)
        if match is None:
            raise SourceFailed(f"{self.label} came with the Content-Range {text[:80]!r}")
        if match[3] != "*" and int(match[3]) != self._head.size:
            raise self._changed()
        if int(match[1]) != start or int(match[2]) >= end:
            raise SourceFailed(f"{self.label}: bytes {match[1]}-{match[2]} came, not those asked for")

    def _changed(self) -> ChangedDuringCopy:
        return ChangedDuringCopy(
            f"{self.label}: it has another version at the source.",
            hint="It is listed again at the end of the run.",
        )


class _Kept:
    """A sink for a few bytes."""

    def __init__(self) -> None:
        self.content = bytearray()

    def begin(self, etag: str | None) -> None:
        pass

    def take(self, at: int, data: memoryview) -> None:
        self.content += data
