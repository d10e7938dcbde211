"""A source of models on this machine that fails in every way that one can."""

from __future__ import annotations

import hashlib
import random
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ryla_modal.models import Limits, ModelFile, ModelStore

KB = 1 << 10
MB = 1 << 20


@dataclass
class ServedFile:
    """One file and how its requests go wrong."""

    content: bytes
    random: random.Random = field(default_factory=lambda: random.Random(7))
    ignores_range: bool = False
    drops: float = 0.0
    """Share of answers that are cut at a random offset."""
    resets: bool = False
    """Cut by a reset instead of an end."""
    wrong_byte: Callable[[int], int | None] = lambda _request: None
    """For the n-th request: the byte of the file that is flipped, if it is in the answer."""
    said_size: int | None = None
    """The size that its headers speak of; the content's by default."""
    etag: Callable[[int], str | None] = lambda _request: '"1"'
    statuses: list[tuple[int, dict[str, str]]] = field(default_factory=list[tuple[int, dict[str, str]]])
    """Answers to the first requests, instead of the file."""
    token: str | None = None
    redirect: str | None = None
    headers: dict[str, str] = field(default_factory=dict[str, str])
    on_request: Callable[[int], None] = lambda _request: None
    on_piece: Callable[[], None] = lambda: None
    """After each 64 kB."""
    slow: threading.Event | None = None
    """Answers wait for it after their first 64 kB."""
    requests: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    sent: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class ModelServer:
    """Files by path, on a free port of 127.0.0.1."""

    def __init__(self) -> None:
        self.files: dict[str, ServedFile] = {}
        files = self.files

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                answer(self, files.get(self.path.split("?")[0]))

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def sent(self) -> int:
        return sum(file.sent for file in self.files.values())

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def model(self, name: str, content: bytes, directory: str = "vae", **how: Any) -> ModelFile:
        """Serves a file, and returns the model that pins it."""
        self.files[f"/{name}"] = ServedFile(content, **how)
        return ModelFile(
            f"{self.url}/{name}", directory, name, len(content), hashlib.sha256(content).hexdigest()
        )


def answer(handler: BaseHTTPRequestHandler, file: ServedFile | None) -> None:
    if file is None:
        handler.send_error(404)
        return
    with file.lock:
        file.requests.append(dict(handler.headers.items()))
        number = len(file.requests)
        chance, cut = file.random.random(), file.random.random()
        status = file.statuses.pop(0) if file.statuses else None
    file.on_request(number)
    if file.token is not None and handler.headers.get("Authorization") != f"Bearer {file.token}":
        status = (401, {})
    if file.redirect is not None and status is None:
        status = (302, {"Location": file.redirect})
    if status is not None:
        handler.send_response(status[0])
        for key, value in {**status[1], "Content-Length": "0"}.items():
            handler.send_header(key, value)
        handler.end_headers()
        return
    content = file.content
    flipped = file.wrong_byte(number)
    size = len(content) if file.said_size is None else file.said_size
    asked = re.fullmatch(r"bytes=(\d+)-(\d+)", handler.headers.get("Range", ""))
    whole = asked is None or file.ignores_range
    start, end = (0, size) if whole or asked is None else (int(asked[1]), min(int(asked[2]) + 1, size))
    handler.send_response(200 if whole else 206)
    etag = file.etag(number)
    headers = {
        "Content-Length": str(end - start),
        **({} if whole else {"Content-Range": f"bytes {start}-{end - 1}/{size}"}),
        **({} if etag is None else {"ETag": etag}),
        **file.headers,
    }
    for key, value in headers.items():
        handler.send_header(key, value)
    handler.end_headers()
    body = bytearray(content[start:end])
    if flipped is not None and start <= flipped < end:
        body[flipped - start] ^= 1
    dropped = chance < file.drops or len(body) < end - start
    body = body[: int(cut * len(body))] if chance < file.drops else body
    for at in range(0, len(body), 64 * KB):
        piece = body[at : at + 64 * KB]
        with file.lock:
            file.sent += len(piece)
        handler.wfile.write(piece)
        file.on_piece()
        if file.slow is not None:
            file.slow.wait(30)
    if dropped:
        if file.resets:
            linger = struct.pack("ii", 1, 0)
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        handler.close_connection = True


@pytest.fixture
def server() -> Iterator[ModelServer]:
    made = ModelServer()
    yield made
    made.close()


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    folder = tmp_path / "volume"
    folder.mkdir()
    return folder


@pytest.fixture
def quick() -> Limits:
    """Small pieces, short waits."""
    return Limits(segment=512 * KB, backoff=0.001, longest_wait=0.05, stall=5, connections=6)


@pytest.fixture
def store(volume: Path, quick: Limits) -> ModelStore:
    return ModelStore(volume, limits=quick, say=lambda _: None)
