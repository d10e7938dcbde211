"""A RunPod network volume on this machine, in a thread."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from local_clouds.s3 import LocalS3, S3Settings
from ryla_modal.models import Limits
from ryla_modal.volume_copy import CopyOptions, Keys

T = TypeVar("T")
KB = 1 << 10
MB = 1 << 20
READ_ONLY = {"list", "head", "get"}
KEYS = Keys("user_local", "rps_local")
QUICK = Limits(segment=256 * KB, backoff=0.001, longest_wait=0.05, stall=5)


class Source:
    """A local S3 in a thread of its own. Ends with an error when anything but a read was ever asked of it."""

    def __init__(self, folder: Path, **how: Any) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.s3 = LocalS3(S3Settings(folder, **how))
        self._run(self.s3.start())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def close(self) -> None:
        self._run(self.s3.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()
        assert self.operations.keys() <= READ_ONLY, self.operations

    @property
    def operations(self) -> dict[str, int]:
        return dict(self.s3.traffic.operations)

    def fault(self, *specs: str) -> None:
        """Puts these faults in the place of all."""
        self.s3.faults.remove()
        for spec in specs:
            self.s3.faults.add(spec)

    def put(self, key: str, content: bytes) -> bytes:
        """A file of the volume, whole at once."""
        file = self.folder / key
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f"{file.name}.new")
        fresh.write_bytes(content)
        fresh.replace(file)
        return content

    def options(self, **how: Any) -> CopyOptions:
        settings = self.s3.settings
        given = {"data_center": settings.data_center, "volume_id": settings.bucket, "s3_url": self.s3.url}
        return CopyOptions.make(**{**given, **how})


def bytes_of(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)
