"""Claims over a shared folder."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from pathlib import Path

import pytest
from comfy_worker import ClaimsUnavailable, DirectoryClaims, JobAlreadyClaimed, ResultKept


class Clock:
    """Seconds that pass only when told, beginning with the real time: files carry their own."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


async def test_one_delivery_of_many_runs_the_job(tmp_path: Path) -> None:
    claims = DirectoryClaims(tmp_path)
    ran: list[int] = []

    async def deliver(number: int) -> str:
        try:
            async with claims.claim("job", {"delivery": number}) as claim:
                ran.append(number)
                await asyncio.sleep(0)
                await claim.commit()
        except JobAlreadyClaimed as error:
            return str(error.details["delivery"])
        return "ran"

    answers = await asyncio.gather(*(deliver(number) for number in range(20)))
    assert len(ran) == 1
    assert sorted(set(answers)) == sorted({"ran", str(ran[0])})


async def test_a_result_stays_with_the_delivery_that_made_it(tmp_path: Path) -> None:
    claims = DirectoryClaims(tmp_path)
    async with claims.claim("job", {"delivery": 1, "worker": "a"}) as claim:
        await claim.commit()
    with pytest.raises(JobAlreadyClaimed) as caught:
        async with claims.claim("job", {"delivery": 1, "worker": "b"}):
            pass
    assert caught.value.details == {"delivery": 1, "worker": "a", "attempt": 1}


async def test_a_result_is_kept_until_it_is_delivered(tmp_path: Path) -> None:
    claims = DirectoryClaims(tmp_path)
    async with claims.claim("job", {"delivery": 1, "worker": "a"}) as claim:
        await claim.commit({"images": ["x"]})
    for delivery in (1, 2):
        with pytest.raises(ResultKept) as kept:
            async with claims.claim("job", {"delivery": delivery, "worker": "b"}):
                pass
        assert kept.value.result == {"images": ["x"]}
        assert kept.value.details == {"delivery": 1, "worker": "a", "attempt": 1}
    await claim.delivered()
    with pytest.raises(JobAlreadyClaimed) as done:
        async with claims.claim("job", {"delivery": 2}):
            pass
    assert type(done.value) is JobAlreadyClaimed
    assert not list(tmp_path.glob("*.partial"))


async def test_a_failed_attempt_frees_the_job_at_once(tmp_path: Path) -> None:
    claims = DirectoryClaims(tmp_path)
    with pytest.raises(ValueError, match="on purpose"):
        async with claims.claim("job", {"delivery": 1}):
            raise ValueError("on purpose")
    async with claims.claim("job", {"delivery": 2}) as claim:
        assert claim.attempt == 2


async def test_a_dead_holder_is_replaced_after_its_lease_and_cannot_commit_any_more(tmp_path: Path) -> None:
    clock = Clock()
    claims = DirectoryClaims(tmp_path, lease=3600, now=clock)
    first, _ = await claims._take("job", {"delivery": 1})  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(JobAlreadyClaimed):
        async with claims.claim("job", {"delivery": 2}):
            pass
    clock.ahead = 3601
    async with claims.claim("job", {"delivery": 2}) as second:
        assert second.attempt == 2
        with pytest.raises(JobAlreadyClaimed):
            await first.commit()
        await second.commit()


async def test_a_holder_that_was_replaced_is_stopped(tmp_path: Path) -> None:
    stopped: list[str] = []

    async def run() -> None:
        async with DirectoryClaims(tmp_path, lease=0.3).claim("job", {"delivery": 1}) as claim:
            claim.later.write_text('{"delivery": 2}')
            try:
                await asyncio.sleep(60)
            finally:
                stopped.append(claim.job_id)

    with pytest.raises(JobAlreadyClaimed) as caught:
        await run()
    assert (stopped, caught.value.details) == (["job"], {"delivery": 2})


async def test_a_holder_that_cannot_renew_is_stopped_before_another_may_begin(tmp_path: Path) -> None:
    async def run() -> None:
        async with DirectoryClaims(tmp_path / "claims", lease=0.3).claim("job", {"delivery": 1}):
            (tmp_path / "claims").rename(tmp_path / "away")
            try:
                await asyncio.sleep(60)
            finally:
                (tmp_path / "away").rename(tmp_path / "claims")

    with pytest.raises(ClaimsUnavailable, match="could not be renewed"):
        await run()


async def test_a_holder_that_renews_is_not_stopped(tmp_path: Path) -> None:
    async with DirectoryClaims(tmp_path, lease=0.6).claim("job", {"delivery": 1}) as claim:
        times: set[int] = set()
        async with asyncio.timeout(30):
            while len(times) < 9:  # renewed every 0.1 s, so this is beyond the first lease
                times.add(claim.file.stat().st_mtime_ns)
                await asyncio.sleep(0.01)


async def test_the_same_delivery_waits_for_a_holder_that_may_have_died(tmp_path: Path) -> None:
    claims = DirectoryClaims(tmp_path, lease=0.05)
    await claims._take("job", {"delivery": 1, "worker": "dead"})  # pyright: ignore[reportPrivateUsage]
    async with claims.claim("job", {"delivery": 1, "worker": "next"}) as claim:
        assert claim.attempt == 2


def _claim(folder: Path, number: int, results: multiprocessing.Queue[tuple[int, bool]]) -> None:
    async def work() -> bool:
        try:
            async with DirectoryClaims(folder).claim("job", {"delivery": number}) as claim:
                await claim.commit()
        except JobAlreadyClaimed:
            return False
        return True

    results.put((number, asyncio.run(work())))


def test_processes_exclude_each_other(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[tuple[int, bool]] = context.Queue()
    children = [context.Process(target=_claim, args=(tmp_path, number, results)) for number in range(8)]
    for child in children:
        child.start()
    answers = [results.get(timeout=30) for _ in children]
    for child in children:
        child.join()
    assert sum(won for _, won in answers) == 1


async def test_any_job_id_is_a_file_name(tmp_path: Path) -> None:
    async with DirectoryClaims(tmp_path / "claims").claim("../../é/\0", {"delivery": 1}) as claim:
        assert claim.file.parent == tmp_path / "claims"


async def test_old_claims_are_pruned(tmp_path: Path) -> None:
    clock = Clock()
    claims = DirectoryClaims(tmp_path, now=clock)
    async with claims.claim("job", {"delivery": 1}) as claim:
        await claim.commit()
    assert claims.prune() == 0
    clock.ahead = 8 * 24 * 3600
    assert claims.prune() == 2
    assert list(tmp_path.iterdir()) == []
