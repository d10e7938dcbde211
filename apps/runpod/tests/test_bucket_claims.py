"""Claims in a bucket, on the workspace's own S3."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from comfy_worker import ClaimsUnavailable, JobAlreadyClaimed, ResultKept
from comfy_worker.claims import KEEP
from local_clouds.engine import engine_environment
from local_clouds.s3 import LocalS3, S3Settings
from ryla_runpod.bucket_claims import FOLDER, BucketClaims
from ryla_runpod.claims import claims_from_env
from ryla_runpod.result_bucket import ResultBucket

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools/local-clouds/tests/runpod"))

from cloud import Cloud, running_cloud


@pytest.fixture
async def s3(tmp_path: Path) -> AsyncIterator[LocalS3]:
    """An empty bucket."""
    folder = tmp_path / "bucket"
    folder.mkdir()
    server = LocalS3(S3Settings(folder))
    await server.start()
    yield server
    await server.stop()


def variables(s3: LocalS3) -> dict[str, str]:
    """What an endpoint of this bucket has in its environment."""
    settings = s3.settings
    return {
        "BUCKET_ENDPOINT_URL": f"{s3.url}/{settings.bucket}",
        "BUCKET_ACCESS_KEY_ID": settings.access_key,
        "BUCKET_SECRET_ACCESS_KEY": settings.secret_key,
        "BUCKET_REGION": settings.data_center,
    }


def claims_of(s3: LocalS3, lease: float = 60) -> BucketClaims:
    """The claims as one worker sees them, with connections of its own."""
    bucket = ResultBucket.from_env(variables(s3))
    assert bucket is not None
    return BucketClaims(bucket, lease)


def stored(s3: LocalS3) -> list[dict[str, Any]]:
    """What is in the bucket."""
    return [json.loads(item.read(0, item.size)) for item in s3.store.all(FOLDER)]


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.01)


async def test_of_two_workers_one_runs_the_job_fifty_times_whatever_the_bucket_answers(s3: LocalS3) -> None:
    workers = [claims_of(s3), claims_of(s3)]
    for worker in workers:
        await worker.check()
    # Late or lost answers, refusals because two come at once, and a server that fails now and then.
    for fault in ("conflict=0.2", "reset-put=0.1"):
        s3.faults.add(fault)
    ran: list[str] = []

    async def deliver(number: int, job: str) -> str:
        try:
            async with workers[number].claim(job, {"delivery": number}) as claim:
                ran.append(job)
                await asyncio.sleep(0)
                await claim.commit({"by": number})
                await claim.delivered()
        except ResultKept as kept:
            return f"kept {kept.result['by']}"
        except JobAlreadyClaimed as error:
            return f"claimed by {error.details['delivery']}"
        return f"ran {number}"

    for round_ in range(50):
        job = f"job {round_}"
        answers = await asyncio.gather(*(deliver(number, job) for number in (0, 1)))
        assert ran.count(job) == 1, answers
        (winner,) = (answer[-1] for answer in answers if answer.startswith("ran"))
        assert all(answer[-1] == winner for answer in answers), answers
    s3.faults.remove()
    documents = stored(s3)
    assert len(documents) == 50  # nothing is left of the checks
    assert {(one["state"], one["attempt"]) for one in documents} == {("done", 1)}


async def test_a_failed_attempt_frees_the_job_at_once(s3: LocalS3) -> None:
    claims = claims_of(s3)
    with pytest.raises(ValueError, match="on purpose"):
        async with claims.claim("job", {"delivery": 1}):
            raise ValueError("on purpose")
    async with claims.claim("job", {"delivery": 2}) as claim:
        assert claim.attempt == 2


async def test_a_dead_holder_is_replaced_after_its_lease_and_cannot_commit_any_more(s3: LocalS3) -> None:
    first, _ = await claims_of(s3)._take("job", {"delivery": 1, "worker": "a"})  # pyright: ignore[reportPrivateUsage]
    other = claims_of(s3)
    with pytest.raises(JobAlreadyClaimed) as held:
        async with other.claim("job", {"delivery": 2}):
            pass
    assert held.value.details == {"delivery": 1, "worker": "a", "attempt": 1}
    (file,) = (s3.settings.folder / FOLDER).iterdir()
    os.utime(file, (0, 0))
    async with other.claim("job", {"delivery": 2}) as second:
        assert second.attempt == 2
        with pytest.raises(JobAlreadyClaimed) as late:
            await first.commit()
        assert late.value.details["delivery"] == 2
        await second.commit()


async def test_a_renewed_lease_is_not_taken_and_the_same_delivery_waits_for_a_dead_holder(
    s3: LocalS3,
) -> None:
    claims = claims_of(s3, lease=0.6)
    async with claims.claim("alive", {"delivery": 1}) as claim:
        etags: set[str] = set()
        # Renewed every 0.1 s, so this is beyond the first lease.
        await eventually(lambda: etags.add(claim.etag) is None and len(etags) > 8)
    dead, _ = await claims._take("dead", {"delivery": 1, "worker": "a"})  # pyright: ignore[reportPrivateUsage]
    async with claims.claim("dead", {"delivery": 1, "worker": "b"}) as claim:
        assert (dead.attempt, claim.attempt) == (1, 2)


async def test_a_holder_that_was_replaced_is_stopped(s3: LocalS3) -> None:
    other = {"state": "held", "attempt": 2, "holder": {"delivery": 2}}
    stopped: list[str] = []

    async def run() -> None:
        async with claims_of(s3, lease=0.6).claim("job", {"delivery": 1}) as claim:
            s3.store.hold(claim.key, json.dumps(other).encode())
            try:
                await asyncio.sleep(60)
            finally:
                stopped.append(claim.job_id)

    with pytest.raises(JobAlreadyClaimed) as caught:
        await run()
    assert stopped == ["job"]
    assert caught.value.details == {"delivery": 2, "attempt": 2}
    assert stored(s3) == [other]


async def test_a_holder_that_cannot_renew_is_stopped_before_another_may_begin(s3: LocalS3) -> None:
    async def run() -> None:
        async with claims_of(s3, lease=0.6).claim("job", {"delivery": 1}):
            s3.faults.add("http-error=put/503")
            await asyncio.sleep(60)

    with pytest.raises(ClaimsUnavailable, match="could not be renewed") as caught:
        await run()
    assert caught.value.retryable


async def test_a_result_is_kept_until_it_is_delivered(s3: LocalS3) -> None:
    claims = claims_of(s3)
    async with claims.claim("job", {"delivery": 1, "worker": "a"}) as claim:
        await claim.commit({"images": []})
    with pytest.raises(ResultKept) as kept:
        async with claims.claim("job", {"delivery": 1, "worker": "b"}):
            pass
    assert kept.value.result == {"images": []}
    await claim.delivered()
    with pytest.raises(JobAlreadyClaimed) as done:
        async with claims.claim("job", {"delivery": 1, "worker": "b"}):
            pass
    assert type(done.value) is JobAlreadyClaimed
    assert done.value.details == {"delivery": 1, "worker": "a", "attempt": 1}


@pytest.mark.parametrize("fault", ["ignore-conditions", "refuse-conditions"])
async def test_a_bucket_that_knows_no_conditions_is_told_and_runs_nothing(s3: LocalS3, fault: str) -> None:
    s3.faults.add(fault)
    claims = claims_of(s3)
    for _ in range(2):
        with pytest.raises(ClaimsUnavailable, match="conditional puts") as caught:
            async with claims.claim("job", {"delivery": 1}):
                raise AssertionError("it ran")
        assert caught.value.hint is not None
        assert "RYLA_CLAIMS=none" in caught.value.hint
    assert stored(s3) == []
    s3.faults.remove()
    async with claims.claim("job", {"delivery": 1}) as claim:
        assert claim.attempt == 1


async def test_wrong_keys_are_told_with_what_to_look_at(s3: LocalS3) -> None:
    bucket = ResultBucket.from_env({**variables(s3), "BUCKET_SECRET_ACCESS_KEY": "other"})
    assert bucket is not None
    with pytest.raises(ClaimsUnavailable, match="SignatureDoesNotMatch") as caught:
        await BucketClaims(bucket).check()
    assert "BUCKET_REGION" in (caught.value.hint or "")


def test_where_claims_are_kept_follows_from_the_environment(tmp_path: Path) -> None:
    bucket = ResultBucket("https://s3.example.com/b", "k", "s")
    folder = {"RYLA_CLAIMS_DIR": str(tmp_path)}
    assert type(claims_from_env(folder, bucket)).__name__ == "DirectoryClaims"
    assert type(claims_from_env({}, bucket)).__name__ == "BucketClaims"
    assert type(claims_from_env({**folder, "RYLA_CLAIMS": "bucket"}, bucket)).__name__ == "BucketClaims"
    assert claims_from_env({**folder, "RYLA_CLAIMS": "none"}, bucket) is None
    assert claims_from_env({}, None) is None
    for wrong in ("bucket", "volume", "both"):
        with pytest.raises(ValueError, match="RYLA_CLAIMS"):
            claims_from_env({"RYLA_CLAIMS": wrong}, None)


def workflow() -> dict[str, Any]:
    """One plain picture."""
    picture = {"width": 16, "height": 8, "batch_size": 1, "color": 0xFF0000}
    return {
        "1": {"class_type": "EmptyImage", "inputs": picture},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "red"}},
    }


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Cloud]:
    """A local RunPod."""
    async with running_cloud(tmp_path / "cloud", worker_environment=engine_environment({})) as started:
        yield started


async def test_a_worker_that_is_killed_in_mid_run_is_replaced_by_the_next(cloud: Cloud, s3: LocalS3) -> None:
    command = [sys.executable, "-m", "ryla_runpod"]
    environment = {**variables(s3), "RYLA_LEASE_SECONDS": "1"}
    await cloud.register(command, env={**environment, "COMFY_SIM_FAULTS": "slow=60"})
    job = {"workflow": workflow(), "jobId": str(uuid.uuid4())}
    first = await cloud.run(job)
    await cloud.eventually(lambda: cloud.status(first), lambda found: "output" in found)  # it runs in ComfyUI
    await cloud.register(command, env=environment)  # the next worker is not slow
    os.kill((await cloud.workers())[0]["pid"], signal.SIGKILL)
    assert (await cloud.ended(first))["status"] == "FAILED"
    assert stored(s3)[0]["state"] == "held"

    async def again() -> dict[str, Any]:
        return await cloud.ended(await cloud.run(job))

    done = await cloud.eventually(again, lambda found: found["status"] == "COMPLETED", seconds=60)
    assert done["output"]["attempt"] == 2
    assert len(done["output"]["images"]) == 1


async def test_claims_are_kept_for_a_week_and_then_go_wherever_the_look_begins(s3: LocalS3) -> None:
    claims = claims_of(s3)
    for number in range(12):
        async with claims.claim(f"job-{number}", {"delivery": number}) as claim:
            await claim.commit()
    s3.store.hold("results/picture.png", b"x", modified=1.0)
    keys = sorted(item.key for item in s3.store.all(FOLDER))
    for key in keys[:7]:
        path = Path(s3.settings.folder) / key
        week_ago = path.stat().st_mtime - KEEP - 60
        os.utime(path, (week_ago, week_ago))
    assert await claims.prune() == 7
    assert sorted(item.key for item in s3.store.all(FOLDER)) == keys[7:]
    assert await claims.prune() == 0
    assert s3.store.get("results/picture.png") is not None


async def test_a_bucket_whose_keys_may_not_list_leaves_old_claims(
    s3: LocalS3, capsys: pytest.CaptureFixture[str]
) -> None:
    s3.faults.add("http-error=list/403")
    assert await claims_of(s3).prune() == 0
    assert "lifecycle rule below .ryla/claims/" in capsys.readouterr().out
