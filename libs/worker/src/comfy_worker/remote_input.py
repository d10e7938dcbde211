"""Input files that are given by their address."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import aiohttp

from .client import split_input_name
from .errors import InputFileRejected
from .job import InputFile
from .public_address import PublicResolver, url_problem

MOST_BYTES = 5 * 1024**3
"""Of all files of one job. What S3 takes in one PUT, and libs/business puts into its bucket."""

REDIRECTS = 5
ATTEMPTS = 3
RETRY_DELAY = 0.5
"""Seconds before the second attempt; doubled for the third."""

STALL = 60.0
"""Seconds between two pieces after which a connection counts as broken."""

RETRIED = (408, 429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class RemoteInput:
    """A file that the workflow refers to by `name`, to be fetched from `url`, which may be a presigned one."""

    name: str
    url: str

    @property
    def shown(self) -> str:
        """The address without its query, which may hold a signature."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"


class _Again(Exception):
    """It may succeed when it is asked again."""


async def fetch_inputs(
    inputs: list[RemoteInput],
    folder: Path,
    job_id: str,
    *,
    allow_private: bool = False,
    most_bytes: int = MOST_BYTES,
) -> list[InputFile]:
    """Fetches files into `folder`, one after the other; together no more than `most_bytes`.

    Asks public hosts by https only, redirects included, unless `allow_private`. Raises InputFileRejected, which says
    which file and why.
    """
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=STALL)
    resolver = None if allow_private else PublicResolver()
    connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False)
    files: list[InputFile] = []
    left = most_bytes
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        for number, given in enumerate(inputs):
            split_input_name(given.name, job_id)
            fetch = _Fetch(session, given, job_id, allow_private, left, most_bytes)
            path = folder / str(number)
            left -= await fetch.into(path)
            files.append(InputFile(given.name, path))
    return files


@dataclass(frozen=True)
class _Fetch:
    session: aiohttp.ClientSession
    given: RemoteInput
    job_id: str
    allow_private: bool
    left: int
    most_bytes: int

    async def into(self, path: Path) -> int:
        """Fetches the file; how many bytes it has."""
        reason = ""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._once(path)
            except (
                _Again,
                aiohttp.ClientPayloadError,
                aiohttp.ServerDisconnectedError,
                TimeoutError,
            ) as error:
                reason = str(error) or type(error).__name__
            except aiohttp.ClientConnectorError as error:
                raise self._refused(f"no connection: {error.os_error}") from error
            except aiohttp.ClientError as error:
                raise self._refused(type(error).__name__) from error
            if attempt < ATTEMPTS:
                await asyncio.sleep(RETRY_DELAY * 2 ** (attempt - 1))
        raise self._refused(f"{reason}, {ATTEMPTS} times")

    async def _once(self, path: Path) -> int:
        url = self.given.url
        for _ in range(REDIRECTS + 1):
            problem = url_problem(url, allow_private=self.allow_private)
            if problem is not None:
                raise self._refused(problem)
            async with self.session.get(url, allow_redirects=False) as answer:
                if answer.status in (301, 302, 303, 307, 308) and "Location" in answer.headers:
                    url = urljoin(url, answer.headers["Location"])
                    continue
                if answer.status in RETRIED:
                    raise _Again(f"status {answer.status}")
                if answer.status != 200:
                    raise self._refused(f"status {answer.status}")
                return await self._write(answer, path)
        raise self._refused(f"more than {REDIRECTS} redirects")

    async def _write(self, answer: aiohttp.ClientResponse, path: Path) -> int:
        if (answer.content_length or 0) > self.left:
            raise self._too_large()
        size = 0
        with path.open("wb") as file:
            async for piece in answer.content.iter_chunked(1 << 20):
                size += len(piece)
                if size > self.left:
                    raise self._too_large()
                await asyncio.to_thread(file.write, piece)
        return size

    def _too_large(self) -> InputFileRejected:
        return self._refused(f"the job's files have more than {self.most_bytes} bytes")

    def _refused(self, reason: str) -> InputFileRejected:
        return InputFileRejected(
            f"The input file {self.given.name!r} cannot be fetched from {self.given.shown}: {reason}.",
            job_id=self.job_id,
            hint="Give an https address of a public host that answers a plain GET, such as a presigned one.",
        )
