"""What a good engine never does; comfy-sim does it on demand."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from comfy_worker import (
    ComfyProcess,
    EngineConfig,
    EngineCrashed,
    EngineUnavailable,
    JobCanceled,
    JobTimedOut,
    OutOfMemory,
    OutputMissing,
    Progress,
    Worker,
    hang,
    job_run,
)
from worker_jobs import SIMULATOR, job, new_color, picture_workflow, simulator


async def test_crash_is_told_with_exit_code_and_the_next_job_runs_on_a_new_process() -> None:
    async with Worker(simulator()) as worker:
        await set_faults(worker, "crash=SaveImage:1")
        first = worker.process.pid
        with pytest.raises(EngineCrashed, match="exit code 139") as caught:
            await worker.run_job(job(picture_workflow(new_color()))).outputs()
        assert caught.value.details["exitCode"] == 139
        assert any("GUI" in line for line in caught.value.details["log"])
        following = worker.run_job(job(picture_workflow(new_color())))
        assert len(await following.outputs()) == 1
        assert following.timings.boot_ms > 0
        assert worker.process.pid != first


async def test_kill_from_outside_is_told_as_perhaps_out_of_memory() -> None:
    async with Worker(simulator("--sim-fault", "hang=SaveImage")) as worker:
        running = worker.run_job(job(picture_workflow(new_color())))
        await until_node(running, "9")
        assert worker.process.pid is not None
        os.kill(worker.process.pid, signal.SIGKILL)
        with pytest.raises(EngineCrashed, match=r"exit code -9.*out of memory"):
            await running.outputs()


async def test_out_of_memory_is_told_apart() -> None:
    async with Worker(simulator("--sim-fault", "oom=ImageBlur:1")) as worker:
        with pytest.raises(OutOfMemory) as caught:
            await worker.run_job(job(picture_workflow(new_color(), blurs=1))).outputs()
        assert (caught.value.code, caught.value.node_id, caught.value.class_type) == (
            "out_of_memory",
            "b0",
            "ImageBlur",
        )
        assert len(await worker.run_job(job(picture_workflow(new_color(), blurs=1))).outputs()) == 1


async def test_lost_sockets_lose_no_job() -> None:
    async with Worker(simulator("--sim-fault", "drop-websocket")) as worker:
        running = worker.run_job(job(picture_workflow(new_color(), blurs=2)))
        async with asyncio.timeout(30):
            assert len(await running.outputs()) == 1


@pytest.mark.parametrize("by", ["cancel", "timeout"])
async def test_a_hung_engine_is_killed_and_started_again(by: str) -> None:
    async with Worker(simulator("--sim-fault", "hang=SaveImage", cancel_timeout=0.3)) as worker:
        running = worker.run_job(job(picture_workflow(new_color()), timeout=1 if by == "timeout" else None))
        await until_node(running, "9")
        if by == "cancel":
            await running.cancel()
        with pytest.raises(JobCanceled if by == "cancel" else JobTimedOut):
            await running.outputs()
        assert not worker.process.alive
        await worker.ensure_ready()
        assert worker.process.alive


@pytest.mark.parametrize("fault", ["truncate-view", "lose-output"])
async def test_output_that_cannot_be_read_whole_leaves_no_file(fault: str, tmp_path: Path) -> None:
    async with Worker(simulator("--sim-fault", fault)) as worker:
        (output,) = await worker.run_job(job(picture_workflow(new_color()))).outputs()
        with pytest.raises(OutputMissing):
            await output.save(tmp_path / "a.png")
        assert list(tmp_path.iterdir()) == []


async def test_an_engine_that_refuses_is_unavailable_not_the_workflow_wrong() -> None:
    async with Worker(simulator("--sim-fault", "refuse")) as worker:
        with pytest.raises(EngineUnavailable):
            await worker.run_job(job(picture_workflow(new_color()))).outputs()


async def test_end_before_readiness_shows_the_log(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("raise SystemExit('no CUDA here')")
    with pytest.raises(EngineUnavailable, match="exit code 1") as caught:
        await ComfyProcess(EngineConfig(directory=tmp_path)).start()
    assert "no CUDA here" in caught.value.details["log"]


async def test_silence_until_the_start_limit(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import time; time.sleep(60)")
    process = ComfyProcess(EngineConfig(directory=tmp_path, start_timeout=0.3))
    with pytest.raises(EngineUnavailable, match=r"within 0\.3 s"):
        await process.start()
    assert not process.alive


async def test_cancelled_start_leaves_no_process(tmp_path: Path) -> None:
    started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    (tmp_path / "main.py").write_text("import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    process = ComfyProcess(
        EngineConfig(directory=tmp_path), on_log=lambda line: started.set_result(int(line))
    )
    start = asyncio.create_task(process.start())
    pid = await started
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert not is_running(pid)


async def test_a_child_that_holds_the_log_open_hides_no_crash(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(
        textwrap.dedent("""
        import subprocess, sys
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        print("fatal", flush=True)
        sys.exit(3)
        """)
    )
    async with asyncio.timeout(30):
        with pytest.raises(EngineUnavailable, match="exit code 3"):
            await ComfyProcess(EngineConfig(directory=tmp_path)).start()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
async def test_a_killed_worker_leaves_no_engine(tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        import asyncio
        from pathlib import Path
        from comfy_worker import EngineConfig, Worker
        async def main():
            async with Worker(EngineConfig(directory=Path({str(SIMULATOR)!r}))) as worker:
                print(worker.process.pid, flush=True)
                await asyncio.Event().wait()
        asyncio.run(main())
        """)
    # Nobody is left to remove what it leaves behind.
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        pid = int(await asyncio.to_thread(parent.stdout.readline))
        parent.kill()
    async with asyncio.timeout(30):
        while is_running(pid):
            await asyncio.sleep(0.01)


async def set_faults(worker: Worker, *faults: str) -> None:
    async with worker.client.session.put(f"{worker.client.url}/_sim/faults", json=list(faults)) as response:
        assert response.status == 200


async def until_node(running: object, node_id: str) -> None:
    async for event in running:  # type: ignore[attr-defined]
        if isinstance(event, Progress) and event.current_node == node_id:
            return


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_frozen_engine_is_noticed_named_and_replaced() -> None:
    async with Worker(replace(simulator(), hang_timeout=1.5)) as worker:
        await set_faults(worker, "slow=60:1")
        running = worker.run_job(job(picture_workflow(new_color())))
        await until_node(running, "1")
        frozen = worker.process.pid
        assert frozen is not None
        os.killpg(frozen, signal.SIGSTOP)
        with pytest.raises(EngineCrashed, match="no answer for") as caught:
            await running.outputs()
        assert caught.value.details["reason"] == "unresponsive"
        assert not is_running(frozen)
        assert len(await worker.run_job(job(picture_workflow(new_color()))).outputs()) == 1


async def test_an_engine_that_takes_no_prompt_any_more_is_noticed_and_replaced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hang, "STALL_TIMEOUT", 0.3)
    monkeypatch.setattr(job_run, "QUIET_CHECK", 0.1)
    (tmp_path / "main.py").write_text(STALLED_ENGINE)
    async with Worker(EngineConfig(directory=tmp_path, start_timeout=60)) as worker:
        stalled = worker.process.pid
        assert stalled is not None
        with pytest.raises(EngineCrashed, match="has run nothing") as caught:
            await worker.run_job(job(picture_workflow(1))).outputs()
        assert caught.value.details["reason"] == "stalled"
        assert not is_running(stalled)
        await worker.ensure_ready()
        assert worker.process.pid != stalled


async def test_out_of_memory_makes_comfyui_free_its_models() -> None:
    lines: list[str] = []
    async with Worker(simulator("--sim-fault", "oom=EmptyImage:1"), on_log=lines.append) as worker:
        freed = watch_frees(worker)
        with pytest.raises(OutOfMemory, match="ran out of memory"):
            await worker.run_job(job(picture_workflow(new_color()))).outputs()
        assert freed == [{"unload_models": True, "free_memory": True}]


def watch_frees(worker: Worker) -> list[object]:
    """The bodies of POST /free that go out from now on."""
    freed: list[object] = []
    post = worker.client._post  # pyright: ignore[reportPrivateUsage]

    async def watched(path: str, body: object) -> None:
        if path == "/free":
            freed.append(body)
        await post(path, body)  # type: ignore[arg-type]

    worker.client._post = watched  # type: ignore[method-assign]  # pyright: ignore[reportPrivateUsage]
    return freed


STALLED_ENGINE = """
import sys
from aiohttp import web

queued = []

async def prompt(request):
    queued.append([0, (await request.json())["prompt_id"]])
    return web.json_response({"prompt_id": queued[-1][1], "number": 0, "node_errors": {}})

async def socket(request):
    answer = web.WebSocketResponse()
    await answer.prepare(request)
    async for _ in answer:
        pass
    return answer

async def queue(request):
    return web.json_response({"queue_running": [], "queue_pending": queued})

async def nothing(request):
    return web.json_response({})

app = web.Application()
app.add_routes([web.post("/prompt", prompt), web.get("/ws", socket), web.get("/queue", queue)])
app.add_routes([web.get("/system_stats", nothing), web.get("/history/{id}", nothing)])
web.run_app(app, host="127.0.0.1", port=int(sys.argv[sys.argv.index("--port") + 1]))
"""
"""A ComfyUI whose execution thread has died: it answers and takes prompts, and runs none."""
