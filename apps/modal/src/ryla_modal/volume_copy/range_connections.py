"""Bodies of large answers, read by blocking connections in threads of their own.

An event loop sees every byte of every connection in one thread, through several copies; a thread that reads from its
socket into one buffer, and writes that to the file, holds the interpreter's lock for neither. Measured in
docs/benchmarks.md. Listings, heads and samples are small and stay with the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import TypeVar

from multidict import CIMultiDict
from yarl import URL

from ..models.sources import SourceFailed

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """A signed GET."""

    target: str
    """Path and query, percent-encoded."""
    headers: Mapping[str, str]


class Stopped(Exception):
    """Whoever waited for the range is gone."""


class Reading:
    """One range's work in a thread, and how it is ended from outside."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._connection: HTTPConnection | None = None

    def pause(self, seconds: float) -> None:
        """Waits. Raises Stopped as soon as the work shall end."""
        if self._ended.wait(seconds) if seconds > 0 else self._ended.is_set():
            raise Stopped

    def uses(self, connection: HTTPConnection) -> None:
        """What it is to be woken from. Raises Stopped."""
        self._connection = connection
        self.pause(0)

    def stop(self) -> None:
        """Ends it, also where it waits for bytes."""
        self._ended.set()
        held = None if self._connection is None else self._connection.sock
        with contextlib.suppress(OSError):
            if held is not None:
                # Another handle of the same connection: the thread's own, with its TLS, stays as it is.
                with socket.socket(fileno=os.dup(held.fileno())) as other:
                    other.shutdown(socket.SHUT_RDWR)


class RangeConnections:
    """Connections to one S3 endpoint, kept between requests, and the threads that read from them."""

    def __init__(self, url: str, threads: int, stall: float) -> None:
        """`stall`: seconds without a byte after which a connection is given up; also to connect."""
        self._url = URL(url)
        self._stall = stall
        self._idle: deque[HTTPConnection] = deque()
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="range")
        self._context = ssl.create_default_context() if self._url.scheme == "https" else None

    async def run(self, work: Callable[[Reading], T]) -> T:
        """Work in a thread. When cancelled, stops it and waits to its end: what it uses may be closed afterwards."""
        reading = Reading()
        task = asyncio.wrap_future(self._threads.submit(work, reading))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            reading.stop()
            await asyncio.wait([task])
            task.exception()  # nobody else asks for it
            raise

    @contextlib.contextmanager
    def ask(self, request: Request, reading: Reading) -> Generator[HTTPResponse]:
        """An answer with any status; blocks. A connection whose answer was not read to its end is closed. Raises SourceFailed."""
        connection, is_fresh = self._connection()
        try:
            try:
                answer = _sent(connection, request, reading)
            except (OSError, HTTPException):
                if is_fresh:
                    raise
                # The server may have closed a kept connection at any time: that is no failure of its own.
                connection.close()
                answer = _sent(connection, request, reading)
            yield answer
        except (OSError, HTTPException) as error:
            connection.close()
            raise SourceFailed(str(error) or type(error).__name__) from error
        except BaseException:
            connection.close()
            raise
        if answer.will_close or not answer.isclosed():
            connection.close()
        else:
            self._idle.append(connection)

    def close(self) -> None:
        """Ends the threads, which have nothing to do any more, and the connections."""
        self._threads.shutdown()
        while self._idle:
            self._idle.pop().close()

    def _connection(self) -> tuple[HTTPConnection, bool]:
        with contextlib.suppress(IndexError):
            return self._idle.pop(), False
        host, port = self._url.host or "", self._url.port
        if self._context is None:
            return HTTPConnection(host, port, timeout=self._stall), True
        return HTTPSConnection(host, port, timeout=self._stall, context=self._context), True


def read_into(
    answer: HTTPResponse, length: int, buffer: memoryview, take: Callable[[memoryview], None]
) -> None:
    """Up to so many bytes of a body, a bufferful at a time. What came before an error is taken too; an early end is no error."""
    while length > 0:
        held = 0
        wanted = min(length, len(buffer))
        try:
            while held < wanted and (count := _read(answer, buffer[held:wanted])):
                held += count
        finally:
            if held:
                take(buffer[:held])
        if held < wanted:
            return
        length -= held
    if answer.length in (None, 0):
        answer.close()  # read to its end: its connection can be used again


def headers_of(answer: HTTPResponse) -> Mapping[str, str]:
    """Its headers, whatever case they came in."""
    return CIMultiDict(answer.headers.items())


def _read(answer: HTTPResponse, room: memoryview) -> int:
    """What one read gives; 0 at the end."""
    if answer.chunked or answer.length is None:
        piece = answer.read1(len(room))
        room[: len(piece)] = piece
        return len(piece)
    # HTTPResponse.readinto would fill the whole of it, and lose what had come when the connection breaks.
    count = answer.fp.readinto1(room[: answer.length])
    answer.length -= count
    return count


def _sent(connection: HTTPConnection, request: Request, reading: Reading) -> HTTPResponse:
    if connection.sock is None:
        connection.connect()
    reading.uses(connection)
    connection.request("GET", request.target, headers=dict(request.headers))
    return connection.getresponse()
