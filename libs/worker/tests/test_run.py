"""A job from its files to its outputs, on the configured engine."""

from __future__ import annotations

import asyncio
import hashlib
import struct
import zlib
from pathlib import Path

import pytest
from comfy_worker import (
    InputFile,
    InputFileRejected,
    JobCanceled,
    JobTimedOut,
    NodeFailed,
    OutputReady,
    Progress,
    Worker,
    WorkflowRejected,
)
from worker_jobs import job, new_color, picture_workflow

pytestmark = pytest.mark.asyncio(loop_scope="session")


def png(width: int = 8, height: int = 6) -> bytes:
    """A red PNG, written by hand so that the worker needs no image library."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = b"".join(b"\0" + b"\xff\0\0" * width for _ in range(height))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


async def test_events_end_with_all_nodes_done_and_outputs_can_be_read(worker: Worker, tmp_path: Path) -> None:
    running = worker.run_job(job(picture_workflow(new_color(), blurs=1)))
    events = [event async for event in running]
    progress = [event for event in events if isinstance(event, Progress)]
    values = [event.value for event in progress]
    assert values == sorted(values)
    assert (progress[-1].value, progress[-1].nodes_done, progress[-1].nodes_total) == (1.0, 3, 3)
    assert any(isinstance(event, OutputReady) for event in events)

    (output,) = await running.outputs()
    content = await output.read()
    assert content.startswith(b"\x89PNG")
    assert (output.node_id, output.kind, output.content_type) == ("9", "image", "image/png")
    saved = await output.save(tmp_path / "deep" / output.name)
    assert saved.read_bytes() == content
    assert output.sha256 == hashlib.sha256(content).hexdigest()
    assert output.size_bytes == len(content)
    assert [path.name for path in saved.parent.iterdir()] == [output.name]
    assert running.timings.execution_ms > 0


async def test_cached_nodes_count_as_done(worker: Worker) -> None:
    workflow = picture_workflow(new_color())
    await worker.run_job(job(workflow)).outputs()
    second = worker.run_job(job(workflow))
    progress = [event async for event in second if isinstance(event, Progress)]
    assert (progress[-1].nodes_done, progress[-1].nodes_total) == (2, 2)
    assert len(await second.outputs()) == 1


async def test_subfolder_is_kept(worker: Worker) -> None:
    (output,) = await worker.run_job(job(picture_workflow(new_color(), prefix="series/a"))).outputs()
    assert output.subfolder == "series"
    assert (await output.read()).startswith(b"\x89PNG")


async def test_text_is_an_output(worker: Worker) -> None:
    workflow = {"1": {"class_type": "PreviewAny", "inputs": {"source": "grüße"}}}
    (output,) = await worker.run_job(job(workflow)).outputs()
    assert (output.kind, await output.read()) == ("text", "grüße".encode())


async def test_previews_of_pictures_are_no_outputs(worker: Worker) -> None:
    workflow = picture_workflow(new_color())
    workflow["9"] = {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}
    assert await worker.run_job(job(workflow)).outputs() == []


@pytest.mark.parametrize("from_path", [False, True])
async def test_input_file_in_a_subfolder_reaches_its_node(
    worker: Worker, tmp_path: Path, from_path: bool
) -> None:
    path = tmp_path / "given.png"
    path.write_bytes(png())
    content = path if from_path else png()
    workflow = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "faces/red.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "red"}},
    }
    (output,) = await worker.run_job(job(workflow, files=[InputFile("faces/red.png", content)])).outputs()
    picture = await output.read()
    assert struct.unpack(">II", picture[16:24]) == (8, 6)


async def test_unreadable_input_file_is_named(worker: Worker, tmp_path: Path) -> None:
    files = [InputFile("a.png", tmp_path / "none.png")]
    with pytest.raises(InputFileRejected, match=r"a\.png"):
        await worker.run_job(job(picture_workflow(1), files=files)).outputs()


async def test_same_id_runs_once(worker: Worker) -> None:
    given = job(picture_workflow(new_color()))
    first = await worker.run_job(given).outputs()
    second = await worker.run_job(given).outputs()
    assert [output.name for output in first] == [output.name for output in second]


async def test_same_id_joins_the_run_in_flight(worker: Worker) -> None:
    given = job(picture_workflow(new_color(), blurs=4))
    first, second = worker.run_job(given), worker.run_job(given)
    await anext(first)
    names = [
        [output.name for output in outputs]
        for outputs in await asyncio.gather(second.outputs(), first.outputs())
    ]
    assert names[0] == names[1]


async def test_refused_workflow_tells_node_and_reason(worker: Worker) -> None:
    workflow = picture_workflow(1)
    workflow["9"] = {"class_type": "SaveImage", "inputs": {"filename_prefix": "x"}}
    given = job(workflow)
    with pytest.raises(WorkflowRejected, match="Required input is missing") as caught:
        await worker.run_job(given).outputs()
    assert (caught.value.node_id, caught.value.class_type, caught.value.job_id) == (
        "9",
        "SaveImage",
        given.id,
    )
    assert "9" in caught.value.details["node_errors"]


@pytest.mark.parametrize(
    "workflow", [{}, {"1": 5}, {"1": {"inputs": {}}}, {"1": {"class_type": "Nope", "inputs": {}}}]
)
async def test_broken_workflows_are_refused(worker: Worker, workflow: dict[str, object]) -> None:
    with pytest.raises(WorkflowRejected):
        await worker.run_job(job(workflow)).outputs()


async def test_one_bad_output_of_two_is_told_as_a_warning(worker: Worker) -> None:
    workflow = picture_workflow(new_color())
    workflow["7"] = {"class_type": "SaveImage", "inputs": {"filename_prefix": "x"}}
    running = worker.run_job(job(workflow))
    messages = [event.message for event in [e async for e in running] if hasattr(event, "level")]
    assert any("node 7" in message for message in messages)
    assert len(await running.outputs()) == 1


async def test_failed_node_is_named_with_its_cause(worker: Worker) -> None:
    workflow = picture_workflow(new_color())
    workflow["2"] = {"class_type": "LoadImage", "inputs": {"image": "broken.png"}}
    workflow["9"] = {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}}
    files = [InputFile("broken.png", b"no picture")]
    with pytest.raises(NodeFailed, match=r"Node 2 \(LoadImage\)") as caught:
        await worker.run_job(job(workflow, files=files)).outputs()
    assert "UnidentifiedImageError" in caught.value.details["exceptionType"]


async def test_cancel_of_the_running_job_interrupts_it(worker: Worker) -> None:
    running = worker.run_job(job(picture_workflow(new_color(), blurs=12)))
    async for event in running:
        if isinstance(event, Progress):
            break
    await running.cancel()
    with pytest.raises(JobCanceled):
        await running.outputs()
    assert await worker.client.queue() == ([], [])


async def test_cancel_of_a_waiting_job_leaves_the_running_one_alone(worker: Worker) -> None:
    first = worker.run_job(job(picture_workflow(new_color(), blurs=6)))
    await anext(first)
    second = worker.run_job(job(picture_workflow(new_color())))
    second.begin()
    while second.job_id not in (await worker.client.queue())[1]:
        await asyncio.sleep(0)
    await asyncio.wait_for(second.cancel(), 5)
    with pytest.raises(JobCanceled):
        await second.outputs()
    assert len(await first.outputs()) == 1


async def test_cancel_before_the_submission_submits_nothing(worker: Worker) -> None:
    running = worker.run_job(job(picture_workflow(new_color())))
    await running.cancel()
    with pytest.raises(JobCanceled):
        await running.outputs()
    assert await worker.client.history(running.job_id) is None


async def test_cancelled_consumer_interrupts_the_engine(worker: Worker) -> None:
    running = worker.run_job(job(picture_workflow(new_color(), blurs=12)))
    await anext(running)
    consumer = asyncio.create_task(running.outputs())
    await asyncio.sleep(0)
    consumer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    assert await worker.client.queue() == ([], [])


async def test_time_limit_interrupts(worker: Worker) -> None:
    running = worker.run_job(job(picture_workflow(new_color(), blurs=12), timeout=0.3))
    with pytest.raises(JobTimedOut, match=r"0\.3 s"):
        await running.outputs()
    assert await worker.client.queue() == ([], [])
