"""Claims: a job that is delivered twice runs once, and its attempts never overlap."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import JobAlreadyClaimed

LEASE = 60.0
"""Seconds without a sign of life after which a claim's holder counts as dead; far above the clocks' difference."""

KEEP = 7 * 24 * 3600.0
"""Seconds that claims are kept: as long as the longest time to live of a RunPod job."""


@dataclass(frozen=True)
class Claim:
    """The right to run one attempt of a job."""

    job_id: str
    attempt: int
    """1, and one more for each holder that died."""
    file: Path
    done: Path
    holder: Mapping[str, Any]

    def commit(self) -> None:
        """Says that this attempt has the job's result. Raises JobAlreadyClaimed when another has taken over."""
        later = self.file.with_suffix(f".{self.attempt + 1}")
        if later.exists() or not _create(self.done, {**self.holder, "attempt": self.attempt}):
            holder = _read(self.done) or _read(later) or {}
            raise already_claimed(self.job_id, holder)


class DirectoryClaims:
    """Claims as files in a folder that all workers share, such as RunPod's network volume.

    Each attempt is a file made by an exclusive create, so that one worker wins; its age is the holder's last sign
    of life. `<job>.done` names the attempt whose result counts.
    """

    def __init__(self, folder: Path, lease: float = LEASE, now: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._lease = lease
        self._now = now

    @asynccontextmanager
    async def claim(self, job_id: str, holder: Mapping[str, Any]) -> AsyncGenerator[Claim]:
        """Claims a job and keeps the claim alive meanwhile.

        Waits while the holder is another run of the same delivery (`holder` is equal but for `worker`) that may have
        died; raises JobAlreadyClaimed when a different delivery holds the job or has its result.
        """
        claim = await self._take(job_id, holder)
        beat = asyncio.create_task(self._keep_alive(claim.file))
        try:
            yield claim
        finally:
            beat.cancel()
            if not claim.done.exists():
                # Failed or cancelled here: whoever comes next need not wait for the lease.
                os.utime(claim.file, (0, 0))

    async def _take(self, job_id: str, holder: Mapping[str, Any]) -> Claim:
        self._folder.mkdir(parents=True, exist_ok=True)
        stem = self._folder / hashlib.sha256(job_id.encode()).hexdigest()
        done = stem.with_suffix(".done")
        while True:
            finished = _read(done)
            if finished is not None:
                raise already_claimed(job_id, finished)
            attempt = self._latest(stem)
            if attempt > 0:
                file = stem.with_suffix(f".{attempt}")
                if not self._is_dead(file):
                    found = _read(file) or {}
                    if _delivery(found) != _delivery(holder):
                        raise already_claimed(job_id, found)
                    await asyncio.sleep(self._lease / 10)
                    continue
            file = stem.with_suffix(f".{attempt + 1}")
            if _create(file, holder):
                return Claim(job_id, attempt + 1, file, done, dict(holder))

    @staticmethod
    def _latest(stem: Path) -> int:
        attempt = 0
        while stem.with_suffix(f".{attempt + 1}").exists():
            attempt += 1
        return attempt

    def _is_dead(self, file: Path) -> bool:
        try:
            return self._now() - file.stat().st_mtime > self._lease
        except FileNotFoundError:
            return True

    async def _keep_alive(self, file: Path) -> None:
        while True:
            await asyncio.sleep(self._lease / 6)
            with contextlib.suppress(OSError):
                os.utime(file, (self._now(), self._now()))

    def prune(self) -> int:
        """Deletes claims that nobody can ask for any more; how many."""
        # The time of the last change of the entry, since a claim that was let go has no modification time.
        old = [file for file in self._files() if self._now() - file.stat().st_ctime > KEEP]
        for file in old:
            file.unlink(missing_ok=True)
        return len(old)

    def _files(self) -> list[Path]:
        return [file for file in self._folder.glob("*") if file.is_file()] if self._folder.is_dir() else []


def already_claimed(job_id: str, holder: Mapping[str, Any]) -> JobAlreadyClaimed:
    """The error that tells a second delivery who has the job."""
    return JobAlreadyClaimed(
        f"Job {job_id} is run by another delivery.",
        job_id=job_id,
        details=dict(holder),
        hint="The job runs once; its result is that of the delivery in `details`.",
    )


def _delivery(holder: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in holder.items() if name not in ("worker", "attempt")}


def _create(file: Path, content: Mapping[str, Any]) -> bool:
    """Makes a file with all of its content, unless it is there."""
    partial = file.with_name(f"{file.name}.{os.getpid()}.{time.monotonic_ns()}.partial")
    partial.write_text(json.dumps(content), encoding="utf-8")
    try:
        os.link(partial, file)
    except FileExistsError:
        return False
    except OSError:
        # No hard links here: an exclusive create, whose content follows.
        try:
            with file.open("x", encoding="utf-8") as opened:
                opened.write(json.dumps(content))
        except FileExistsError:
            return False
    finally:
        partial.unlink(missing_ok=True)
    return True


def _read(file: Path) -> dict[str, Any] | None:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
