"""One job on one ComfyUI, from the staging of its files to its outputs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any

from .client import ComfyClient, Message
from .errors import (
    EngineCrashed,
    EngineUnavailable,
    JobCanceled,
    JobTimedOut,
    NodeFailed,
    OutOfMemory,
    OutputMissing,
    WorkerError,
)
from .job import Job, JobEvent, JobTimings, LogLine, OutputReady, Preview
from .outputs import Output, outputs_of
from .process import ComfyProcess
from .progress import ProgressTracker

CANCEL_TIMEOUT = 30.0
"""Seconds that an interrupted job has to leave ComfyUI; a node cannot be stopped in its middle."""

CANCEL_POLL = 0.05
QUIET_CHECK = 10.0
"""Seconds without a message after which /history is asked, should one have been lost."""

OUT_OF_MEMORY_MARKS = ("outofmemory", "out of memory", "allocation on device")
"""What an exception's type or message holds when the GPU's memory was not enough."""


class JobRun(AsyncIterator[JobEvent]):
    """Iterate it for events, then await `outputs()`; or only await `outputs()`.

    Leaving the iteration early does not stop the job: call `cancel`, or use it as an async context manager.
    """

    def __init__(self, job: Job, process: ComfyProcess, client: ComfyClient, timings: JobTimings) -> None:
        self.job = job
        self.timings = timings
        self._process = process
        self._client = client
        self._events: asyncio.Queue[JobEvent | None] = asyncio.Queue()
        self._outputs: list[Output] = []
        self._canceled = False
        self._submitted = False
        self._finished = False
        self._task: asyncio.Task[None] | None = None

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self.job.id

    async def __aenter__(self) -> JobRun:
        self.begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None and not self._task.done():
            await self.cancel()

    def __aiter__(self) -> JobRun:
        return self

    async def __anext__(self) -> JobEvent:
        self.begin()
        if self._finished and self._events.empty():
            raise StopAsyncIteration
        event = await self._next_event()
        if event is None:
            self._finished = True
            raise StopAsyncIteration
        return event

    async def _next_event(self) -> JobEvent | None:
        try:
            return await self._events.get()
        except asyncio.CancelledError:
            await asyncio.shield(self.cancel())
            raise

    def begin(self) -> None:
        """Starts the job, if it has not begun. Needs a running event loop."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"job {self.job.id}")

    async def outputs(self) -> list[Output]:
        """Waits for the end. Returns what the job made; raises a WorkerError that says why it did not."""
        self.begin()
        if self._task is None:
            return []
        try:
            await asyncio.shield(self._task)
        except asyncio.CancelledError:
            await asyncio.shield(self.cancel())
            raise
        return list(self._outputs)

    async def cancel(self) -> None:
        """Takes the job out of the queue or interrupts it, and waits until it has left ComfyUI."""
        self._canceled = True
        if self._task is None:
            self._task = asyncio.create_task(self._refuse())
        if self._submitted and not self._task.done():
            with contextlib.suppress(EngineUnavailable):
                await self._leave()
        with contextlib.suppress(WorkerError, asyncio.CancelledError):
            await asyncio.shield(self._task)

    async def _refuse(self) -> None:
        self._events.put_nowait(None)
        raise self._cancellation()

    def _cancellation(self) -> JobCanceled:
        return JobCanceled(f"Job {self.job.id} was canceled.", job_id=self.job.id)

    async def _leave(self) -> None:
        async with asyncio.timeout(CANCEL_TIMEOUT):
            while True:
                running, waiting = await self._client.queue()
                if self.job.id in waiting:
                    await self._client.delete_queued(self.job.id)
                elif self.job.id in running:
                    await self._client.interrupt(self.job.id)
                else:
                    return
                await asyncio.sleep(CANCEL_POLL)

    async def _run(self) -> None:
        try:
            await self._phases()
        except WorkerError as error:
            error.job_id = error.job_id or self.job.id
            raise
        finally:
            self._events.put_nowait(None)

    async def _phases(self) -> None:
        started = time.monotonic()
        for file in self.job.files:
            await self._client.upload(file, self.job.id)
        staged = time.monotonic()
        self.timings.staging_ms = _milliseconds(staged - started)
        entry = await self._execute()
        executed = time.monotonic()
        self.timings.execution_ms = _milliseconds(executed - staged)
        self._collect(entry)
        self.timings.collect_ms = _milliseconds(time.monotonic() - executed)

    async def _execute(self) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self.job.timeout):
                return await self._watched()
        except TimeoutError:
            with contextlib.suppress(EngineUnavailable, TimeoutError):
                await self._leave()
            raise JobTimedOut(
                f"Job {self.job.id} took longer than {self.job.timeout:g} s and was interrupted.",
                job_id=self.job.id,
                hint="Raise the endpoint's execution timeout, or make the job smaller.",
            ) from None

    async def _watched(self) -> dict[str, Any]:
        """Runs the job, ending at once when the process of ComfyUI ends."""
        follow = asyncio.create_task(self._follow())
        exited = asyncio.create_task(self._process.exited.wait())
        try:
            await asyncio.wait({follow, exited}, return_when=asyncio.FIRST_COMPLETED)
            if follow.done():
                try:
                    return follow.result()
                except EngineUnavailable as error:
                    if self._process.alive or self._process.attached:
                        raise
                    raise self._crash() from error
            raise self._crash()
        finally:
            for task in (follow, exited):
                task.cancel()
            await asyncio.gather(follow, exited, return_exceptions=True)

    def _crash(self) -> WorkerError:
        if self._canceled:
            return self._cancellation()
        code = self._process.exit_code
        log = self._process.last_log()
        text = "\n".join(log).lower()
        reason = " after running out of memory" if code == -9 or "out of memory" in text else ""
        return EngineCrashed(
            f"ComfyUI ended with exit code {code} while job {self.job.id} was running{reason}.",
            job_id=self.job.id,
            details={"exitCode": code, "log": log},
            hint="It is started again for the next job. Exit code -9 often means that the machine had too little memory.",
        )

    async def _follow(self) -> dict[str, Any]:
        tracker = ProgressTracker(self.job.workflow)
        messages = self._client.messages()
        try:
            while True:
                message = await self._next_message(messages)
                if message is None or message.type == "connected":
                    entry = await self._submit_or_reconcile()
                    if entry is not None:
                        return self._outcome(entry, tracker)
                    continue
                if message.data.get("prompt_id", self.job.id) != self.job.id:
                    continue
                self._report(message, tracker)
                if message.type in ("execution_success", "execution_error", "execution_interrupted"):
                    return self._outcome(await self._entry(message), tracker)
        finally:
            await messages.aclose()  # pyright: ignore  (an async generator)

    async def _next_message(self, messages: AsyncIterator[Message]) -> Message | None:
        pending = asyncio.ensure_future(anext(messages))
        done, _ = await asyncio.wait({pending}, timeout=QUIET_CHECK)
        while not done:
            entry = await self._client.history(self.job.id) if self._submitted else None
            if entry is not None:
                pending.cancel()
                await asyncio.gather(pending, return_exceptions=True)
                return None
            done, _ = await asyncio.wait({pending}, timeout=QUIET_CHECK)
        return pending.result()

    async def _submit_or_reconcile(self) -> dict[str, Any] | None:
        """On every new connection: submit when ComfyUI does not know the job; its history when it has finished."""
        entry = await self._client.history(self.job.id)
        if entry is not None:
            self._submitted = True
            return entry
        running, waiting = await self._client.queue()
        if self.job.id in running or self.job.id in waiting:
            self._submitted = True
            return None
        if self._submitted:
            # It left the queue between the two questions, or was deleted, or ComfyUI was restarted.
            entry = await self._client.history(self.job.id)
            if entry is not None:
                return entry
            if self._canceled:
                raise self._cancellation()
            raise EngineCrashed(
                f"ComfyUI no longer knows job {self.job.id}: it was restarted, or the job was deleted from its queue.",
                job_id=self.job.id,
            )
        if self._canceled:
            raise self._cancellation()
        self._submitted = True
        await self._client.submit(self.job.id, self.job.workflow, self.job.extra_data)
        return None

    async def _entry(self, message: Message) -> dict[str, Any]:
        """The history of a job whose end was announced: it is written a moment later."""
        for _ in range(100):
            entry = await self._client.history(self.job.id)
            if entry is not None:
                return entry
            await asyncio.sleep(0.02)
        status = {"status_str": "error", "completed": False, "messages": [[message.type, dict(message.data)]]}
        return {"outputs": {}, "status": status}

    def _report(self, message: Message, tracker: ProgressTracker) -> None:
        data = message.data
        match message.type:
            case "execution_cached":
                tracker.cached(data.get("nodes", []))
            case "executing" if data.get("node") is not None:
                tracker.executing(str(data["node"]))
            case "progress" if data.get("node") is not None:
                tracker.step(str(data["node"]), data.get("value", 0), data.get("max", 0))
            case "executed":
                tracker.finished(str(data.get("node")))
                for output in self._outputs_in(str(data.get("node")), data.get("output") or {}):
                    self._events.put_nowait(OutputReady(output))
            case "preview":
                if self.job.previews:
                    node_id = data.get("node") or tracker.snapshot().current_node
                    self._events.put_nowait(Preview(node_id, str(data["content_type"]), message.content))
                return
            case _:
                return
        self._events.put_nowait(tracker.snapshot())

    def _outputs_in(self, node_id: str, ui: dict[str, Any]) -> list[Output]:
        try:
            return [
                output for output in outputs_of(node_id, ui, self._client.download) if output.type == "output"
            ]
        except OutputMissing as error:
            self._events.put_nowait(LogLine("error", error.message))
            return []

    def _outcome(self, entry: dict[str, Any], tracker: ProgressTracker) -> dict[str, Any]:
        status: dict[str, Any] = entry.get("status") or {}
        for kind, data in status.get("messages") or []:
            if kind == "execution_interrupted":
                raise self._cancellation()
            if kind == "execution_error":
                raise node_failure(self.job.id, data)
        if status.get("status_str") == "error":
            raise NodeFailed(
                f"ComfyUI reported an error for job {self.job.id} without saying which.", job_id=self.job.id
            )
        tracker.all_done()
        self._events.put_nowait(tracker.snapshot())
        return entry

    def _collect(self, entry: dict[str, Any]) -> None:
        """Keeps what output nodes saved; previews (`temp`) are no results."""
        for node_id, ui in (entry.get("outputs") or {}).items():
            for output in outputs_of(node_id, ui, self._client.download):
                if output.type == "output":
                    self._outputs.append(output)


def node_failure(job_id: str, data: dict[str, Any]) -> NodeFailed:
    """ComfyUI's execution_error as an error with its true cause; running out of memory is told apart."""
    message = str(data.get("exception_message") or "").strip()
    kind = str(data.get("exception_type") or "")
    node_id, class_type = str(data.get("node_id") or ""), str(data.get("node_type") or "")
    first_line = message.splitlines()[0] if message else kind
    details = {
        "exceptionType": kind,
        "exceptionMessage": message,
        "traceback": "".join(data.get("traceback") or []),
    }
    if any(mark in f"{kind} {message}".lower() for mark in OUT_OF_MEMORY_MARKS):
        return OutOfMemory(
            f"Node {node_id} ({class_type}) ran out of memory: {first_line}",
            job_id=job_id,
            node_id=node_id,
            class_type=class_type,
            details=details,
            hint="Use a GPU with more memory, a smaller picture or batch, or a quantised model.",
        )
    return NodeFailed(
        f"Node {node_id} ({class_type}) failed: {first_line}",
        job_id=job_id,
        node_id=node_id,
        class_type=class_type,
        details=details,
    )


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
