"""One job on one ComfyUI, from the staging of its files to its outputs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, TypeVar

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
from .event_queue import EventQueue
from .hang import StallWatch, is_hung, unresponsive
from .job import Job, JobEvent, JobTimings, LogLine, OutputReady, Preview
from .metrics import Device, JobMetrics, PhaseClock
from .node_failure import node_failure
from .outputs import Output, outputs_of
from .process import ComfyProcess
from .progress import ProgressTracker

CANCEL_POLL = 0.05
"""Seconds between two looks at the queue while a job is being taken out of it."""

QUIET_CHECK = 10.0
"""Seconds without a message after which /history and /queue are asked, should one have been lost."""

EXIT_NOTICE = 2.0
"""Seconds in which the end of a process is noticed after its connections broke."""

RETRY_DELAY = 0.1
"""Seconds before a question that was not answered is asked again; doubled up to 2."""

ATTACHED_PATIENCE = 60.0
"""Seconds that an attached ComfyUI may be silent. A started one is watched as a process and has its hang_timeout."""

END_MARK_PATIENCE = 0.1
"""Seconds between the word that a job has ended and ComfyUI's `executing` of no node, before which /history has it."""

MEMORY_LOOKS = 0.5
"""Seconds between two looks at the GPU's memory."""

HISTORY_PATIENCE = 10.0
"""Seconds in which /history must hold a job whose end was announced; it is written milliseconds later."""

Answer = TypeVar("Answer")


class Engine(Protocol):
    """The ComfyUI that a job runs on, as a worker hands it out."""

    @property
    def process(self) -> ComfyProcess:
        """The ComfyUI."""
        ...

    @property
    def client(self) -> ComfyClient:
        """The client on it."""
        ...

    @property
    def cancel_timeout(self) -> float:
        """Seconds that an interrupted job has to leave ComfyUI."""
        ...

    @property
    def hang_timeout(self) -> float:
        """Seconds that a started ComfyUI may give no answer."""
        ...

    async def ensure_ready(self) -> None:
        """Starts ComfyUI when it does not run. Raises EngineUnavailable."""
        ...

    @property
    def last_device(self) -> Device:
        """The GPU at the last look."""
        ...

    def client_id(self, job_id: str) -> str:
        """Whom ComfyUI tells of a job."""
        ...

    def messages(self, job_id: str) -> AsyncGenerator[Message, None]:
        """What it tells them, forever, beginning with `connected`."""
        ...

    def may_know(self, job_id: str) -> bool:
        """Whether this ComfyUI may have been given this job before. It is from now on."""
        ...

    async def device(self) -> Device:
        """The GPU as it is now. Raises EngineUnavailable."""
        ...

    def take_boot_ms(self) -> int:
        """Milliseconds of starts that no job has accounted for yet."""
        ...


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
        self._submitted = False
        self._accepted = False
        self._attached_patience = ATTACHED_PATIENCE
        self._phases_clock = PhaseClock()
        self._stall = StallWatch(job.id)
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
        while not self._submitted and not task.done():
            await asyncio.wait({task}, timeout=CANCEL_POLL)
        if self._submitted and not task.done():
            await self._leave(task)
            self._gone.set()
        await asyncio.wait({task})

    async def _leave(self, task: asyncio.Task[None] | None = None) -> None:
        """Returns when ComfyUI neither runs nor queues the job, or `task` is done."""
        try:
            async with asyncio.timeout(self._engine.cancel_timeout):
                while task is None or not task.done():
                    if await self._left():
                        return
                    await asyncio.sleep(CANCEL_POLL)
        except TimeoutError:
            if not self._engine.process.attached:
                # It hangs in a node: only the end of the process frees the GPU for the next job.
                await self._engine.process.stop()

    async def _left(self) -> bool:
        client = self._engine.client
        try:
            running, waiting = await client.queue()
            if self.job.id in waiting:
                await client.delete_queued(self.job.id)
            elif self.job.id in running:
                await client.interrupt(self.job.id)
            else:
                return self._accepted
        except EngineUnavailable:
            return not self._engine.process.alive
        return False

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
            if self._submitted:
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
            return await self._announced(self._ending)
        if message is None or message.type in ("connected", "disconnected"):
            return await self._reconcile(connected=message is not None and message.type == "connected")
        if message.data.get("prompt_id", self.job.id) != self.job.id:
            return None
        self._stall.moved()
        self._report(message, tracker)
        if message.type in ("execution_success", "execution_error", "execution_interrupted"):
            self._ending = message
        return None

    async def _reconcile(self, *, connected: bool) -> dict[str, Any] | None:
        """Submits when ComfyUI does not know the job; returns its history when it has ended."""
        if not self._submitted and not connected:
            await self._ask(
                self._engine.client.queue
            )  # nothing is submitted before its messages can be heard
            return None
        if not self._submitted and not self._engine.may_know(self.job.id):
            self._stop_if_canceled()
            await self._submit()
            return None
        if await self._is_queued():
            self._submitted = self._accepted = True
            return None
        # It left the queue before the question, or never was there.
        entry = await self._history()
        if entry is not None:
            self._submitted = self._accepted = True
            return entry
        self._stop_if_canceled()
        if self._submitted:
            raise EngineCrashed(
                f"ComfyUI no longer knows job {self.job.id}: it was restarted, or the job was deleted from its queue.",
                job_id=self.job.id,
            )
        await self._submit()
        return None

    async def _submit(self) -> None:
        client = self._engine.client
        self._submitted = True
        try:
            problems = await client.submit(
                self.job.id,
                self.job.workflow,
                self.job.extra_data,
                client_id=self._engine.client_id(self.job.id),
            )
        except EngineUnavailable:
            # The answer may be lost, not the job.
            if not await self._is_queued() and await self._history() is None:
                raise
            problems = {}
        finally:
            self._accepted = True
        for node_id, problem in problems.items():
            self._events.put(
                LogLine("warning", f"ComfyUI leaves out node {node_id}: {_first_problem(problem)}")
            )

    async def _is_queued(self) -> bool:
        running, waiting = await self._ask(self._engine.client.queue)
        self._stall.seen(running, waiting)
        return self.job.id in running or self.job.id in waiting

    async def _history(self) -> dict[str, Any] | None:
        return await self._ask(lambda: self._engine.client.history(self.job.id))

    async def _ask(self, question: Callable[[], Awaitable[Answer]]) -> Answer:
        """Asks until there is an answer; a ComfyUI that is busy or cut off for a moment loses no job.

        Raises EngineCrashed when a started one runs and gives none for too long, EngineUnavailable otherwise.
        """
        process = self._engine.process
        patience = self._attached_patience if process.attached else self._engine.hang_timeout
        begun, delay = time.monotonic(), RETRY_DELAY
        while True:
            try:
                async with asyncio.timeout(begun + patience - time.monotonic()):
                    return await question()
            except (EngineUnavailable, TimeoutError) as error:
                if not process.alive:
                    raise EngineUnavailable("ComfyUI has ended.") from error
                if time.monotonic() - begun >= patience:
                    if process.attached:
                        raise EngineUnavailable(f"ComfyUI gave no answer for {patience:g} s.") from error
                    raise unresponsive(self.job.id, patience, process.last_log()) from error
            await asyncio.sleep(delay)
            delay = min(delay * 2, 2.0)

    async def _announced(self, message: Message) -> dict[str, Any]:
        """The history of a job whose end was announced."""
        begun = time.monotonic()
        while time.monotonic() - begun < HISTORY_PATIENCE:
            entry = await self._history()
            if entry is not None:
                return entry
            await asyncio.sleep(0.02)
        if message.type == "execution_success":
            raise EngineUnavailable(f"ComfyUI finished job {self.job.id}, but its history does not hold it.")
        status = {"status_str": "error", "completed": False, "messages": [[message.type, dict(message.data)]]}
        return {"outputs": {}, "status": status}

    def _report(self, message: Message, tracker: ProgressTracker) -> None:
        data = message.data
        match message.type:
            case "execution_cached":
                tracker.cached(data.get("nodes", []))
            case "executing" if data.get("node") is not None:
                tracker.executing(_shown(data))
                node_id = str(data["node"])
                self._phases_clock.executing(node_id, tracker.class_of(_shown(data)), time.monotonic())
            case "progress" if data.get("node") is not None:
                tracker.step(_shown(data), data.get("value", 0), data.get("max", 0))
                self._phases_clock.step(float(data.get("value", 0)), time.monotonic())
            case "executed":
                tracker.finished(_shown(data))
                for output in self._outputs_in(str(data.get("node")), data.get("output") or {}):
                    self._events.put(OutputReady(output))
            case "execution_success" | "execution_error" | "execution_interrupted":
                self._phases_clock.executing(None, None, time.monotonic())
                return
            case "preview":
                node_id = data.get("node") or tracker.snapshot().current_node
                # Without a node it is another job's: its frame names none.
                if self.job.previews and node_id is not None:
                    self._events.put(Preview(node_id, str(data["content_type"]), message.content))
                return
            case _:
                return
        self._events.put(tracker.snapshot())

    def _outputs_in(self, node_id: str, ui: dict[str, Any]) -> list[Output]:
        try:
            return [
                output
                for output in outputs_of(node_id, ui, self._engine.client.download)
                if output.type == "output"
            ]
        except OutputMissing as error:
            self._events.put(LogLine("error", error.message))
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
        self._events.put(tracker.snapshot())
        return entry

    def _collect(self, entry: dict[str, Any]) -> None:
        """Keeps what output nodes saved; previews (`temp`) are no results."""
        for node_id, ui in (entry.get("outputs") or {}).items():
            for output in outputs_of(node_id, ui, self._engine.client.download):
                if output.type == "output":
                    self._outputs.append(output)


def _shown(data: Mapping[str, Any]) -> str:
    """The node of the workflow that a message is about; nodes made at run time are shown as their maker."""
    return str(data.get("display_node") or data.get("node"))


def _is_end_mark(message: Message, job_id: str) -> bool:
    """Whether ComfyUI says that it is done with the job: after it has written the history."""
    data = message.data
    return message.type == "executing" and data.get("node") is None and data.get("prompt_id") == job_id


def _first_problem(entry: Any) -> str:
    reasons = (entry.get("errors") or [{}]) if isinstance(entry, dict) else [{}]
    return f"{reasons[0].get('message', 'invalid')} {reasons[0].get('details') or ''}".strip()


def _retrieved(task: asyncio.Task[None]) -> None:
    # Whoever awaits `outputs` gets the error; nobody has to.
    if not task.cancelled():
        task.exception()


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
