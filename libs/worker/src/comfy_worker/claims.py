"""Claims: a job that is delivered twice runs once, and its attempts never overlap."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from .errors import JobAlreadyClaimed, WorkerError

LEASE = 60.0
"""Seconds without a sign of life after which a claim's holder counts as dead; far above the clocks' difference."""

SAFE_SHARE = 5 / 6
"""Of the lease: a holder that could not renew it for so long stops its job, before another may begin it."""

KEEP = 7 * 24 * 3600.0
"""Seconds that claims are kept: as long as the longest time to live of a RunPod job."""


class HeldClaim(Protocol):
    """The right to run one attempt of a job."""

    @property
    def attempt(self) -> int:
        """1, and one more for each holder that died or failed."""
        ...

    async def commit(self, result: Mapping[str, Any] | None = None) -> None:
        """Says that this attempt has the job's result, and keeps it. Raises JobAlreadyClaimed when another has taken
        over."""
        ...

    async def delivered(self) -> None:
        """The result has reached the caller: it need not be kept any longer. Never raises."""
        ...


class Claims(Protocol):
    """Where workers claim jobs."""

    def claim(self, job_id: str, holder: Mapping[str, Any]) -> AbstractAsyncContextManager[HeldClaim]:
        """Claims a job and keeps the claim alive meanwhile.

        Waits while the holder is another run of the same delivery (`holder` is equal but for `worker`) that may have
        died. Raises ResultKept when the job has a result that may not have reached its caller, and JobAlreadyClaimed
        when a different delivery holds the job or has its result.
        """
        ...


class ClaimsUnavailable(WorkerError):
    """The place of the claims cannot be used or reached; the job did not run, or was stopped."""

    code = "claims_unavailable"
    retryable = True


class ResultKept(JobAlreadyClaimed):
    """The job was done before: its holder committed a result, and ended before the result was known to be delivered."""

    result: Mapping[str, Any]


@dataclass(frozen=True)
class Claim:
    """The right to run one attempt of a job, as a file."""

    job_id: str
    attempt: int
    file: Path
    done: Path
    holder: Mapping[str, Any]

    @property
    def later(self) -> Path:
        """What is there once another has taken over."""
        return self.file.with_suffix(f".{self.attempt + 1}")

    async def commit(self, result: Mapping[str, Any] | None = None) -> None:
        """As HeldClaim says."""
        if self.later.exists() or not await asyncio.to_thread(_create, self.done, self._end(result)):
            finished = _read(self.done) or _read(self.later) or {}
            raise done_before(self.job_id, finished)

    async def delivered(self) -> None:
        """As HeldClaim says."""
        with contextlib.suppress(OSError):
            partial = _partial(self.done, self._end(None))
            partial.replace(self.done)

    def _end(self, result: Mapping[str, Any] | None) -> dict[str, Any]:
        kept = {} if result is None else {"result": result}
        return {**self.holder, "attempt": self.attempt, **kept}


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
        """As Claims says.

        A holder that was replaced, or cannot renew its claim, is cancelled and hears JobAlreadyClaimed or
        ClaimsUnavailable.
        """
        claim, begun = await self._take(job_id, holder)
        try:
            async with kept_alive(
                self._lease, begun, partial(self._renew, claim), partial(self._lost, claim)
            ):
                yield claim
        finally:
            if not claim.done.exists():
                # Failed or cancelled here: whoever comes next need not wait for the lease.
                with contextlib.suppress(OSError):
                    os.utime(claim.file, (0, 0))

    async def _take(self, job_id: str, holder: Mapping[str, Any]) -> tuple[Claim, float]:
        """The claim, and the loop's time before it was taken."""
        self._folder.mkdir(parents=True, exist_ok=True)
        stem = self._folder / hashlib.sha256(job_id.encode()).hexdigest()
        done = stem.with_suffix(".done")
        while True:
            finished = _read(done)
            if finished is not None:
                raise done_before(job_id, finished)
            attempt = self._latest(stem)
            if attempt > 0:
                file = stem.with_suffix(f".{attempt}")
                if not self._is_dead(file):
                    found = _read(file) or {}
                    if not is_same_delivery(found, holder):
                        raise already_claimed(job_id, found)
                    await asyncio.sleep(self._lease / 10)
                    continue
            file = stem.with_suffix(f".{attempt + 1}")
            begun = asyncio.get_running_loop().time()
            if _create(file, holder):
                return Claim(job_id, attempt + 1, file, done, dict(holder)), begun

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

    async def _renew(self, claim: Claim) -> Renewal:
        if claim.later.exists():
            return Renewal.REPLACED
        try:
            os.utime(claim.file, (self._now(), self._now()))
        except OSError:
            return Renewal.FAILED
        return Renewal.DONE

    @staticmethod
    async def _lost(claim: Claim) -> JobAlreadyClaimed | ClaimsUnavailable:
        by = _read(claim.later)
        return not_renewed(claim.job_id) if by is None else already_claimed(claim.job_id, by)

    def prune(self) -> int:
        """Deletes claims that nobody can ask for any more; how many."""
        # The time of the last change of the entry, since a claim that was let go has no modification time.
        old = [file for file in self._files() if self._now() - file.stat().st_ctime > KEEP]
        for file in old:
            file.unlink(missing_ok=True)
        return len(old)

    def _files(self) -> list[Path]:
        return [file for file in self._folder.glob("*") if file.is_file()] if self._folder.is_dir() else []


class Renewal(Enum):
    """What became of a renewal."""

    DONE = auto()
    FAILED = auto()
    """The claim could not be reached: the next renewal may."""
    REPLACED = auto()
    """Another holder has it."""
    OVER = auto()
    """It needs none any more."""


@asynccontextmanager
async def kept_alive(
    lease: float,
    begun: float,
    renew: Callable[[], Awaitable[Renewal]],
    lost: Callable[[], Awaitable[JobAlreadyClaimed | ClaimsUnavailable]],
) -> AsyncGenerator[None]:
    """Renews a claim six times in a `lease` (seconds) while the body runs.

    The body is cancelled once another has the claim, or when it was not renewed for SAFE_SHARE of the lease; the error
    of `lost` is raised then. `begun` is the loop's time before the claim was taken.
    """
    loop = asyncio.get_running_loop()
    deadline = asyncio.timeout_at(begun + lease * SAFE_SHARE)
    try:
        async with deadline:
            beat = loop.create_task(_beat(lease, renew, deadline))
            try:
                yield
            finally:
                beat.cancel()
    except TimeoutError:
        if not deadline.expired():
            raise
        raise await lost() from None


async def _beat(lease: float, renew: Callable[[], Awaitable[Renewal]], deadline: asyncio.Timeout) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(lease / 6)
        begun = loop.time()
        match await renew():
            case Renewal.DONE:
                deadline.reschedule(begun + lease * SAFE_SHARE)
            case Renewal.FAILED:
                continue  # the deadline stays
            case Renewal.REPLACED:
                deadline.reschedule(loop.time())
                return
            case Renewal.OVER:
                return


def already_claimed(job_id: str, holder: Mapping[str, Any]) -> JobAlreadyClaimed:
    """The error that tells a second delivery who has the job."""
    return JobAlreadyClaimed(
        f"Job {job_id} is run by another delivery.",
        job_id=job_id,
        details=dict(holder),
        hint="The job runs once; its result is that of the delivery in `details`.",
    )


def not_renewed(job_id: str) -> ClaimsUnavailable:
    """The error of a holder that could not renew its claim."""
    text = "The claim could not be renewed in time; the job was stopped, since another worker may begin it."
    return ClaimsUnavailable(text, job_id=job_id)


def done_before(job_id: str, finished: Mapping[str, Any]) -> JobAlreadyClaimed:
    """The error for a job that was done: ResultKept when `finished` has its `result`."""
    holder = {name: value for name, value in finished.items() if name != "result"}
    error = already_claimed(job_id, holder)
    if not isinstance(finished.get("result"), dict):
        return error
    kept = ResultKept(error.message, job_id=job_id, details=holder, hint=error.hint)
    kept.result = finished["result"]
    return kept


def is_same_delivery(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two holders are runs of one delivery of a job."""
    return _delivery(one) == _delivery(other)


def _delivery(holder: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in holder.items() if name not in ("worker", "attempt")}


def _partial(file: Path, content: Mapping[str, Any]) -> Path:
    partial = file.with_name(f"{file.name}.{os.getpid()}.{time.monotonic_ns()}.partial")
    partial.write_text(json.dumps(content), encoding="utf-8")
    return partial


def _create(file: Path, content: Mapping[str, Any]) -> bool:
    """Makes a file with all of its content, unless it is there."""
    partial = _partial(file, content)
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
