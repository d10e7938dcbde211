"""The real `runpod` worker SDK on the local control plane."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cloud import Cloud, ManualClock, is_alive, running_cloud
from local_clouds.runpod import limits, workers


async def test_a_job_runs_from_zero_workers_and_says_how_long_it_took(cloud: Cloud) -> None:
    await cloud.register()
    assert await cloud.workers() == []
    job = await cloud.ended(await cloud.run({"text": "é"}))
    assert job["status"] == "COMPLETED"
    assert job["output"]["echo"] == {"text": "é"}
    assert job["delayTime"] > 0
    assert job["executionTime"] >= 0
    assert job["workerId"] == (await cloud.workers())[0]["id"]


async def test_a_warm_worker_takes_the_next_job_whatever_became_of_the_last(cloud: Cloud) -> None:
    await cloud.register()
    failed = await cloud.ended(await cloud.run({"do": "fail"}))
    assert (failed["status"], failed["error"]) == ("FAILED", "it went wrong")
    assert failed["output"] == {"details": ["why"]}
    raised = await cloud.ended(await cloud.run({"do": "raise"}))
    assert raised["status"] == "FAILED"
    assert "raised in the handler" in raised["error"]
    empty = await cloud.ended(await cloud.run({"do": "nothing"}))
    assert empty["status"] == "COMPLETED"
    assert "output" not in empty
    health = (await cloud.call("GET", "/health")).body
    assert (health["jobs"]["completed"], health["jobs"]["failed"]) == (1, 2)
    assert len({job["workerId"] for job in (failed, raised, empty)}) == 1


async def test_runsync_answers_the_ended_job(cloud: Cloud) -> None:
    await cloud.register()
    answer = await cloud.call("POST", "/runsync?wait=30000", json={"input": {"n": 1}})
    assert answer.body["status"] == "COMPLETED"
    assert answer.body["output"]["echo"] == {"n": 1}


async def test_progress_shows_in_status_and_cancel_interrupts_the_handler(cloud: Cloud) -> None:
    await cloud.register()
    job = await cloud.run({"do": "progress"})
    running = await cloud.eventually(lambda: cloud.status(job), lambda found: "output" in found)
    assert (running["status"], running["output"]) == ("IN_PROGRESS", {"step": 1})
    assert (await cloud.call("POST", f"/cancel/{job}")).body["status"] == "CANCELLED"
    after = await cloud.ended(await cloud.run({"n": 2}))
    assert after["workerId"] == running["workerId"]  # told to stop, not killed
    assert (await cloud.status(job))["status"] == "CANCELLED"


async def test_streamed_pieces_are_handed_out_once(cloud: Cloud) -> None:
    await cloud.register(env={"SAMPLE_HANDLER": "streaming"})
    job = await cloud.run({"pieces": [1, 2, 3]})
    ended = await cloud.ended(job)
    assert ended["output"] == [1, 2, 3]
    first = (await cloud.call("GET", f"/stream/{job}")).body
    assert first == {"status": "COMPLETED", "stream": [{"output": 1}, {"output": 2}, {"output": 3}]}
    assert (await cloud.call("GET", f"/stream/{job}")).body["stream"] == []


async def test_a_worker_that_dies_fails_its_job_and_the_next_job_gets_another(cloud: Cloud) -> None:
    await cloud.register()
    job = await cloud.ended(await cloud.run({"do": "die"}))
    assert job["status"] == "FAILED"
    assert "exited with code -9" in job["error"]
    after = await cloud.ended(await cloud.run({"n": 1}))
    assert after["status"] == "COMPLETED"
    assert after["workerId"] != job["workerId"]


async def test_a_failed_job_can_be_retried_under_its_id(cloud: Cloud) -> None:
    await cloud.register()
    await cloud.control("PUT", "/faults", ["kill-worker:1"])
    job = await cloud.run({"n": 1})
    assert (await cloud.ended(job))["status"] == "FAILED"
    assert (await cloud.call("POST", f"/retry/{job}")).body == {"id": job, "status": "IN_QUEUE"}
    assert (await cloud.until(job, "COMPLETED"))["output"]["echo"] == {"n": 1}
    assert (await cloud.call("GET", "/health")).body["jobs"]["retried"] == 1
    assert (await cloud.call("POST", f"/retry/{job}")).status == 400


async def test_idle_workers_end_and_the_next_job_starts_cold(cloud: Cloud) -> None:
    await cloud.register(idleTimeoutMs=300)
    first = await cloud.ended(await cloud.run({}))
    pid = first["output"]["pid"]
    await cloud.eventually(cloud.workers, lambda workers: workers == [])
    assert not is_alive(pid)
    second = await cloud.ended(await cloud.run({}))
    assert second["workerId"] != first["workerId"]
    assert (await cloud.control("GET", "/state"))["endpoints"]["ep"]["workersStarted"] == 2


async def test_two_waiting_jobs_get_two_workers_and_no_more_than_allowed(cloud: Cloud) -> None:
    await cloud.register(workersMax=2)
    jobs = [await cloud.run({"do": "hang"}) for _ in range(3)]
    for job in jobs[:2]:
        await cloud.until(job, "IN_PROGRESS")
    assert len(await cloud.workers()) == 2
    assert (await cloud.status(jobs[2]))["status"] == "IN_QUEUE"
    health = (await cloud.call("GET", "/health")).body
    assert health["workers"]["running"] == 2


async def test_refresh_worker_replaces_the_worker(cloud: Cloud) -> None:
    await cloud.register()
    first = await cloud.ended(await cloud.run({"do": "refresh"}))
    second = await cloud.ended(await cloud.run({}))
    assert first["output"]["pid"] != second["output"]["pid"]


async def test_a_job_that_runs_too_long_is_timed_out_and_its_worker_replaced(
    tmp_path: Path, clock: ManualClock
) -> None:
    async with running_cloud(tmp_path, now=clock) as cloud:
        await cloud.register()
        job = await cloud.run({"do": "block"}, policy={"executionTimeout": 5_000})
        running = await cloud.until(job, "IN_PROGRESS")
        clock.pass_seconds(6)
        assert (await cloud.ended(job))["status"] == "TIMED_OUT"
        after = await cloud.ended(await cloud.run({}))
        assert after["workerId"] != running["workerId"]


async def test_a_lost_result_is_completed_without_output(cloud: Cloud) -> None:
    await cloud.register()
    await cloud.control("PUT", "/faults", ["lose-result:1"])
    job = await cloud.ended(await cloud.run({}))
    assert job["status"] == "COMPLETED"
    assert "output" not in job


async def test_a_webhook_carries_the_envelope_and_the_input(cloud: Cloud) -> None:
    received: list[dict[str, Any]] = []

    async def receive(request: web.Request) -> web.Response:
        received.append(await request.json())
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", receive)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        await cloud.register()
        await cloud.control("PUT", "/faults", ["duplicate-webhook:1"])
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        job = await cloud.run({"n": 1}, webhook=url)

        async def copies() -> int:
            return len(received)

        await cloud.eventually(copies, lambda count: count == 2)
        assert received[0] == received[1]
        assert (received[0]["id"], received[0]["status"]) == (job, "COMPLETED")
        assert received[0]["input"] == {"n": 1}
    finally:
        await runner.cleanup()


async def test_stopping_leaves_no_process(tmp_path: Path) -> None:
    async with running_cloud(tmp_path) as cloud:
        await cloud.register()
        job = await cloud.run({"do": "block"})
        await cloud.until(job, "IN_PROGRESS")
        pid = (await cloud.workers())[0]["pid"]
        group = [int(entry.name) for entry in Path("/proc").iterdir() if _in_group(entry, pid)]
        assert pid in group
    assert [each for each in group if is_alive(each)] == []


async def test_an_outside_kill_of_the_worker_is_noticed(cloud: Cloud) -> None:
    await cloud.register()
    job = await cloud.run({"do": "hang"})
    await cloud.until(job, "IN_PROGRESS")
    os.kill((await cloud.workers())[0]["pid"], signal.SIGKILL)
    assert (await cloud.ended(job))["status"] == "FAILED"


async def test_an_endpoint_scales_to_zero_after_a_cancelled_job(cloud: Cloud) -> None:
    await cloud.register(idleTimeoutMs=300)
    job = await cloud.run({"do": "progress"})
    await cloud.eventually(lambda: cloud.status(job), lambda found: "output" in found)
    await cloud.call("POST", f"/cancel/{job}")
    await cloud.eventually(cloud.workers, lambda workers: workers == [], seconds=8)


async def test_a_job_cancelled_the_moment_it_is_taken_frees_the_worker(cloud: Cloud) -> None:
    await cloud.register()
    job = await cloud.run({"do": "hang"})
    worker = await cloud.eventually(cloud.workers, lambda workers: any(w["jobs"] for w in workers))
    await cloud.call("POST", f"/cancel/{job}")
    after = await cloud.ended(await cloud.run({}))
    assert after["workerId"] == worker[0]["id"]


async def test_a_worker_that_does_not_let_go_of_a_cancelled_job_is_replaced(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "CANCEL_GRACE", 0.5)
    await cloud.register()
    job = await cloud.run({"do": "block"})
    running = await cloud.until(job, "IN_PROGRESS")
    await cloud.call("POST", f"/cancel/{job}")
    after = await cloud.ended(await cloud.run({}))
    assert after["workerId"] != running["workerId"]
    assert (await cloud.status(job))["status"] == "CANCELLED"


async def test_a_running_job_whose_ttl_ends_is_deleted_and_its_worker_freed(
    tmp_path: Path, clock: ManualClock
) -> None:
    async with running_cloud(tmp_path, now=clock) as cloud:
        await cloud.register()
        job = await cloud.run({"do": "progress"}, policy={"ttl": 10_000})
        running = await cloud.eventually(lambda: cloud.status(job), lambda found: "output" in found)
        clock.pass_seconds(11)
        assert (await cloud.call("GET", f"/status/{job}")).status == 404
        after = await cloud.ended(await cloud.run({}))
        assert after["workerId"] == running["workerId"]


async def test_workers_that_end_at_once_are_started_with_pauses(cloud: Cloud) -> None:
    await cloud.register(["/bin/false"])
    await cloud.run({})
    paused = "was never ready; next start in 1.0 s"

    async def lines() -> list[str]:
        return [line for line in cloud.lines if paused in line]

    await cloud.eventually(lines, bool)
    started = (await cloud.control("GET", "/state"))["endpoints"]["ep"]["workersStarted"]
    assert started == 2


async def test_a_result_that_is_too_large_is_completed_without_output(cloud: Cloud) -> None:
    await cloud.register()
    job = await cloud.ended(await cloud.run({"do": "large", "bytes": limits.RESULT_BYTES}))
    assert job["status"] == "COMPLETED"
    assert "output" not in job


def _in_group(entry: Path, group: int) -> bool:
    if not entry.name.isdigit():
        return False
    try:
        return os.getpgid(int(entry.name)) == group
    except ProcessLookupError:
        return False
