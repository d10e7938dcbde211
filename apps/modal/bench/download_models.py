"""`python bench/download_models.py`: 2 GB to a volume, verified, beside raw parallel downloads that verify nothing.

Server and clients share this machine, so the server's work slows all of them. `--rate` limits it to what a network
gives. Rounds alternate; the ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
from ryla_modal.models import Limits, ModelFile, ModelStore

CONNECTIONS = Limits().connections
SEGMENT = Limits().segment
PIECE = 1 << 20


def serve(file: Path, rate: float) -> None:
    """Ranges of one file by sendfile; `rate` in bytes/s over all connections, 0 for no limit."""
    descriptor, lock, free_at = os.open(file, os.O_RDONLY), threading.Lock(), [0.0]
    size = file.stat().st_size

    def wait_for(count: int) -> None:
        if not rate:
            return
        with lock:
            free_at[0] = max(free_at[0], time.monotonic()) + count / rate
            until = free_at[0]
        time.sleep(max(0.0, until - time.monotonic()))

    def answer(connection: socket.socket) -> None:
        reader = connection.makefile("rb")
        while reader.readline():
            head = b"".join(iter(reader.readline, b"\r\n"))
            found = re.search(rb"bytes=(\d+)-(\d+)", head)
            at, end = (int(found[1]), int(found[2]) + 1) if found else (0, size)
            connection.sendall(
                f"HTTP/1.1 206 Partial Content\r\nContent-Length: {end - at}\r\n"
                f"Content-Range: bytes {at}-{end - 1}/{size}\r\n\r\n".encode()
            )
            while at < end:
                sent = os.sendfile(connection.fileno(), descriptor, at, min(PIECE, end - at))
                wait_for(sent)
                at += sent

    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            connection, _ = server.accept()
            threading.Thread(target=answer, args=(connection,), daemon=True).start()


async def raw(url: str, size: int, target: Path, durable: bool) -> None:
    """The same connections and segments into one file: no journal, no hash, no retry."""
    descriptor = os.open(target, os.O_RDWR | os.O_CREAT)
    os.ftruncate(descriptor, size)
    starts = iter(range(0, size, SEGMENT))
    async with aiohttp.ClientSession(auto_decompress=False, read_bufsize=1 << 20) as session:

        async def worker() -> None:
            for at in starts:
                end = min(at + SEGMENT, size)
                async with session.get(url, headers={"Range": f"bytes={at}-{end - 1}"}) as response:
                    async for data in response.content.iter_any():
                        os.pwrite(descriptor, data, at)
                        at += len(data)

        await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))
    if durable:
        os.fsync(descriptor)
    os.close(descriptor)


def curl(url: str, size: int, folder: Path, durable: bool) -> None:
    """One curl with as many ranges at once, each into a file of its own."""
    part = -(-size // CONNECTIONS)
    command = ["curl", "--no-progress-meter", "--parallel", "--parallel-immediate"]
    for number in range(CONNECTIONS):
        first, last = number * part, min((number + 1) * part, size) - 1
        command += ["--next"] if number else []
        command += ["-r", f"{first}-{last}", "-o", str(folder / f"{number}"), url]
    subprocess.run(command, check=True)
    if durable:
        subprocess.run(["sync", *map(str, folder.iterdir())], check=True)


async def committed() -> None:
    """In place of Volume.commit, which a raw download would need as well."""


async def verified(model: ModelFile, volume: Path, durable: bool) -> None:
    """What upload_models.py does; where `durable`, what `python -m ryla_modal.models` does."""
    commit = None if durable else committed
    upload = await ModelStore(volume, commit=commit, say=lambda _: None).upload([model])
    if upload.failed:
        raise SystemExit(str(upload.failed))


def timed(work: Callable[[Path], object], folder: Path) -> float:
    """Seconds of one download into an empty folder, the disk's earlier work done."""
    os.sync()
    target = Path(tempfile.mkdtemp(dir=folder))
    started = time.perf_counter()
    work(target)
    seconds = time.perf_counter() - started
    shutil.rmtree(target)
    return seconds


def make_file(file: Path, size: int) -> str:
    """Random bytes, as weights are; returns their sha256."""
    digest = hashlib.sha256()
    with file.open("wb") as out:
        for at in range(0, size, 16 * PIECE):
            piece = os.urandom(min(16 * PIECE, size - at))
            digest.update(piece)
            out.write(piece)
    return digest.hexdigest()


def main() -> None:
    """Prints GB/s of each and the ratios."""
    parser = argparse.ArgumentParser(description="The downloader beside raw parallel downloads.")
    parser.add_argument("--size", type=float, default=2.0, help="GB (default: 2)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--rate", type=float, default=0.0, help="GB/s that the server gives at most (0: no limit)"
    )
    parser.add_argument("--durable", action="store_true", help="flush to the disk too, ours and the raw ones")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        serve(arguments.serve, arguments.rate * 1e9)
        return
    size = round(arguments.size * 1e9)
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="download-models-") as name:
        folder = Path(name)
        file = folder / "model.safetensors"
        sha256 = make_file(file, size)
        child = subprocess.Popen(
            [sys.executable, __file__, "--serve", str(file), "--rate", str(arguments.rate)],
            stdout=subprocess.PIPE,
        )
        try:
            assert child.stdout is not None
            url = f"http://127.0.0.1:{int(child.stdout.readline())}/model.safetensors"
            model = ModelFile(url, "checkpoints", file.name, size, sha256)
            peers: dict[str, Callable[[Path], object]] = {
                "ryla, verified": lambda target: asyncio.run(verified(model, target, arguments.durable)),
                "aiohttp, raw": lambda target: asyncio.run(raw(url, size, target / "raw", arguments.durable)),
            }
            if shutil.which("curl"):
                peers["curl --parallel, raw"] = lambda target: curl(url, size, target, arguments.durable)
            seconds: dict[str, list[float]] = {peer: [] for peer in peers}
            for _ in range(arguments.rounds):
                for peer, work in peers.items():
                    seconds[peer].append(timed(work, folder))
        finally:
            child.kill()
            child.wait()
    ours = statistics.median(seconds["ryla, verified"])
    limit = f"{arguments.rate:g} GB/s" if arguments.rate else "none"
    print(
        f"{arguments.size:g} GB, {arguments.rounds} rounds, {CONNECTIONS} connections, {os.cpu_count()} cores; limit {limit}"
    )
    for peer, found in seconds.items():
        median = statistics.median(found)
        spread = f"{min(found):.2f}-{max(found):.2f} s"
        print(
            f"{peer:22} {size / median / 1e9:5.2f} GB/s  {median:6.2f} s ({spread})  ratio {median / ours:.2f}"
        )


if __name__ == "__main__":
    main()
