"""One job on one ComfyUI, from the staging of its files to its outputs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any

from .client import Message
from .errors import (
    EngineCrashed,
    EngineUnavailable,
    JobCanceled,
    JobTimedOut,
    NodeFailed,
    OutOfMemory,
    WorkerError,
)
from .event_queue import EventQueue
from .hang import is_hung
from .job import Job, JobEvent, JobTimings
from .job_engine import Engine
from .message_report import MessageReport
from .metrics import Device, JobMetrics, PhaseClock
from .node_failure import node_failure
from .outputs import Output, outputs_of
from .progress import ProgressTracker
from .queue_entry import QueueEntry

CANCEL_POLL = 0.05
"""Seconds between two looks at the queue while a job is being taken out of it."""

QUIET_CHECK = 10.0
"""Seconds without a message after which /history and /queue are asked, should one have been lost."""

EXIT_NOTICE = 2.0
"""Seconds in which the end of a process is noticed after its connections broke."""

END_MARK_PATIENCE = 0.1
"""Seconds between the word that a job has ended and ComfyUI's `executing` of no node, before which /history has it."""

MEMORY_LOOKS = 0.5
"""Seconds between two looks at the GPU's memory."""


class JobRun(AsyncIterator[JobEvent]):
    """Iterate it for events, then await `outputs()`; or only await `outputs()`.

    Leaving the iteration early does not stop the job: call `cancel`, or use it as an async context manager.
    Cancelling the task that iterates or awaits interrupts the job at ComfyUI.
    """

    def __init__(self, job: Job, engine: Engine) -> None:
        self.job = job
        self.timings = JobTimings()
        self._engine = engine
        self._events = EventQueue()
        self._outputs: list[Output] = []
        self._canceled = False
        self._entry = QueueEntry(job, engine, self._events)
        self._phases_clock = PhaseClock()
        self._report = MessageReport(engine, self._events, self._phases_clock, previews=job.previews)
        self._device = Device()
        self._ending: Message | None = None
        self._gone = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self.job.id

    @property
    def metrics(self) -> JobMetrics:
        """Where the time went and what it needed, as far as the job has come."""
        return JobMetrics(
            boot_ms=self.timings.boot_ms,
            model_load_ms=self._phases_clock.milliseconds("model_load"),
            sampling_ms=self._phases_clock.milliseconds("sampling"),
            encode_ms=self._phases_clock.milliseconds("encode"),
            gpu=self._device.gpu,
            peak_memory_bytes=self._device.used_bytes,
        )

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
        try:
            event = await self._events.get()
        except asyncio.CancelledError:
            await asyncio.shield(self.cancel())
            raise
        if event is None:
            raise StopAsyncIteration
        return event

    def begin(self) -> None:
        """Starts the job, if it has not begun. Needs a running event loop."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"job {self.job.id}")
            self._task.add_done_callback(_retrieved)

    async def outputs(self) -> list[Output]:
        """Waits for the end. Returns what the job made; raises a WorkerError that says why it did not.

        The content of outputs lies in ComfyUI's folders: read or save it before the worker is stopped.
        """
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
        """Takes the job out of the queue or interrupts it, and waits until it has left ComfyUI.

        A job that has ended stays as it ended. A started ComfyUI that does not let go of the job in time is killed.
        """
        self._canceled = True
        self.begin()
        task = self._task
        if task is None or task.done():
            return
        while not self._entry.submitted and not task.done():
            await asyncio.wait({task}, timeout=CANCEL_POLL)
        if self._entry.submitted and not task.done():
            await self._leave(task)
            self._gone.set()
        await asyncio.wait({task})

    async def _leave(self, task: asyncio.Task[None] | None = None) -> None:
        """Returns when ComfyUI neither runs nor queues the job, or `task` is done."""
        try:
            async with asyncio.timeout(self._engine.cancel_timeout):
                while task is None or not task.done():
                    if await self._entry.left():
                        return
                    await asyncio.sleep(CANCEL_POLL)
        except TimeoutError:
            if not self._engine.process.attached:
                # It hangs in a node: only the end of the process frees the GPU for the next job.
                await self._engine.process.stop()

    async def _run(self) -> None:
        try:
            await self._phases()
        except OutOfMemory as error:
            error.job_id = error.job_id or self.job.id
            with contextlib.suppress(EngineUnavailable):
                await self._engine.client.free()
            raise
        except WorkerError as error:
            error.job_id = error.job_id or self.job.id
            if isinstance(error, EngineCrashed) and is_hung(error):
                # Nothing less frees its GPU; the next job starts another. SIGTERM would wait for a loop that hangs.
                await self._engine.process.stop(grace=0)
            raise
        finally:
            self._events.close()

    async def _phases(self) -> None:
        self._stop_if_canceled()
        await self._engine.ensure_ready()
        self.timings.boot_ms = self._engine.take_boot_ms()
        started = time.monotonic()
        for file in self.job.files:
            self._stop_if_canceled()
            await self._engine.client.upload(file, self.job.id)
        staged = time.monotonic()
        self.timings.staging_ms = _milliseconds(staged - started)
        try:
            entry = await self._execute()
        finally:
            executed = time.monotonic()
            self.timings.execution_ms = _milliseconds(executed - staged)
        self._collect(entry)
        self.timings.collect_ms = _milliseconds(time.monotonic() - executed)

    def _stop_if_canceled(self) -> None:
        if self._canceled:
            raise self._cancellation()

    def _cancellation(self) -> JobCanceled:
        return JobCanceled(f"Job {self.job.id} was canceled.", job_id=self.job.id)

    async def _execute(self) -> dict[str, Any]:
        deadline = asyncio.timeout(self.job.timeout)
        try:
            async with deadline:
                return await self._watched()
        except TimeoutError:
            if not deadline.expired():
                raise
            if self._entry.submitted:
                await self._leave()
            raise JobTimedOut(
                f"Job {self.job.id} took longer than {self.job.timeout} s and was interrupted.",
                job_id=self.job.id,
                hint="Raise the endpoint's execution timeout, or make the job smaller.",
            ) from None

    async def _watched(self) -> dict[str, Any]:
        """Follows the job, but ends at once when the process of ComfyUI ends or the job was taken out."""
        process = self._engine.process
        follow = asyncio.create_task(self._follow())
        looks = asyncio.create_task(self._look_at_memory())
        exited = asyncio.create_task(process.exited.wait())
        gone = asyncio.create_task(self._gone.wait())
        tasks: set[asyncio.Task[Any]] = {follow, exited, gone}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if follow.done():
                return await self._followed(follow, exited)
            if exited.done():
                raise self._crash()
            raise self._cancellation()
        finally:
            for task in (*tasks, looks):
                task.cancel()
            await asyncio.gather(*tasks, looks, return_exceptions=True)

    async def _look_at_memory(self) -> None:
        """Keeps the most memory that was in use; ends where there is no GPU."""
        self._device = self._engine.last_device
        while True:
            await asyncio.sleep(MEMORY_LOOKS)
            with contextlib.suppress(EngineUnavailable):
                now = await self._engine.device()
                if now.gpu is None:
                    return
                self._device = Device(now.gpu, max(now.used_bytes or 0, self._device.used_bytes or 0))

    async def _followed(
        self, follow: asyncio.Task[dict[str, Any]], exited: asyncio.Task[Any]
    ) -> dict[str, Any]:
        try:
            return follow.result()
        except EngineUnavailable as error:
            # Connections break a moment before the end of the process is known: tell the true cause.
            if not self._engine.process.attached:
                await asyncio.wait({exited}, timeout=EXIT_NOTICE)
            if exited.done():
                raise self._crash() from error
            raise

    def _crash(self) -> WorkerError:
        if self._canceled:
            return self._cancellation()
        process = self._engine.process
        code, log = process.exit_code, process.last_log()
        text = "\n".join(log).lower()
        reason = ", perhaps out of memory" if code == -9 or "out of memory" in text else ""
        return EngineCrashed(
            f"ComfyUI ended with exit code {code} while job {self.job.id} was running{reason}.",
            job_id=self.job.id,
            details={"exitCode": code, "log": log},
            hint="It is started again for the next job. Exit code -9 often means that the machine had too little memory.",
        )

    async def _follow(self) -> dict[str, Any]:
        tracker = ProgressTracker(self.job.workflow)
        messages = self._engine.messages(self.job.id)
        pending = asyncio.ensure_future(anext(messages))
        try:
            while True:
                patience = QUIET_CHECK if self._ending is None else END_MARK_PATIENCE
                done, _ = await asyncio.wait({pending}, timeout=min(patience, self._engine.hang_timeout))
                message = pending.result() if done else None
                if done:
                    pending = asyncio.ensure_future(anext(messages))
                entry = await self._heard(message, tracker)
                if entry is not None:
                    return self._outcome(entry, tracker)
        finally:
            pending.cancel()
            await asyncio.gather(pending, return_exceptions=True)
            await messages.aclose()

    async def _heard(self, message: Message | None, tracker: ProgressTracker) -> dict[str, Any] | None:
        """Takes one message in, None for a long silence. Returns the history of a job that has ended."""
        if self._ending is not None and (message is None or _is_end_mark(message, self.job.id)):
            return await self._entry.announced(self._ending)
        if message is None or message.type in ("connected", "disconnected"):
            return await self._reconcile(connected=message is not None and message.type == "connected")
        if message.data.get("prompt_id", self.job.id) != self.job.id:
            return None
        self._entry.stall.moved()
        self._report.take(message, tracker)
        if message.type in ("execution_success", "execution_error", "execution_interrupted"):
            self._ending = message
        return None

    async def _reconcile(self, *, connected: bool) -> dict[str, Any] | None:
        """Submits when ComfyUI does not know the job; returns its history when it has ended."""
        if not self._entry.submitted and not connected:
            await self._entry.ask(
                self._engine.client.queue
            )  # nothing is submitted before its messages can be heard
            return None
        if not self._entry.submitted and not self._engine.may_know(self.job.id):
            self._stop_if_canceled()
            await self._entry.submit()
            return None
        if await self._entry.is_queued():
            self._entry.submitted = self._entry.accepted = True
            return None
        # It left the queue before the question, or never was there.
        entry = await self._entry.history()
        if entry is not None:
            self._entry.submitted = self._entry.accepted = True
            return entry
        self._stop_if_canceled()
        if self._entry.submitted:
            raise EngineCrashed(
                f"ComfyUI no longer knows job {self.job.id}: it was restarted, or the job was deleted from its queue.",
                job_id=self.job.id,
            )
        await self._entry.submit()
        return None

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
        self._events.put(tracker.snapshot())
        return entry

    def _collect(self, entry: dict[str, Any]) -> None:
        """Keeps what output nodes saved; previews (`temp`) are no results."""
        for node_id, ui in (entry.get("outputs") or {}).items():
            for output in outputs_of(node_id, ui, self._engine.client.download):
                if output.type == "output":
                    self._outputs.append(output)


def _is_end_mark(message: Message, job_id: str) -> bool:
    """Whether ComfyUI says that it is done with the job: after it has written the history."""
    data = message.data
    return message.type == "executing" and data.get("node") is None and data.get("prompt_id") == job_id


def _retrieved(task: asyncio.Task[None]) -> None:
    # Whoever awaits `outputs` gets the error; nobody has to.
    if not task.cancelled():
        task.exception()


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
