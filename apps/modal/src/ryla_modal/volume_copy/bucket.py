"""The source's S3 API, read only: ListObjectsV2, HeadObject and GetObject are all that it can ask."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import random
import re
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from http.client import HTTPMessage, HTTPResponse
from typing import NoReturn, TypeVar
from urllib.parse import quote, unquote_plus

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from yarl import URL

from ..models.connections import Connections, Reading, Request, SourceFailed
from ..models.download import Limits
from ..models.errors import SourceRefused, SourceUnavailable
from ..models.sources import retry_after
from .address import Address, Keys
from .errors import ChangedDuringCopy
from .layout import SourceObject, shown

T = TypeVar("T")

ANSWER_BYTES = 16 << 20
"""The largest listing or error that is read; 1,000 keys of 1 kB each, percent-encoded, are 3 MB."""

ERROR_BYTES = 64 << 10
MAX_KEYS = 1000
_CODE = re.compile(rb"<Code>([A-Za-z0-9]{1,64})</Code>")
_BUSY = {"SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "ThrottlingException"}


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of a listing."""

    objects: list[SourceObject]
    prefixes: list[str]
    token: str | None
    """Of the next page."""


@dataclass(frozen=True, slots=True)
class Head:
    """An object's version, and the checksum that the source has for it."""

    size: int
    etag: str
    modified: str
    sha256: str | None
    """Of the whole object, in hexadecimal."""


class Bucket:
    """A bucket, addressed by path."""

    def __init__(self, connections: Connections, address: Address, keys: Keys, limits: Limits) -> None:
        self.connections = connections
        self._address = address
        self._limits = limits
        self._signer = S3SigV4Auth(Credentials(keys.access, keys.secret), "s3", address.region)
        self.label = address.label

    async def page(self, prefix: str, token: str | None) -> Page:
        """One page of what lies right below a prefix. Raises ModelError."""
        query = {
            "list-type": "2",
            "delimiter": "/",
            "encoding-type": "url",
            "max-keys": str(MAX_KEYS),
            "prefix": prefix,
            **({} if token is None else {"continuation-token": token}),
        }
        what = f"the listing of {shown(prefix) or 'the volume'}"
        return await self.patiently(what, lambda reading: self._page(what, query, reading))

    async def head(self, key: str) -> Head:
        """The object's present version. Raises ChangedDuringCopy when it is gone, or another ModelError."""
        return await self.patiently(shown(key), lambda reading: self._head(key, reading))

    async def read(self, key: str, size: int, if_match: str) -> bytes:
        """A small object, asked for once. Raises what `get` does."""

        def read(reading: Reading) -> bytes:
            with self.get(key, 0, size, if_match, reading) as answer:
                return answer.read(size)

        return await self.connections.run(read)

    @contextlib.contextmanager
    def get(self, key: str, start: int, end: int, if_match: str, reading: Reading) -> Generator[HTTPResponse]:
        """An answer with status 200 or 206, for a thread of `connections`.

        Raises SourceFailed, or a ModelError when asking again is of no use.
        """
        conditions = {
            "Accept-Encoding": "identity",
            "Range": f"bytes={start}-{end - 1}",
            **({"If-Match": f'"{if_match}"'} if if_match else {}),
        }
        with self._ask("GET", key, {}, conditions, shown(key), reading) as answer:
            yield answer

    def _page(self, what: str, query: Mapping[str, str], reading: Reading) -> Page:
        with self._ask("GET", "", query, {}, what, reading) as answer:
            body = answer.read(ANSWER_BYTES)
        try:
            return read_page(body)
        except (ElementTree.ParseError, ValueError) as error:
            raise SourceFailed(f"{what} cannot be read: {error}") from error

    def _head(self, key: str, reading: Reading) -> Head:
        with self._ask("HEAD", key, {}, {"x-amz-checksum-mode": "ENABLED"}, shown(key), reading) as answer:
            headers = answer.headers
        length = headers.get("Content-Length", "")
        return Head(
            size=int(length) if length.isdecimal() else -1,
            etag=etag_of(headers),
            modified=headers.get("Last-Modified", ""),
            sha256=_sha256_of(headers),
        )

    @contextlib.contextmanager
    def _ask(
        self,
        method: str,
        key: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        what: str,
        reading: Reading,
    ) -> Generator[HTTPResponse]:
        url, signed = self._signed(method, key, query)
        with self.connections.ask(Request(url, {**headers, **signed}, method), reading) as answer:
            found = answer.headers
            if answer.status not in (200, 206):
                self._refuse(answer.status, found, answer.read(ERROR_BYTES), what)
            if found.get("Content-Encoding", "identity") not in ("identity", "aws-chunked"):
                raise SourceRefused(f"{what}: the source sends it compressed, which cannot be resumed.")
            yield answer

    def _signed(self, method: str, key: str, query: Mapping[str, str]) -> tuple[URL, dict[str, str]]:
        """An address, and the headers that sign it."""
        path = quote(f"/{self._address.bucket}/{key}" if key else f"/{self._address.bucket}/", safe="/~")
        text = "&".join(
            f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in sorted(query.items())
        )
        url = f"{self._address.url}{path}{'?' if text else ''}{text}"
        signed = AWSRequest(
            method=method, url=url, headers={"x-amz-checksum-mode": "ENABLED"} if method == "HEAD" else {}
        )
        self._signer.add_auth(signed)
        return URL(url, encoded=True), dict(signed.headers.items())

    def _refuse(self, status: int, headers: HTTPMessage, body: bytes, what: str) -> NoReturn:
        match = _CODE.search(body)
        code = match[1].decode() if match else str(status)
        if status in (408, 425, 429) or status >= 500 or code in _BUSY:
            wait = retry_after(headers.get("Retry-After"), time.time())
            raise SourceFailed(f"{self.label} answered {status} ({code})", wait)
        if status in (404, 412, 416) and code != "NoSuchBucket":
            gone = "it is gone from the source" if status == 404 else "it has another version at the source"
            raise ChangedDuringCopy(f"{what}: {gone}.", hint="It is listed again at the end of the run.")
        raise SourceRefused(
            f"{self.label} answered {status} ({code}) for {what}.", hint=_advice(code, status)
        )

    async def patiently(self, what: str, ask: Callable[[Reading], T]) -> T:
        """Asks in a thread, and again after failures that may pass. Raises SourceUnavailable."""
        for failures in range(1, self._limits.failures + 2):
            try:
                return await self.connections.run(ask)
            except SourceFailed as error:
                if failures > self._limits.failures:
                    raise SourceUnavailable(
                        f"{what} failed {failures} times in a row, at last: {error or type(error).__name__}.",
                        hint="Run it again later: it goes on where it stopped.",
                    ) from error
                asked = error.retry_after
            await asyncio.sleep(self.wait(failures, asked))
        raise AssertionError("the last attempt returns or raises")

    def wait(self, failures: int, asked: float | None = None) -> float:
        """Seconds before the next attempt after so many failures in a row."""
        wait = self._limits.backoff * 2 ** min(failures - 1, 30) * random.uniform(0.5, 1)
        return min(self._limits.longest_wait, max(asked or 0.0, wait))


def read_page(body: bytes) -> Page:
    """Reads a ListBucketResult. Raises ValueError or ParseError for what is none."""
    root = ElementTree.fromstring(body)  # noqa: S314 - expat since 2.4.1 refuses entity bombs; no external entities
    if not root.tag.endswith("ListBucketResult"):
        raise ValueError(f"a {root.tag[:80]!r} in place of a listing")
    namespace = root.tag[: -len("ListBucketResult")]

    def text(element: ElementTree.Element, name: str) -> str:
        return element.findtext(f"{namespace}{name}") or ""

    decode: Callable[[str], str] = unquote_plus if text(root, "EncodingType") == "url" else str
    objects = [
        SourceObject(
            decode(text(entry, "Key")),
            int(text(entry, "Size")),
            text(entry, "ETag").strip('"'),
            text(entry, "LastModified"),
        )
        for entry in root.iterfind(f"{namespace}Contents")
    ]
    prefixes = [decode(text(entry, "Prefix")) for entry in root.iterfind(f"{namespace}CommonPrefixes")]
    truncated, token = text(root, "IsTruncated") == "true", text(root, "NextContinuationToken")
    if truncated and not token:
        raise ValueError("there is more, but no token to ask for it")
    if any(item.size < 0 for item in objects):
        raise ValueError("a size is negative")
    return Page(objects, prefixes, token if truncated else None)


def etag_of(headers: HTTPMessage) -> str:
    """A strong ETag without its quotes; empty for a weak one or none."""
    etag = headers.get("ETag", "")
    return "" if etag.startswith("W/") else etag.strip('"')


def _sha256_of(headers: HTTPMessage) -> str | None:
    if headers.get("x-amz-checksum-type", "FULL_OBJECT") != "FULL_OBJECT":
        return None  # a hash of the parts' hashes
    try:
        digest = base64.b64decode(headers.get("x-amz-checksum-sha256", ""), validate=True)
    except binascii.Error:
        return None
    return digest.hex() if len(digest) == 32 else None


def _advice(code: str, status: int) -> str:
    match code:
        case "SignatureDoesNotMatch" | "InvalidAccessKeyId" | "AccessDenied":
            return "Check both S3 API keys in the Modal secret, and that --data-center is the volume's own."
        case "RequestTimeTooSkewed":
            return "The clock of this machine is wrong."
        case "NoSuchBucket":
            return "Check --volume-id and --data-center: the volume is found in its own data centre only."
        case _:
            return (
                "Check the keys, --volume-id and --data-center."
                if status in (401, 403)
                else "Check the source."
            )
