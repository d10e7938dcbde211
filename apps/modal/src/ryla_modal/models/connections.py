"""HTTP by blocking connections, in threads of their own.

An event loop sees every byte of every connection in one thread, through several copies; a thread that reads from its
socket into one buffer, and writes that to the file, holds the interpreter's lock for neither. Measured in
docs/benchmarks.md.
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
from functools import cached_property
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import TypeVar

from yarl import URL

T = TypeVar("T")

BUFFER_BYTES = 1 << 20
"""Of each thread: what is read before it is written. It stays in the processor's cache on its way."""

HOLD_SECONDS = 0.25
"""Bytes that came are handed on after so long, however few they are."""


class SourceFailed(Exception):
    """The source failed in a way that may pass; `retry_after` is what it asks us to wait, in seconds."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Request:
    """A request without a body."""

    url: URL
    headers: Mapping[str, str]
    method: str = "GET"


class Stopped(Exception):
    """Whoever waited for the answer is gone."""


class Reading:
    """One piece of work in a thread, and how it is ended from outside."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self.socket: socket.socket | None = None
        """Of the connection that it uses."""

    def pause(self, seconds: float) -> None:
        """Waits. Raises Stopped as soon as the work shall end."""
        if self._ended.wait(seconds) if seconds > 0 else self._ended.is_set():
            raise Stopped

    def uses(self, connected: socket.socket) -> None:
        """What it is to be woken from. Raises Stopped."""
        self.socket = connected
        self.pause(0)

    def stop(self) -> None:
        """Ends it, also where it waits for bytes."""
        self._ended.set()
        held = self.socket
        with contextlib.suppress(OSError):
            if held is not None:
                # Another handle of the same connection: the thread's own, with its TLS, stays as it is.
                with socket.socket(fileno=os.dup(held.fileno())) as other:
                    other.shutdown(socket.SHUT_RDWR)


class Connections:
    """Connections that are kept between requests, and the threads that read from them."""

    def __init__(self, threads: int, stall: float, user_agent: str = "ryla") -> None:
        """`stall`: seconds without a byte after which a connection is given up; also to connect."""
        self._stall = stall
        self._user_agent = user_agent
        self._idle: dict[tuple[str, str, int], deque[HTTPConnection]] = {}
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="connection")

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
        idle = self._idle.setdefault(_place(request.url), deque())
        connection, is_fresh = self._connection(request.url, idle)
        try:
            try:
                answer = self._sent(connection, request, reading)
            except (OSError, HTTPException):
                if is_fresh:
                    raise
                # The server may have closed a kept connection at any time: that is no failure of its own.
                connection.close()
                answer = self._sent(connection, request, reading)
            yield answer
        except (OSError, HTTPException, UnicodeError) as error:
            connection.close()
            raise SourceFailed(str(error) or type(error).__name__) from error
        except BaseException:
            connection.close()
            raise
        if answer.will_close or not answer.isclosed():
            connection.close()
        else:
            idle.append(connection)

    def close(self) -> None:
        """Ends the threads, which have nothing to do any more, and the connections."""
        self._threads.shutdown()
        for idle in self._idle.values():
            while idle:
                idle.pop().close()

    @cached_property
    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context()

    def _connection(self, url: URL, idle: deque[HTTPConnection]) -> tuple[HTTPConnection, bool]:
        with contextlib.suppress(IndexError):
            return idle.pop(), False
        scheme, host, port = _place(url)
        if scheme == "http":
            return HTTPConnection(host, port, timeout=self._stall), True
        return HTTPSConnection(host, port, timeout=self._stall, context=self._context), True

    def _sent(self, connection: HTTPConnection, request: Request, reading: Reading) -> HTTPResponse:
        if connection.sock is None:
            connection.connect()
        assert connection.sock is not None
        reading.uses(connection.sock)
        headers = {"User-Agent": self._user_agent, **request.headers}
        connection.request(request.method, request.url.raw_path_qs, headers=headers)
        return connection.getresponse()


def read_into(
    answer: HTTPResponse,
    length: int,
    reading: Reading,
    take: Callable[[memoryview], None],
    room: int = BUFFER_BYTES,
) -> None:
    """Up to so many bytes of a body, `room` of them at a time. What came before an error is taken too; an early end is no error."""
    body, buffer = _Body(answer, reading.socket), _buffer()[:room]
    while length > 0 and not body.ended:
        try:
            body.fill(buffer[: min(length, len(buffer))])
        finally:
            if body.held:
                take(buffer[: body.held])
        length -= body.held
    if answer.length == 0:
        answer.close()  # read to its end: its connection can be used again


class _Body:
    """The body of an answer, read from the socket itself where the answer says how long it is."""

    def __init__(self, answer: HTTPResponse, connected: socket.socket | None) -> None:
        self._answer = answer
        self._is_counted = not answer.chunked and answer.length is not None
        self._socket = connected if self._is_counted else None
        self._is_drained = False
        """Whether what came together with the headers was read."""
        self.held = 0
        """Bytes that the last `fill` read, also one that failed."""
        self.ended = False

    def fill(self, room: memoryview) -> None:
        """Waits for bytes, then no longer than HOLD_SECONDS for more of them."""
        self.held = 0
        stall = None if self._socket is None else self._socket.gettimeout()
        try:
            while self.held < len(room) and not self.ended:
                count = self._read(room[self.held :])
                if self.held == 0:
                    self._wait_for(HOLD_SECONDS if stall is None else min(HOLD_SECONDS, stall))
                self.held += count
                self.ended = count == 0
        except TimeoutError:
            if self.held == 0:
                raise
        finally:
            self._wait_for(stall)

    def _wait_for(self, seconds: float | None) -> None:
        if self._socket is not None and self._socket.fileno() >= 0:
            self._socket.settimeout(seconds)

    def _read(self, room: memoryview) -> int:
        """What one read gives; 0 at the end."""
        answer = self._answer
        if not self._is_counted or answer.length is None:
            piece = answer.read1(len(room))
            room[: len(piece)] = piece
            return len(piece)
        room = room[: answer.length]
        if self._socket is not None and self._is_drained:
            count = self._socket.recv_into(room)
        else:
            # HTTPResponse.readinto would fill the whole of it, and lose what had come when the connection breaks.
            count = answer.fp.readinto1(room)
            self._is_drained = count < len(room)
        answer.length -= count
        return count


_of_thread = threading.local()


def _buffer() -> memoryview:
    """One for each thread, for as long as it lives: a fresh one each time would have to be cleared."""
    if not hasattr(_of_thread, "buffer"):
        _of_thread.buffer = memoryview(bytearray(BUFFER_BYTES))
    return _of_thread.buffer


def _place(url: URL) -> tuple[str, str, int]:
    return url.scheme, url.host or "", url.port or (443 if url.scheme == "https" else 80)
