"""Where a model's bytes come from: an https address (a bucket's presigned one too), or a file of this machine."""

from __future__ import annotations

import contextlib
import email.utils
import ipaddress
import os
import re
import time
from collections.abc import Generator, Mapping
from http.client import HTTPResponse
from pathlib import Path
from typing import Protocol

from yarl import URL

from .connections import Connections, Reading, Request, SourceFailed, read_into
from .errors import InvalidModel, SourceMismatch, SourceRefused
from .model_file import ModelFile, token_variable
from .threads import in_thread

REDIRECTS = 10
FILE_PIECE = 4 << 20
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class RangeIgnored(Exception):
    """The source answers with the whole file whatever range it is asked for."""


class Sink(Protocol):
    """Takes the bytes of one answer, in the thread that reads them."""

    def begin(self, etag: str | None) -> None:
        """Hears of the version that the answer is of, before its bytes: a strong ETag, None where there is none."""
        ...

    def take(self, at: int, data: memoryview) -> None:
        """Takes bytes and their place in the file. They are the sink's until it returns."""
        ...


class Source(Protocol):
    """One file somewhere."""

    label: str
    """Address without what may be secret in it."""

    async def fetch(self, start: int, end: int | None, sink: Sink) -> None:
        """Brings bytes from `start` up to, not including, `end`; the whole file where `end` is None.

        What came before a failure is taken too; an answer that ends early says nothing. Raises SourceFailed,
        RangeIgnored, a ModelError when asking again is of no use, or what the sink raises.
        """
        ...


class HttpSource:
    """An https address. The token goes to the address's own origin only."""

    def __init__(self, connections: Connections, model: ModelFile, token: str | None) -> None:
        self._connections = connections
        self._model = model
        self._url = checked_url(model.url)
        self._token = token
        self._resolved: URL | None = None
        """Where redirects led: asked directly from then on, until it refuses."""
        self.label = without_secrets(self._url)

    async def fetch(self, start: int, end: int | None, sink: Sink) -> None:
        """See Source."""
        await self._connections.run(lambda reading: self._fetch(start, end, sink, reading))

    def _fetch(self, start: int, end: int | None, sink: Sink, reading: Reading) -> None:
        at = start

        def take(data: memoryview) -> None:
            nonlocal at
            sink.take(at, data)
            at += len(data)

        headers = {"Accept-Encoding": "identity"}
        if end is not None:
            headers["Range"] = f"bytes={start}-{end - 1}"
        with self._ask(headers, reading) as (answer, redirected):
            self._check(answer, redirected, start, end)
            etag = answer.headers.get("ETag")
            sink.begin(etag if etag is not None and etag.startswith('"') else None)
            read_into(answer, (self._model.size if end is None else end) - start, reading, take)

    @contextlib.contextmanager
    def _ask(self, headers: Mapping[str, str], reading: Reading) -> Generator[tuple[HTTPResponse, bool]]:
        """The answer after redirects, and whether it came from an address that we had kept."""
        kept = self._resolved
        url, own = (self._url, True) if kept is None else (kept, False)
        for _ in range(REDIRECTS):
            own = own and url.origin() == self._url.origin()
            authorized = {"Authorization": f"Bearer {self._token}"} if own and self._token else {}
            with self._connections.ask(Request(url, {**headers, **authorized}), reading) as answer:
                if answer.status not in (301, 302, 303, 307, 308):
                    if kept is None and not own:
                        self._resolved = url
                    yield answer, kept is not None
                    return
                location = answer.headers.get("Location", "")
            url = self._next(url, location)
        raise SourceRefused(f"{self.label} redirects more than {REDIRECTS} times.")

    def _next(self, url: URL, location: str) -> URL:
        try:
            following = url.join(URL(location, encoded=True)).with_user(None)
        except ValueError as error:
            raise SourceRefused(f"{self.label} redirects to what is no address.") from error
        if not (_is_allowed(following) and (following.scheme == "https" or url.scheme == "http")):
            raise SourceRefused(
                f"{self.label} redirects to {without_secrets(following)}, which is not https."
            )
        return following

    def _check(self, answer: HTTPResponse, kept: bool, start: int, end: int | None) -> None:
        status, headers = answer.status, answer.headers
        if kept and status in (400, 401, 403, 404, 410):
            self._resolved = None  # a signed address that has expired
            raise SourceFailed(f"the address behind {self.label} answered {status}")
        if status in (401, 403):
            raise SourceRefused(f"{self.label} answered {status}: it wants credentials.", hint=self._gate())
        if status in (408, 425, 429) or status >= 500:
            wait = retry_after(headers.get("Retry-After"), time.time())
            raise SourceFailed(f"{self.label} answered {status}", wait)
        if status == 416:
            raise self._other_size("a shorter file")
        if status not in (200, 206):
            raise SourceRefused(f"{self.label} answered {status}.", hint="Check the model's url.")
        if headers.get("Content-Encoding", "identity") != "identity":
            raise SourceMismatch(f"{self.label} sends its file compressed, which cannot be resumed.")
        if status == 200:
            length = answer.length
            if length is not None and length != self._model.size:
                raise self._other_size(f"{length} bytes")
            if end is not None:
                raise RangeIgnored
            return
        self._check_range(headers.get("Content-Range", ""), start, end)

    def _check_range(self, text: str, start: int, end: int | None) -> None:
        match = _CONTENT_RANGE.fullmatch(text)
        if match is None:
            raise SourceFailed(f"{self.label} answered 206 with the Content-Range {text!r}")
        if match[3] != "*" and int(match[3]) != self._model.size:
            raise self._other_size(f"{match[3]} bytes")
        if int(match[1]) != start or end is None or int(match[2]) >= end:
            raise SourceFailed(f"{self.label} answered with bytes {match[1]}-{match[2]}, not those asked for")

    def _other_size(self, what: str) -> SourceMismatch:
        return SourceMismatch(
            f"{self.label} has {what}, but {self._model.path} is {self._model.size} bytes in endpoint.json.",
            hint="Pin the url to the revision whose size and sha256 stand there.",
        )

    def _gate(self) -> str:
        secret = self._model.secret
        if secret is None:
            return (
                "Name the secret with its token in the model's `secret`, or use an address that needs none."
            )
        variable = token_variable(secret)
        if self._token is None:
            return f"Put the token into {variable}: `modal secret create {secret} {variable}=…`."
        return f"The token in {variable} is not accepted: has its account been given access to the file?"


class FileSource:
    """A file where the download runs, such as one of a mounted bucket."""

    def __init__(self, model: ModelFile) -> None:
        self._path = Path(model.url.removeprefix("file://"))
        self.label = str(self._path)
        try:
            size = self._path.stat().st_size
        except OSError as error:
            raise SourceRefused(
                f"{self.label} cannot be read: {error.strerror}.",
                hint="A local path is one of the machine that downloads.",
            ) from error
        if size != model.size:
            raise SourceMismatch(
                f"{self.label} has {size} bytes, but {model.path} is {model.size} bytes in endpoint.json."
            )

    async def fetch(self, start: int, end: int | None, sink: Sink) -> None:
        """See Source."""
        await in_thread(self._read, start, end, sink)

    def _read(self, start: int, end: int | None, sink: Sink) -> None:
        buffer = memoryview(bytearray(FILE_PIECE))
        sink.begin(None)
        try:
            with self._path.open("rb", buffering=0) as file:
                while end is None or start < end:
                    room = buffer if end is None else buffer[: end - start]
                    count = os.preadv(file.fileno(), [room], start)
                    if count == 0:
                        return
                    sink.take(start, room[:count])
                    start += count
        except OSError as error:
            raise SourceFailed(str(error)) from error


def open_source(connections: Connections, model: ModelFile, token: str | None) -> Source:
    """The source of a model. Raises ModelError when it cannot be one."""
    if model.url.startswith(("/", "file:///")):
        return FileSource(model)
    return HttpSource(connections, model, token)


def checked_url(text: str) -> URL:
    """An address that may be asked: https, or http on this machine. Raises InvalidModel."""
    if text.startswith("s3://"):
        raise InvalidModel(
            f"{text} cannot be asked without signing.",
            hint="Give the bucket's https address, presigned where it is private, or mount the bucket.",
        )
    try:
        url = URL(text, encoded=True)
    except ValueError:
        url = URL()
    if not _is_allowed(url) or url.user is not None:
        raise InvalidModel(f"{without_secrets(url) or text!r} is no https address without credentials in it.")
    return url


def without_secrets(url: URL) -> str:
    """The address without what may be a signature or a password."""
    return str(url.with_query(None).with_fragment(None).with_user(None)) if url.host else str(url.path)


def retry_after(text: str | None, now: float) -> float | None:
    """Seconds that a Retry-After header asks for: a number, or a date."""
    if text is None:
        return None
    if text.strip().isdigit():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
    except ValueError:
        return None


def _is_allowed(url: URL) -> bool:
    if not url.host:
        return False
    return url.scheme == "https" or (url.scheme == "http" and _is_this_machine(url.host))


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
