"""A network volume to a folder, beside rclone, s5cmd and a raw read, from one S3 server on this machine.

    npm run bench -- copy-volume

fetches rclone and s5cmd and runs this. By itself: python bench/copy_volume.py [--gigabytes N] [--rate GB/s] [--server rclone] [--json].

Ours is the whole command: listing, parallel ranges, hashes, the listing at the end; once with files that no endpoint
pins (MD5 and SHA-256), once with all of them pinned (SHA-256). rclone compares MD5s, s5cmd compares nothing, the raw
read keeps the bytes of signed ranges and does nothing else. Server and clients share the machine; --rate limits the server,
over all connections, to what a network gives, so that they do not share what limits them. Rounds alternate;
the figures are medians, of wall time and of the contestant's own CPU time, which other work disturbs less.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import http.client
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from local_clouds.s3 import LocalS3, S3Settings
from ryla_modal.models import Limits

REGION, BUCKET, ACCESS, SECRET = "EU-RO-1", "volume", "user_local", "rps_local"
CONNECTIONS = Limits().connections
SEGMENT = Limits().segment
MB = 1_000_000
PIECE = 256 << 10
SET = {"diffusion_models/large": 500 * MB, "vae/middle": 200 * MB} | {
    f"loras/{n}": 10 * MB for n in range(30)
}
"""One GB: files, and their sizes in bytes."""

Sizes = Mapping[str, int]
"""Bytes of each key."""


class LimitedS3(LocalS3):
    """The stand-in of this workspace, which gives so many bytes a second over all connections; 0 for no limit."""

    def __init__(self, settings: S3Settings, rate: float) -> None:
        super().__init__(settings)
        self._rate = rate
        self._free_at = 0.0

    async def _body(self, request: Any, response: Any, item: Any, start: int, end: int) -> None:
        if not self._rate:
            await super()._body(request, response, item, start, end)
            return
        with item.content.open("rb") as file:
            while start < end:
                count = min(PIECE, end - start)
                now = time.monotonic()
                self._free_at = max(self._free_at, now) + count / self._rate
                await asyncio.sleep(self._free_at - now)
                await asyncio.get_running_loop().sendfile(request.transport, file, start, count)
                start += count
        await response.write_eof()


async def serve(folder: Path, rate: float) -> None:
    server = LimitedS3(S3Settings(folder, bucket=BUCKET), rate)
    await server.start()
    print(json.dumps({"url": server.url}), flush=True)
    await asyncio.Event().wait()


class Server:
    """The stand-in of this workspace, or rclone's own S3 server."""

    def __init__(self, kind: str, folder: Path, rate: float) -> None:
        own = [sys.executable, __file__, "--serve", str(folder / BUCKET), "--rate", str(rate)]
        rclone = ["rclone", "serve", "s3", str(folder), "--addr", "127.0.0.1:18333"]
        rclone += ["--auth-key", f"{ACCESS},{SECRET}", "--vfs-cache-mode", "off"]
        command = own if kind == "stand-in" else rclone
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self.child.stdout is not None
        self.url = "http://127.0.0.1:18333"
        if kind == "stand-in":
            self.url = json.loads(self.child.stdout.readline())["url"]
        else:
            time.sleep(2)

    def close(self) -> None:
        self.child.terminate()
        self.child.wait()


def raw(sizes: Sizes, url: str, target: Path) -> None:
    """The same connections and ranges, kept: no listing, no hash, no retry."""
    host = urlsplit(url)
    signer = S3SigV4Auth(Credentials(ACCESS, SECRET), "s3", REGION)
    pieces = [
        (key, at, min(at + SEGMENT, size)) for key, size in sizes.items() for at in range(0, size, SEGMENT)
    ]
    for key, size in sizes.items():
        (target / key).parent.mkdir(parents=True, exist_ok=True)
        (target / key).touch()
        os.truncate(target / key, size)
    waiting = iter(pieces)

    def work() -> None:
        connection = http.client.HTTPConnection(host.hostname or "", host.port)
        buffer = memoryview(bytearray(1 << 20))
        for key, start, end in waiting:
            signed = AWSRequest(method="GET", url=f"{url}/{BUCKET}/{key}")
            signer.add_auth(signed)
            headers = {**dict(signed.headers.items()), "Range": f"bytes={start}-{end - 1}"}
            connection.request("GET", f"/{BUCKET}/{key}", headers=headers)
            with connection.getresponse() as answer, (target / key).open("r+b", buffering=0) as file:
                while count := answer.readinto(buffer):
                    start += os.pwrite(file.fileno(), buffer[:count], start)
                assert start == end

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for task in [pool.submit(work) for _ in range(CONNECTIONS)]:
            task.result()


def run(command: list[str], **environ: str) -> None:
    keys = {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": REGION}
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **keys, **environ})


def ours(url: str, target: Path, *options: str) -> None:
    where = ["--data-center", REGION, "--volume-id", BUCKET, "--s3-url", url]
    run([sys.executable, "-m", "ryla_modal.volume_copy", "--volume", str(target), *where, *options])


def pinned(url: str, target: Path) -> None:
    ours(url, target, "--endpoints", str(target.with_name("endpoints")))


def pin(source: Path, endpoint: Path, sizes: Sizes) -> None:
    """An endpoint.json that pins every file."""
    models: list[dict[str, object]] = []
    for key, size in sizes.items():
        _, directory, filename = key.split("/")
        with (source / key).open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        place = {"url": "https://x.test/", "directory": directory, "filename": filename}
        models.append({**place, "size": size, "sha256": sha256})
    endpoint.mkdir(parents=True)
    (endpoint / "endpoint.json").write_text(json.dumps({"name": "bench", "models": models}))


def processor_time() -> float:
    """Seconds of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def rclone(url: str, target: Path) -> None:
    remote = f":s3,provider=Other,env_auth,list_version=2,region={REGION},endpoint='{url}':{BUCKET}/models"
    run(["rclone", "copy", remote, str(target), "--config", "/dev/null", "--transfers", str(CONNECTIONS)])


def s5cmd(url: str, target: Path) -> None:
    run(["s5cmd", "--endpoint-url", url, "cp", f"s3://{BUCKET}/models/*", f"{target}/"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--server", choices=("stand-in", "rclone"), default="stand-in")
    parser.add_argument(
        "--rate", type=float, default=0.0, help="GB/s that the stand-in gives at most (0: no limit)"
    )
    parser.add_argument("--gigabytes", type=int, default=1, help="so many times 32 files of 1 GB together")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        asyncio.run(serve(arguments.serve, arguments.rate * 1e9))
        return
    if arguments.rate and arguments.server == "rclone":
        parser.error("--rate limits the stand-in only")
    sizes = {f"models/{name}-{n}": size for n in range(arguments.gigabytes) for name, size in SET.items()}
    contestants: dict[str, Callable[[str, Path], None]] = {
        "ours": ours,
        "pinned": pinned,
        "raw": partial(raw, sizes),
    }
    contestants |= {name: f for name, f in (("rclone", rclone), ("s5cmd", s5cmd)) if shutil.which(name)}
    total = sum(sizes.values())
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as name:
        folder = Path(name)
        for key, size in sizes.items():
            file = folder / "source" / BUCKET / key
            file.parent.mkdir(parents=True, exist_ok=True)
            piece = random.Random(key).randbytes(10 * MB)
            with file.open("wb") as out:
                for _ in range(size // len(piece)):
                    out.write(piece)
        pin(folder / "source" / BUCKET, folder / "endpoints/bench", sizes)
        server = Server(arguments.server, folder / "source", arguments.rate)
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
        try:
            for number in range(arguments.rounds + 1):
                for name, contestant in contestants.items():
                    target = folder / "target"
                    target.mkdir()
                    began, used = time.monotonic(), processor_time()
                    contestant(server.url, target)
                    took = time.monotonic() - began, processor_time() - used
                    found = sum(
                        file.stat().st_size
                        for file in target.rglob("*")
                        if ".ryla" not in file.parts and file.is_file()
                    )
                    assert found == total, (name, found)
                    if number:  # the first round fills caches, and has the server compute its checksums
                        seconds[name].append(took)
                    shutil.rmtree(target)
        finally:
            server.close()
    figures: dict[str, dict[str, float]] = {}
    for name, took in seconds.items():
        rates = [total / MB / wall for wall, _ in took]
        rate, processor = (
            statistics.median(rates),
            statistics.median(used for _, used in took) / (total / 1e9),
        )
        figures[name] = {"megabytesPerSecond": rate, "cpuSecondsPerGigabyte": processor}
        if not arguments.json:
            each = ", ".join(f"{rate:.0f}" for rate in rates)
            print(f"{name:8} {rate:5.0f} MB/s of {each}; {processor:.1f} s of CPU a GB")
    if arguments.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
