"""Where a model's bytes come from: an https address (a bucket's presigned one too), or a file of this machine."""

from __future__ import annotations

import contextlib
import email.utils
import ipaddress
import os
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import aiohttp
from yarl import URL

from .errors import InvalidModel, SourceMismatch, SourceRefused
from .model_file import ModelFile, token_variable
from .threads import in_thread

REDIRECTS = 10
FILE_PIECE = 4 << 20
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class SourceFailed(Exception):
    """The source failed in a way that may pass; `retry_after` is what it asks us to wait, in seconds."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RangeIgnored(Exception):
    """The source answers with the whole file whatever range it is asked for."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes from where they were asked for; a stream that ends early says nothing."""

    etag: str | None
    """A strong one; None where there is none."""
    stream: AsyncIterator[bytes]


class Source(Protocol):
    """One file somewhere."""

    label: str
    """Address without what may be secret in it."""

    def open(self, start: int, end: int | None) -> AbstractAsyncContextManager[Answer]:
        """Asks for bytes from `start` up to, not including, `end`; for the whole file where `end` is None.

        Raises SourceFailed, RangeIgnored, or a ModelError when asking again is of no use.
        """
        ...


class HttpSource:
    """An https address. The token goes to the address's own origin only."""

    def __init__(self, session: aiohttp.ClientSession, model: ModelFile, token: str | None) -> None:
        self._session = session
        self._model = model
        self._url = checked_url(model.url)
        self._token = token
        self._resolved: URL | None = None
        """Where redirects led: asked directly from then on, until it refuses."""
        self.label = without_secrets(self._url)

    @contextlib.asynccontextmanager
    async def open(self, start: int, end: int | None) -> AsyncGenerator[Answer]:
        """See Source."""
        headers = {"Accept-Encoding": "identity"}
        if end is not None:
            headers["Range"] = f"bytes={start}-{end - 1}"
        response, redirected = await self._ask(headers)
        try:
            self._check(response, redirected, start, end)
            etag = response.headers.get("ETag")
            strong = etag if etag is not None and etag.startswith('"') else None
            yield Answer(strong, response.content.iter_any())
        finally:
            response.close()  # a connection with unread bytes cannot be used again; a read one was released

    async def _ask(self, headers: dict[str, str]) -> tuple[aiohttp.ClientResponse, bool]:
        """The answer after redirects, and whether it came from an address that we had kept."""
        kept = self._resolved
        url, own = (self._url, True) if kept is None else (kept, False)
        for _ in range(REDIRECTS):
            own = own and url.origin() == self._url.origin()
            authorized = {"Authorization": f"Bearer {self._token}"} if own and self._token else {}
            response = await self._session.get(url, headers={**headers, **authorized}, allow_redirects=False)
            if response.status not in (301, 302, 303, 307, 308):
                if kept is None and not own:
                    self._resolved = url
                return response, kept is not None
            location = response.headers.get("Location", "")
            response.close()
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

    def _check(self, response: aiohttp.ClientResponse, kept: bool, start: int, end: int | None) -> None:
        status = response.status
        if kept and status in (400, 401, 403, 404, 410):
            self._resolved = None  # a signed address that has expired
            raise SourceFailed(f"the address behind {self.label} answered {status}")
        if status in (401, 403):
            raise SourceRefused(f"{self.label} answered {status}: it wants credentials.", hint=self._gate())
        if status in (408, 425, 429) or status >= 500:
            wait = retry_after(response.headers.get("Retry-After"), time.time())
            raise SourceFailed(f"{self.label} answered {status}", wait)
        if status == 416:
            raise self._other_size("a shorter file")
        if status not in (200, 206):
            raise SourceRefused(f"{self.label} answered {status}.", hint="Check the model's url.")
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise SourceMismatch(f"{self.label} sends its file compressed, which cannot be resumed.")
        if status == 200:
            length = response.content_length
            if length is not None and length != self._model.size:
                raise self._other_size(f"{length} bytes")
            if end is not None:
                raise RangeIgnored
            return
        self._check_range(response.headers.get("Content-Range", ""), start, end)

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

    @contextlib.asynccontextmanager
    async def open(self, start: int, end: int | None) -> AsyncGenerator[Answer]:
        """See Source."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise SourceFailed(str(error)) from error
        try:
            yield Answer(None, _pieces(descriptor, start, end))
        finally:
            os.close(descriptor)


async def _pieces(descriptor: int, start: int, end: int | None) -> AsyncIterator[bytes]:
    while end is None or start < end:
        length = FILE_PIECE if end is None else min(FILE_PIECE, end - start)
        try:
            piece = await in_thread(os.pread, descriptor, length, start)
        except OSError as error:
            raise SourceFailed(str(error)) from error
        if not piece:
            return
        yield piece
        start += len(piece)


def open_source(session: aiohttp.ClientSession, model: ModelFile, token: str | None) -> Source:
    """The source of a model. Raises ModelError when it cannot be one."""
    if model.url.startswith(("/", "file:///")):
        return FileSource(model)
    return HttpSource(session, model, token)


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
