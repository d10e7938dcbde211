"""The HTTP server of the local S3: one bucket, addressed by path."""

from __future__ import annotations

import asyncio
import base64
import email.utils
import json
import random
import re
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

from aiohttp import web

from ..faults import Faults, UnknownFault
from . import signature
from .conditions import check_conditions
from .documents import document, error, iso_time, key_text
from .listing import InvalidToken, Page, list_page
from .objects import ObjectStore, StoredObject
from .uploads import Refused, Uploads

FAULTS = {
    "latency-ms": "an operation takes longer: latency-ms=500, or latency-ms=<list|head|get|…>/500",
    "http-error": "an operation fails: http-error=503, or http-error=<operation>/500",
    "rate-limit": "an operation answers 429 with Retry-After: rate-limit=<operation>/1",
    "reset": "GET: the connection is reset within the answer; the value is a share: reset=0.2",
    "truncate": "GET: the answer ends too early; the value is a share",
    "wrong-byte": "GET: one byte of the answer is another; the value is a share",
    "slow": "GET: bytes a second of each connection",
    "repeat-token": "list: a continued listing gives the token that it was asked with, and nothing else",
    "ignore-if-match": "GET: answers whatever the version is",
    "ignore-range": "GET: answers with the whole object",
    "range-as-200": "GET: a range comes with status 200, as rclone's S3 server sends it",
    "ignore-conditions": "PUT: If-None-Match and If-Match are not looked at, as servers do that do not know them",
    "refuse-conditions": "PUT: If-None-Match and If-Match are refused with 501",
    "conflict": "PUT with a condition: 409, as when two come at once; the value is a share",
    "reset-put": "PUT: the connection is reset, half of the time after it was written; the value is a share",
}
"""Faults of the local S3."""

FIRST_LISTING_FILES = 10_000
FIRST_LISTING_BYTES = 10_000_000_000
"""From so much on RunPod's first listing computes checksums, and may repeat a token meanwhile."""

CHECK_PIECE = 1 << 20
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass(frozen=True, slots=True)
class S3Settings:
    """What the volume is, and how it differs from S3."""

    folder: Path
    bucket: str = "local-volume"
    data_center: str = "EU-RO-1"
    """Also the region that requests must be signed for."""
    access_key: str = "user_local"
    secret_key: str = "rps_local"  # noqa: S105
    port: int = 0
    etags: str = "md5"
    """`md5`, `multipart` (an MD5 of MD5s, as of a file sent in parts) or `opaque` (says nothing of the bytes)."""
    checksums: bool = False
    """Whether `x-amz-checksum-sha256` is given to those who ask for it."""
    first_listing_files: int = FIRST_LISTING_FILES
    first_listing_bytes: int = FIRST_LISTING_BYTES
    first_listing_repeats: int = 3
    """Answers with a repeated token, at the first listing of a volume of that much."""


@dataclass(slots=True)
class Traffic:
    """What was asked for: operations by name, and bytes of objects that were sent."""

    operations: Counter[str] = field(default_factory=Counter[str])
    gets: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Key and Range of each GetObject."""
    sent: int = 0


class LocalS3:
    """One network volume. Only signed requests are answered, but for the control routes below `/_local`."""

    def __init__(
        self,
        settings: S3Settings,
        *,
        faults: Iterable[str] = (),
        seed: int = 1,
        on_request: Callable[[str, str], None] = lambda _operation, _key: None,
    ) -> None:
        """`on_request` hears of each operation and its key before it is answered."""
        self.settings = settings
        self.store = ObjectStore(settings.folder)
        self.faults = Faults(FAULTS, faults)
        self.traffic = Traffic()
        self.on_request = on_request
        self._uploads = Uploads(self.store)
        self._random = random.Random(seed)
        self._repeats_left: int | None = None
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self) -> None:
        """Listens on 127.0.0.1."""
        app = web.Application(client_max_size=0)
        app.router.add_get("/_local/state", self._state)
        app.router.add_put("/_local/faults", self._put_faults)
        app.router.add_delete("/_local/faults", self._delete_faults)
        app.router.add_route("*", "/{path:.*}", self.answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.settings.port)
        await site.start()
        assert self._runner.addresses
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Closes."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _state(self, _: web.Request) -> web.Response:
        state = {"operations": dict(self.traffic.operations), "bytesSent": self.traffic.sent}
        return web.json_response({**state, "faults": self.faults.to_json()})

    async def _put_faults(self, request: web.Request) -> web.Response:
        try:
            for spec in json.loads(await request.text()):
                self.faults.add(spec)
        except (UnknownFault, ValueError, TypeError) as problem:
            return web.json_response({"error": str(problem)}, status=400)
        return web.json_response(self.faults.to_json())

    async def _delete_faults(self, _: web.Request) -> web.Response:
        self.faults.remove()
        return web.json_response(self.faults.to_json())

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answers a request of S3's, below whatever server."""
        raw_path, _, raw_query = request.raw_path.partition("?")
        query = dict(parse_qsl(raw_query, keep_blank_values=True))
        bucket, _, raw_key = raw_path.lstrip("/").partition("/")
        key = unquote(raw_key)
        operation = operation_of(request.method, key, query, request.headers)
        self.traffic.operations[operation] += 1
        refusal = signature.check(
            request.method,
            request.raw_path,
            request.headers,
            access_key=self.settings.access_key,
            secret_key=self.settings.secret_key,
            region=self.settings.data_center,
        )
        if refusal is not None:
            return error_response(403, refusal.code, refusal.message)
        if unquote(bucket) != self.settings.bucket:
            return error_response(404, "NoSuchBucket", "The bucket does not exist.")
        self.on_request(operation, key)
        try:
            return await self._failing(operation) or await self._operate(operation, key, query, request)
        except Refused as refused:
            return error_response(refused.status, refused.code, str(refused))

    async def _failing(self, operation: str) -> web.Response | None:
        delay = self.faults.hit("latency-ms", operation)
        if delay is not None:
            await asyncio.sleep(float(delay or 0) / 1000)
        wait = self.faults.hit("rate-limit", operation)
        if wait is not None:
            return error_response(429, "SlowDown", "Reduce your request rate.", {"Retry-After": wait or "1"})
        status = self.faults.hit("http-error", operation)
        return (
            None
            if status is None
            else error_response(int(status or 503), "InternalError", "A fault is switched on.")
        )

    async def _operate(
        self, operation: str, key: str, query: dict[str, str], request: web.Request
    ) -> web.StreamResponse:
        match operation:
            case "list":
                return self._list(query)
            case "head" | "get":
                return await self._object(request, key, head=operation == "head")
            case "put":
                return await self._put(key, request)
            case "begin-upload":
                upload = self._uploads.begin(key)
                values = [("Bucket", self.settings.bucket), ("Key", key), ("UploadId", upload)]
                return _xml(document("InitiateMultipartUploadResult", values))
            case "upload-part":
                await self._uploads.part(query["uploadId"], int(query["partNumber"]), request)
                return web.Response(headers={"ETag": f'"{query["partNumber"]}"'})
            case "complete-upload":
                self._uploads.complete(key, query["uploadId"])
                values = [("Key", key), ("ETag", self._etag(self._existing(key)))]
                return _xml(document("CompleteMultipartUploadResult", values))
            case "abort-upload":
                self._uploads.abort(query["uploadId"])
                return web.Response(status=204)
            case "delete":
                self._uploads.delete(key)
                return web.Response(status=204)
            case _:
                return error_response(501, "NotImplemented", f"{request.method} of this is not supported.")

    async def _put(self, key: str, request: web.Request) -> web.Response:
        is_conditional = "If-None-Match" in request.headers or "If-Match" in request.headers
        if is_conditional and self.faults.hit("refuse-conditions") is not None:
            raise Refused(
                501, "NotImplemented", "A header you provided implies functionality that is not implemented."
            )
        if is_conditional and self._strikes("conflict"):
            raise Refused(409, "ConditionalRequestConflict", "Another request is in progress for this key.")
        is_reset = self._strikes("reset-put")
        if is_reset and self._random.random() < 0.5:
            return _reset(request)
        await self._uploads.put(key, request, lambda: self._check(key, request.headers))
        return (
            _reset(request) if is_reset else web.Response(headers={"ETag": self._etag(self._existing(key))})
        )

    def _check(self, key: str, headers: Mapping[str, str]) -> None:
        if self.faults.hit("ignore-conditions") is None:
            item = self.store.get(key)
            check_conditions(headers, None if item is None else self._etag(item))

    def _list(self, query: dict[str, str]) -> web.Response:
        encoding = query.get("encoding-type")
        try:
            page = list_page(self.store, query)
        except InvalidToken:
            return error_response(400, "InvalidArgument", "The continuation token is wrong.")
        asked = query.get("continuation-token")
        if asked is not None and (
            self._is_computing_checksums() or self.faults.hit("repeat-token") is not None
        ):
            page = Page([], [], asked)
        objects = [
            {
                "Key": key_text(item.key, encoding),
                "LastModified": iso_time(item.modified),
                "ETag": self._etag(item),
                "Size": str(item.size),
                "StorageClass": "STANDARD",
            }
            for item in page.objects
        ]
        prefixes = [{"Prefix": key_text(prefix, encoding)} for prefix in page.prefixes]
        values: list[tuple[str, Any]] = [
            ("Name", self.settings.bucket),
            ("Prefix", key_text(query.get("prefix", ""), encoding)),
            ("KeyCount", str(len(objects) + len(prefixes))),
            ("MaxKeys", query.get("max-keys", "1000")),
            ("IsTruncated", "true" if page.token else "false"),
            *([("EncodingType", "url")] if encoding == "url" else []),
            *([("NextContinuationToken", page.token)] if page.token else []),
            ("Contents", objects),
            ("CommonPrefixes", prefixes),
        ]
        return _xml(document("ListBucketResult", values))

    def _is_computing_checksums(self) -> bool:
        if self._repeats_left is None:
            found = list(self.store.all(""))
            large = len(found) > self.settings.first_listing_files
            large = large or sum(item.size for item in found) > self.settings.first_listing_bytes
            self._repeats_left = self.settings.first_listing_repeats if large else 0
        self._repeats_left -= 1
        return self._repeats_left >= 0

    def _existing(self, key: str) -> StoredObject:
        found = self.store.get(key)
        if found is None:
            raise Refused(404, "NoSuchKey", "The key does not exist.")
        return found

    def _etag(self, item: StoredObject) -> str:
        match self.settings.etags:
            case "md5":
                return f'"{self.store.digest(item, "md5")}"'
            case "multipart":
                return f'"{self.store.digest(item, "md5")}-2"'
            case _:
                return f'"{int(item.modified * 1e9):x}-{item.size:x}"'

    async def _object(self, request: web.Request, key: str, *, head: bool) -> web.StreamResponse:
        item = self._existing(key)
        etag = self._etag(item)
        wanted = request.headers.get("If-Match")
        if wanted not in (None, "*", etag, etag.strip('"')) and self.faults.hit("ignore-if-match") is None:
            return error_response(412, "PreconditionFailed", "The object has another version.")
        headers = {
            "ETag": etag,
            "Last-Modified": email.utils.formatdate(item.modified, usegmt=True),
            "Accept-Ranges": "bytes",
            "Content-Type": "binary/octet-stream",
        }
        if self.settings.checksums and request.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED":
            digest = bytes.fromhex(self.store.digest(item, "sha256"))
            headers["x-amz-checksum-sha256"] = base64.b64encode(digest).decode()
            headers["x-amz-checksum-type"] = "FULL_OBJECT"
        if head:
            return web.Response(headers={**headers, "Content-Length": str(item.size)})
        return await self._send(request, item, headers)

    async def _send(
        self, request: web.Request, item: StoredObject, headers: dict[str, str]
    ) -> web.StreamResponse:
        asked = request.headers.get("Range", "")
        self.traffic.gets.append((item.key, asked))
        start, end, status = 0, item.size, 200
        match = _RANGE.fullmatch(asked)
        if match is not None and self.faults.hit("ignore-range") is None:
            start, end, status = int(match[1]), min(item.size, int(match[2] or item.size) + 1), 206
            if start >= item.size:
                return error_response(416, "InvalidRange", "The range is not in the object.")
            status = 206 if self.faults.hit("range-as-200") is None else 200
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{item.size}"
        response = web.StreamResponse(status=status, headers=headers)
        response.content_length = end - start
        with suppress(ConnectionError):
            await response.prepare(request)
            await self._body(request, response, item, start, end)
        return response

    async def _body(
        self, request: web.Request, response: web.StreamResponse, item: StoredObject, start: int, end: int
    ) -> None:
        until = end
        reset, truncated = self._strikes("reset"), self._strikes("truncate")
        if reset or truncated:
            until = start + int(self._random.random() * (end - start))
        flipped = start + int(self._random.random() * (end - start)) if self._strikes("wrong-byte") else -1
        rate = float(self.faults.hit("slow") or 0)
        transport = request.transport
        if (
            flipped < 0
            and not rate
            and isinstance(item.content, Path)
            and transport is not None
            and until > start
        ):
            with item.content.open("rb") as file:
                await asyncio.get_running_loop().sendfile(transport, file, start, until - start)
            self.traffic.sent += until - start
        else:
            await self._pieces(response, item, start, until, flipped, rate)
        if not (reset or truncated):
            await response.write_eof()
        elif transport is not None:
            _cut(transport, reset=reset)

    async def _pieces(
        self, response: web.StreamResponse, item: StoredObject, at: int, until: int, flipped: int, rate: float
    ) -> None:
        while at < until:
            size = CHECK_PIECE if not rate else max(1, int(rate / 20))
            piece = bytearray(item.read(at, min(until, at + size)))
            if not piece:
                return  # it has become shorter since
            if at <= flipped < at + len(piece):
                piece[flipped - at] ^= 1
            await response.write(bytes(piece))
            self.traffic.sent += len(piece)
            at += len(piece)
            if rate:
                await asyncio.sleep(len(piece) / rate)

    def _strikes(self, name: str) -> bool:
        active = self.faults.active.get(name)
        if active is None or self._random.random() >= float(active.value or 1):
            return False
        self.faults.hit(name)
        return True


def operation_of(method: str, key: str, query: dict[str, str], headers: Any) -> str:
    """The operation's name; `<METHOD>` with the query's first name for one that there is not."""
    if method == "GET" and not key:
        return "list" if query.get("list-type") == "2" else f"GET {next(iter(query), '')}".strip()
    if "uploadId" in query or "uploads" in query:
        known = {"POST": "complete-upload" if "uploadId" in query else "begin-upload", "PUT": "upload-part"}
        return {**known, "DELETE": "abort-upload"}.get(method, method)
    if query and not query.keys() <= {"x-id", "versionId"}:
        return f"{method} {next(iter(query))}"
    if method == "PUT" and "x-amz-copy-source" in headers:
        return "copy"
    known = {"GET": "get", "HEAD": "head", "PUT": "put", "DELETE": "delete"}
    return known.get(method, method) if key else f"{method} bucket"


def _reset(request: web.Request) -> web.Response:
    if request.transport is not None:
        _cut(request.transport, reset=True)
    return web.Response()


def _cut(transport: asyncio.Transport, *, reset: bool) -> None:
    connection = transport.get_extra_info("socket")
    if reset and connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    else:
        transport.close()


def _xml(text: str, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(text=text, status=status, content_type="application/xml", headers=headers)


def error_response(
    status: int, code: str, message: str, headers: dict[str, str] | None = None
) -> web.Response:
    """An error as S3 says it."""
    return _xml(error(code, message), status, headers)
