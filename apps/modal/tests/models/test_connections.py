"""Blocking connections: what a server can do to them, and how a waiting thread is ended. The servers are real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Generator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ryla_modal.models.connections import Connections, Reading, Request, SourceFailed, Stopped, read_into
from yarl import URL

Serve = Callable[[socket.socket, int], None]


@contextlib.contextmanager
def server(serve: Serve) -> Generator[str]:
    """Serves each connection in turn; `serve` gets it and its number."""
    listening = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        for number in range(100):
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            # A client that does not need the rest of an answer closes the connection.
            with connection, contextlib.suppress(ConnectionError):
                serve(connection, number)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(30)


def answer(body: bytes, length: int | None = None) -> bytes:
    return f"HTTP/1.1 206 OK\r\nContent-Length: {length or len(body)}\r\n\r\n".encode() + body


def read_request(connection: socket.socket) -> bool:
    """Whether one came, rather than the end of the connection."""
    got = b""
    while not got.endswith(b"\r\n\r\n"):
        piece = connection.recv(4096)
        if not piece:
            return False
        got += piece
    return True


def read_all(connections: Connections, url: str, length: int, reading: Reading, room: int = 64) -> bytes:
    found = bytearray()
    with connections.ask(Request(URL(url), {}), reading) as response:
        read_into(response, length, reading, found.extend, room)
    return bytes(found)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=3000), min_size=1, max_size=6),
    st.integers(1, 4000),
    st.booleans(),
)
def test_bytes_come_in_order_whatever_pieces_they_are_sent_in(
    pieces: Sequence[bytes], room: int, chunked: bool
) -> None:
    body = b"".join(pieces)

    def serve(connection: socket.socket, _: int) -> None:
        while read_request(connection):
            if chunked:
                connection.sendall(b"HTTP/1.1 206 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                for piece in pieces:
                    connection.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                connection.sendall(b"0\r\n\r\n")
            else:
                connection.sendall(answer(b"", len(body)))
                for piece in pieces:
                    connection.sendall(piece)

    with server(serve) as url:
        connections = Connections(1, 30)
        for _ in range(2):
            assert read_all(connections, url, len(body), Reading(), room) == body
        connections.close()


def test_a_connection_is_used_again_and_one_that_was_closed_meanwhile_is_no_failure() -> None:
    seen: list[int] = []

    def serve(connection: socket.socket, number: int) -> None:
        for _ in range(2):
            if read_request(connection):
                seen.append(number)
                connection.sendall(answer(b"bytes"))

    with server(serve) as url:
        connections = Connections(1, 30)
        for _ in range(5):
            assert read_all(connections, url, 5, Reading()) == b"bytes"
        connections.close()
    assert seen == [0, 0, 1, 1, 2]


def test_what_came_before_a_connection_broke_is_taken() -> None:
    def serve(connection: socket.socket, _: int) -> None:
        if read_request(connection):
            connection.sendall(answer(b"half", 8))

    taken: list[bytes] = []
    with server(serve) as url:
        connections = Connections(1, 30)
        reading = Reading()
        with connections.ask(Request(URL(url), {}), reading) as response:
            read_into(response, 8, reading, lambda data: taken.append(bytes(data)))
        connections.close()
        assert taken == [b"half"]


def test_few_bytes_are_handed_on_while_a_slow_server_keeps_the_rest() -> None:
    released = threading.Event()

    def slow(connection: socket.socket, _: int) -> None:
        if read_request(connection):
            connection.sendall(answer(b"first", 10))
            released.wait(30)
            connection.sendall(b"later")

    taken: list[bytes] = []

    def take(data: memoryview) -> None:
        taken.append(bytes(data))
        released.set()

    with server(slow) as url:
        connections, reading = Connections(1, 30), Reading()
        with connections.ask(Request(URL(url), {}), reading) as response:
            read_into(response, 10, reading, take)
        connections.close()
    assert taken == [b"first", b"later"]


def test_connections_of_two_places_are_not_mixed_up() -> None:
    def serve(text: bytes) -> Serve:
        def run(connection: socket.socket, _: int) -> None:
            while read_request(connection):
                connection.sendall(answer(text))

        return run

    with server(serve(b"one")) as one, server(serve(b"two")) as two:
        connections = Connections(1, 30)
        found = [read_all(connections, url, 3, Reading()) for url in (one, two, one, two)]
        connections.close()
    assert found == [b"one", b"two"] * 2


def test_a_server_that_is_not_there_and_one_that_says_nothing_are_failures_that_may_pass() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(SourceFailed):
        read_all(Connections(1, 30), nobody, 1, Reading())
    released = threading.Event()

    def silent(connection: socket.socket, _: int) -> None:
        read_request(connection)
        released.wait(30)

    with server(silent) as url:
        with pytest.raises(SourceFailed, match="timed out"):
            read_all(Connections(1, 0.2), url, 1, Reading())
        released.set()


@pytest.mark.parametrize("closes", [False, True])
async def test_a_cancelled_range_ends_its_thread_while_it_waits_for_bytes(closes: bool) -> None:
    waiting, released = threading.Event(), threading.Event()

    def stalls(connection: socket.socket, _: int) -> None:
        if read_request(connection):
            begun = answer(b"x", 100)
            connection.sendall(begun.replace(b"1.1", b"1.0") if closes else begun)
            waiting.set()
            released.wait(60)

    with server(stalls) as url:
        connections = Connections(1, 60)
        task = asyncio.create_task(connections.run(lambda reading: read_all(connections, url, 100, reading)))
        await asyncio.to_thread(waiting.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 30)
        connections.close()  # would wait for the thread
        released.set()


async def test_work_that_is_stopped_before_it_begins_asks_nobody() -> None:
    asked: list[int] = []

    def serve(connection: socket.socket, number: int) -> None:
        if read_request(connection):
            asked.append(number)
            connection.sendall(answer(b"x"))

    with server(serve) as url:
        connections, reading = Connections(1, 30), Reading()
        reading.stop()
        with pytest.raises(Stopped):
            read_all(connections, url, 1, reading)
        connections.close()
    assert asked == []
