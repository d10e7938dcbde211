"""One run: callers submit to both clouds while gateways and workers are killed; then everything is counted."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .clouds import Cloud, bucket, deployed
from .engine import NotedEngine, Runs
from .jobs import Caller, End
from .runpod_jobs import RunPodCaller

CALLERS = 6
"""Of Modal at once."""

RUNPOD_CALLERS = 2
"""Of each RunPod endpoint at once."""

LONGEST_PAUSE = 4.0
"""Seconds between two kills at most: long enough that work is done, short enough that little else is."""

SETTLE = 180.0
"""Seconds that the jobs have to end when nobody is killed any more."""

FUNCTIONS = {"gateway": "api", "worker": "ComfyWorker"}
KINDS = (*FUNCTIONS, "RunPod worker")


@dataclass
class Side:
    """What became of the jobs of one cloud."""

    submitted: int = 0
    accepted: int = 0
    unanswered: int = 0
    """Modal: submissions whose answer was lost. RunPod: submissions sent again."""
    succeeded: int = 0
    gave_up: int = 0
    """Told as failed with `worker_lost`, after the workers of all attempts were killed."""
    restarted: int = 0
    """Ran as a second or later attempt."""
    lost: int = 0
    """Accepted, and neither succeeded nor told as given up."""
    twice: int = 0
    """Begun more often than there were attempts, or after an end, or by two engines at a time."""
    committed_twice: int = 0
    """Delivered with two different results."""
    repeated: int = 0
    """Completed at an engine whose worker was killed before it could say so, and again by the next attempt."""

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, run twice or committed twice."""
        return self.lost == self.twice == self.committed_twice == 0 and self.accepted > 0


@dataclass
class Count:
    """What came out."""

    seed: int
    seconds: int = 0
    killed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    sides: dict[str, Side] = field(default_factory=dict[str, Side])

    @property
    def holds(self) -> bool:
        """Whether it does for every cloud."""
        return len(self.sides) > 0 and all(side.holds for side in self.sides.values())

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
    async with bucket(folder / "bucket") as variables, deployed(folder, engine.folder) as cloud:
        callers = await _callers(cloud, {"RYLA_CLAIMS_DIR": str(folder / "claims")}, variables, chance)
        stopped = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for caller in callers.values():
                for _ in range(CALLERS if isinstance(caller, Caller) else RUNPOD_CALLERS):
                    group.create_task(caller.submit_until(stopped))
            for caller in callers.values():
                await caller.begun.wait()
            await _kill(cloud, _Moments(kills, random.Random(seed + 1), longest_pause), count, told)
            stopped.set()
            async with asyncio.timeout(SETTLE):
                for caller in callers.values():
                    await asyncio.gather(*(caller.ended(job_id) for job_id in caller.accepted))
        # Those that were being submitted when it ended were accepted by now.
        ends = {
            name: {job_id: await caller.ended(job_id) for job_id in sorted(caller.accepted)}
            for name, caller in callers.items()
        }
    runs = engine.read()
    for name, caller in callers.items():
        side = Side(len(caller.submitted), len(caller.accepted), caller.unanswered)
        mine = {job_id: ran for job_id, ran in runs.items() if job_id in caller.submitted}
        _judge(side, ends[name], mine, told)
        count.sides[name] = side
    count.seconds = round(time.monotonic() - begun)
    return count


async def _callers(
    cloud: Cloud, volume: dict[str, str], in_bucket: dict[str, str], chance: random.Random
) -> dict[str, Caller | RunPodCaller]:
    runpod = cloud.runpod
    await runpod.register("volume", volume)
    await runpod.register("bucket", in_bucket)
    return {
        "Modal": Caller(cloud, chance),
        "RunPod, claims on a volume": RunPodCaller(runpod, "volume", chance),
        "RunPod, claims in a bucket": RunPodCaller(runpod, "bucket", chance),
    }


@dataclass(frozen=True)
class _Moments:
    kills: int
    chance: random.Random
    longest_pause: float


async def _kill(cloud: Cloud, moments: _Moments, count: Count, told: Callable[[str], None]) -> None:
    kills, chance = moments.kills, moments.chance
    while (done := sum(count.killed.values())) < kills:
        await asyncio.sleep(chance.uniform(0, moments.longest_pause))
        kind = chance.choice(KINDS)
        function = FUNCTIONS.get(kind)
        pids = await cloud.runpod.pids() if function is None else await cloud.pids(function)
        if not pids:
            continue
        pid = chance.choice(pids)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        count.killed[kind] += 1
        told(f"{done + 1}/{kills}: {kind} {pid} killed")


def _judge(side: Side, ends: dict[str, End], runs: dict[str, Runs], told: Callable[[str], None]) -> None:
    for job_id, end in ends.items():
        ran = runs.get(job_id, Runs())
        side.succeeded += end.has_result
        side.gave_up += end.gave_up
        side.lost += not (end.has_result or end.gave_up)
        side.restarted += end.attempt > 1
        side.twice += ran.started > end.attempt or ran.overlapped > 0
        side.committed_twice += end.commits > 1
        side.repeated += ran.completed > 1
        if not end.has_result or end.commits > 1 or ran.started > end.attempt or ran.overlapped:
            told(f"{job_id}: {end}, {ran}")
    side.twice += sum(job_id not in ends for job_id in runs)
