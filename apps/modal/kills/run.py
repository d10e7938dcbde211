"""One run: callers submit while gateways and workers are killed; then everything is counted."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ryla_modal.job_claims import ATTEMPTS

from .clouds import Cloud, deployed
from .engine import NotedEngine, Runs
from .jobs import Caller

CALLERS = 6
LONGEST_PAUSE = 4.0
"""Seconds between two kills at most: long enough that work is done, short enough that little else is."""

SETTLE = 180.0
"""Seconds that the jobs have to end when nobody is killed any more."""

FUNCTIONS = {"gateway": "api", "worker": "ComfyWorker"}


@dataclass
class Count:
    """What came out."""

    seed: int
    gateways_killed: int = 0
    workers_killed: int = 0
    seconds: int = 0
    submitted: int = 0
    accepted: int = 0
    unanswered: int = 0
    succeeded: int = 0
    gave_up: int = 0
    """Told as failed with `worker_lost`, after the workers of all attempts were killed."""
    restarted: int = 0
    """Ran as a second or third attempt."""
    lost: int = 0
    """Accepted, and neither succeeded nor told as given up."""
    twice: int = 0
    """Begun more often than there were attempts, or after an end, or by two engines at a time."""
    repeated: int = 0
    """Completed at an engine whose worker was killed before it could say so, and again by the next attempt."""

    @property
    def holds(self) -> bool:
        """Whether nothing was lost and nothing run twice."""
        return self.lost == 0 and self.twice == 0 and self.accepted > 0

    def to_json(self) -> dict[str, Any]:
        """For the report."""
        return {**asdict(self), "holds": self.holds}


async def kill_run(
    kills: int, seed: int, folder: Path, told: Callable[[str], None], longest_pause: float = LONGEST_PAUSE
) -> Count:
    """Kills so often, and counts. `folder` keeps the logs; `longest_pause` in seconds is between two kills."""
    chance, count, begun = random.Random(seed), Count(seed), time.monotonic()
    engine = NotedEngine(folder / "engine")
    engine.write()
    async with deployed(folder, engine.folder) as cloud:
        caller, stopped = Caller(cloud, chance), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for _ in range(CALLERS):
                group.create_task(caller.submit_until(stopped))
            await caller.begun.wait()
            await _kill(cloud, _Moments(kills, random.Random(seed + 1), longest_pause), count, told)
            stopped.set()
            async with asyncio.timeout(SETTLE):
                ends = {job_id: await caller.ended(job_id) for job_id in sorted(caller.accepted)}
        count.submitted, count.accepted = len(caller.submitted), len(caller.accepted)
        count.unanswered = caller.unanswered
        # Those that were being submitted when it ended were accepted by now.
        ends |= {job_id: await caller.ended(job_id) for job_id in sorted(caller.accepted - set(ends))}
    _judge(count, ends, engine.read(), told)
    count.seconds = round(time.monotonic() - begun)
    return count


@dataclass(frozen=True)
class _Moments:
    kills: int
    chance: random.Random
    longest_pause: float


async def _kill(cloud: Cloud, moments: _Moments, count: Count, told: Callable[[str], None]) -> None:
    kills, chance = moments.kills, moments.chance
    while count.gateways_killed + count.workers_killed < kills:
        await asyncio.sleep(chance.uniform(0, moments.longest_pause))
        kind = chance.choice(("gateway", "worker"))
        pids = await cloud.pids(FUNCTIONS[kind])
        if not pids:
            continue
        pid = chance.choice(pids)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        if kind == "gateway":
            count.gateways_killed += 1
        else:
            count.workers_killed += 1
        told(f"{count.gateways_killed + count.workers_killed}/{kills}: {kind} {pid} killed")


def _judge(
    count: Count, ends: dict[str, dict[str, Any]], runs: dict[str, Runs], told: Callable[[str], None]
) -> None:
    for job_id, details in ends.items():
        job, attempt, ran = details["job"], details["attempt"], runs.get(job_id, Runs())
        gave_up = job["status"] == "failed" and job["error"]["code"] == "worker_lost" and attempt >= ATTEMPTS
        has_result = job["status"] == "succeeded" and bool(job["outputs"])
        count.succeeded += has_result
        count.gave_up += gave_up
        count.lost += not (has_result or gave_up)
        count.restarted += attempt > 1
        count.twice += ran.started > attempt or ran.overlapped > 0
        count.repeated += ran.completed > 1
        if not has_result:
            told(f"{job_id}: {job['status']} after {attempt} attempts, {ran}: {job['error']}")
    count.twice += sum(job_id not in ends for job_id in runs)
