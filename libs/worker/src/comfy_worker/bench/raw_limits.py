"""What the machine can do at most: reading files in parallel, cold and cached, and copying to the GPU."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from ..weights.reading import CHUNK_BYTES, in_parallel, read_exactly, thread_count

DROP_CACHES = Path("/proc/sys/vm/drop_caches")

_COPY = """
import json, time, torch
if not torch.cuda.is_available():
    print("null"); raise SystemExit
host = torch.empty(1 << 30, dtype=torch.uint8, pin_memory=True).random_(0, 255)
device = torch.empty_like(host, device="cuda")
device.copy_(host); torch.cuda.synchronize()
started = time.perf_counter()
for _ in range(8): device.copy_(host, non_blocking=True)
torch.cuda.synchronize()
rate = 8 * host.numel() / (time.perf_counter() - started)
print(json.dumps({"gpu": torch.cuda.get_device_name(), "bytesPerSecond": rate}))
"""

_BYTECODE = """
import importlib.util, os, sys
spec = importlib.util.find_spec("torch")
sys.exit(spec is None or not os.path.exists(importlib.util.cache_from_source(spec.origin)))
"""


def has_bytecode(python: Path) -> bool:
    """Whether the torch of `python` was compiled when it was installed."""
    return subprocess.run([str(python), "-c", _BYTECODE], capture_output=True, check=False).returncode == 0


def drop_page_cache(files: Sequence[Path]) -> str:
    """Empties the page cache where that is allowed, else forgets `files`; says which: `dropped` or `advised`."""
    os.sync()
    try:
        DROP_CACHES.write_text("3\n", encoding="ascii")
        return "dropped"
    except OSError:
        for file in files:
            fd = os.open(file, os.O_RDONLY)
            try:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(fd)
        return "advised"


def read_seconds(files: Sequence[Path], threads: int | None = None) -> float:
    """Seconds of reading all files once, in parallel and throwing the bytes away."""
    local = threading.local()

    def read(fd: int, offset: int, nbytes: int) -> None:
        buffer: memoryview | None = getattr(local, "buffer", None)
        if buffer is None:
            buffer = local.buffer = memoryview(bytearray(CHUNK_BYTES))
        read_exactly(fd, buffer[:nbytes], offset)

    opened = [os.open(file, os.O_RDONLY) for file in files]
    started = time.monotonic()
    try:
        work = (
            lambda fd=fd, offset=offset, size=size: read(fd, offset, min(CHUNK_BYTES, size - offset))
            for fd in opened
            for size in (os.fstat(fd).st_size,)
            for offset in range(0, size, CHUNK_BYTES)
        )
        in_parallel(work, threads or thread_count())
    finally:
        for fd in opened:
            os.close(fd)
    return time.monotonic() - started


def device_copy(python: Path) -> dict[str, float | str] | None:
    """GPU name and bytes a second of a pinned copy onto it, by the torch of `python`; None without a GPU or torch."""
    done = subprocess.run([str(python), "-c", _COPY], capture_output=True, text=True, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None
