"""The job API without any worker: admission, errors, limits, retention. Sizes and times: contracts in limits.py."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import pytest
from cloud import Cloud, ManualClock, running_cloud
from local_clouds.runpod import limits

NO_WORKER = ["/bin/sleep", "3600"]


async def test_refuses_a_missing_or_wrong_key_before_anything_else(cloud: Cloud) -> None:
    await cloud.register(NO_WORKER)
    for key in (None, "wrong"):
        assert (await cloud.call("POST", "/run", key=key, json={"input": {}})).status == 401
        assert (await cloud.call("GET", "/health", key=key)).status == 401
    assert (await cloud.workers()) == []


async def test_says_404_for_an_unknown_endpoint_and_an_unknown_job(cloud: Cloud) -> None:
    assert (await cloud.call("POST", "/run", json={"input": {}})).status == 404
    await cloud.register(NO_WORKER)
    assert (await cloud.call("GET", "/status/nothing")).status == 404
    assert (await cloud.call("POST", "/retry/nothing")).status == 404


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"no": "input"}',
        b'{"input": {}, "policy": {"executionTimeout": 4999}}',
        b'{"input": {}, "policy": {"ttl": 9999}}',
        b'{"input": {}, "policy": {"ttl": 604800001}}',
    ],
)
async def test_says_400_for_a_body_that_is_no_job(cloud: Cloud, body: bytes) -> None:
    await cloud.register(NO_WORKER)
    answer = await cloud.call("POST", "/run", data=body)
    assert answer.status == 400
    assert isinstance(answer.body["error"], str)


async def test_run_takes_10_mb_and_runsync_20_mb(cloud: Cloud) -> None:
    await cloud.register(NO_WORKER)
    large = json.dumps({"input": {"data": "x" * limits.RUN_BODY_BYTES}}).encode()
    too_large = json.dumps({"input": {"data": "x" * limits.RUNSYNC_BODY_BYTES}}).encode()
    assert (await cloud.call("POST", "/run", data=large)).status == 400
    assert (await cloud.call("POST", "/runsync?wait=1000", data=large)).status == 200
    assert (await cloud.call("POST", "/runsync?wait=1000", data=too_large)).status == 400


async def test_runsync_answers_a_job_that_has_not_ended_when_its_wait_is_over(cloud: Cloud) -> None:
    await cloud.register(NO_WORKER)
    answer = await cloud.call("POST", "/runsync?wait=1000", json={"input": {}})
    assert answer.body == {"id": answer.body["id"], "status": "IN_QUEUE"}


async def test_a_queued_job_can_be_cancelled_and_never_runs(cloud: Cloud) -> None:
    await cloud.register(NO_WORKER)
    job = await cloud.run({})
    assert (await cloud.call("POST", f"/cancel/{job}")).body == {"id": job, "status": "CANCELLED"}
    health = (await cloud.call("GET", "/health")).body
    assert health["jobs"]["inQueue"] == 0
    assert (await cloud.status(job))["status"] == "CANCELLED"


async def test_purge_takes_every_waiting_job(cloud: Cloud) -> None:
    await cloud.register(NO_WORKER)
    for _ in range(3):
        await cloud.run({})
    assert (await cloud.call("POST", "/purge-queue")).body == {"removed": 3, "status": "completed"}
    assert (await cloud.call("GET", "/health")).body["jobs"]["inQueue"] == 0


async def test_says_429_beyond_the_published_rate(cloud: Cloud) -> None:
    await cloud.register(NO_WORKER)
    calls, _ = limits.RATE_LIMITS["purge-queue"]
    statuses = [(await cloud.call("POST", "/purge-queue")).status for _ in range(calls + 1)]
    assert statuses == [200] * calls + [429]


async def test_results_of_run_are_kept_30_minutes_and_of_runsync_one(
    tmp_path: Path, clock: ManualClock
) -> None:
    async with running_cloud(tmp_path, now=clock) as cloud:
        await cloud.register(NO_WORKER)
        job = await cloud.run({})
        sync = (await cloud.call("POST", "/runsync?wait=1000", json={"input": {}})).body["id"]
        for each in (job, sync):
            await cloud.call("POST", f"/cancel/{each}")
        clock.pass_seconds(59)
        assert (await cloud.status(sync))["status"] == "CANCELLED"
        clock.pass_seconds(2)
        assert (await cloud.call("GET", f"/status/{sync}")).status == 404
        clock.pass_seconds(28 * 60)
        assert (await cloud.status(job))["status"] == "CANCELLED"
        clock.pass_seconds(2 * 60)
        assert (await cloud.call("GET", f"/status/{job}")).status == 404


async def test_a_job_older_than_its_ttl_is_gone(tmp_path: Path, clock: ManualClock) -> None:
    async with running_cloud(tmp_path, now=clock) as cloud:
        await cloud.register(NO_WORKER)
        job = await cloud.run({}, policy={"ttl": 10_000})
        clock.pass_seconds(11)
        assert (await cloud.call("GET", f"/status/{job}")).status == 404


async def test_status_can_shorten_how_long_a_job_is_kept(tmp_path: Path, clock: ManualClock) -> None:
    async with running_cloud(tmp_path, now=clock) as cloud:
        await cloud.register(NO_WORKER)
        job = await cloud.run({})
        assert (await cloud.call("GET", f"/status/{job}?ttl=6000")).status == 200
        clock.pass_seconds(7)
        assert (await cloud.call("GET", f"/status/{job}")).status == 404


@pytest.mark.parametrize("path", ["/runsync?wait=soon", "/status/nothing?ttl=soon"])
async def test_says_400_for_a_number_that_is_none(cloud: Cloud, path: str) -> None:
    await cloud.register(NO_WORKER)
    job = await cloud.run({})
    method, path = ("GET", path.replace("nothing", job)) if "status" in path else ("POST", path)
    assert (await cloud.call(method, path, json={"input": {}})).status == 400


@pytest.mark.parametrize(("fault", "exists"), [("drop-before-accept", False), ("drop-after-accept", True)])
async def test_a_lost_answer_to_run_leaves_a_job_or_none(cloud: Cloud, fault: str, exists: bool) -> None:
    await cloud.register(NO_WORKER)
    await cloud.control("PUT", "/faults", [f"{fault}:1"])
    with pytest.raises(aiohttp.ClientError):
        await cloud.call("POST", "/run", json={"input": {}})
    jobs = (await cloud.control("GET", "/state"))["endpoints"]["ep"]["jobs"]
    assert len(jobs) == int(exists)


async def test_faults_strike_the_named_operation_so_often_as_told(cloud: Cloud) -> None:
    await cloud.register(NO_WORKER)
    job = await cloud.run({})
    await cloud.control("PUT", "/faults", ["http-error=status/503:2"])
    assert (await cloud.call("GET", "/health")).status == 200
    assert [(await cloud.call("GET", f"/status/{job}")).status for _ in range(3)] == [503, 503, 200]


async def test_a_truncated_answer_is_no_answer(cloud: Cloud) -> None:
    await cloud.register(NO_WORKER)
    job = await cloud.run({})
    await cloud.control("PUT", "/faults", ["truncated-json:1"])
    with pytest.raises(aiohttp.ClientError):
        await cloud.call("GET", f"/status/{job}")
    assert (await cloud.status(job))["status"] == "IN_QUEUE"
