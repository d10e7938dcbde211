"""A job in ComfyUI's queue and history: submitted, looked for, taken out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from .client import Message
from .errors import EngineUnavailable
from .event_queue import EventQueue
from .hang import StallWatch, unresponsive
from .job import Job, LogLine
from .job_engine import Engine

RETRY_DELAY = 0.1
"""Seconds before a question that was not answered is asked again; doubled up to 2."""

ATTACHED_PATIENCE = 60.0
"""Seconds that an attached ComfyUI may be silent. A started one is watched as a process and has its hang_timeout."""

HISTORY_PATIENCE = 10.0
"""Seconds in which /history must hold a job whose end was announced; it is written milliseconds later."""

Answer = TypeVar("Answer")


class QueueEntry:
    """What is known of one job at ComfyUI, and the questions about it."""

    def __init__(self, job: Job, engine: Engine, events: EventQueue) -> None:
        self._job, self._engine, self._events = job, engine, events
        self.submitted = False
        """Whether it was sent; the answer may be lost."""
        self.accepted = False
        """Whether ComfyUI has had its chance to take it."""
        self.stall = StallWatch(job.id)

    async def left(self) -> bool:
        """Asks ComfyUI to let go of the job; whether it neither runs nor queues it."""
        client = self._engine.client
        try:
            running, waiting = await client.queue()
            if self._job.id in waiting:
                await client.delete_queued(self._job.id)
            elif self._job.id in running:
                await client.interrupt(self._job.id)
            else:
                return self.accepted
        except EngineUnavailable:
            return not self._engine.process.alive
        return False

    async def submit(self) -> None:
        """Hands the job to ComfyUI. Raises InvalidWorkflow and EngineUnavailable."""
        client = self._engine.client
        self.submitted = True
        try:
            problems = await client.submit(
                self._job.id,
                self._job.workflow,
                self._job.extra_data,
                client_id=self._engine.client_id(self._job.id),
            )
        except EngineUnavailable:
            # The answer may be lost, not the job.
            if not await self.is_queued() and await self.history() is None:
                raise
            problems = {}
        finally:
            self.accepted = True
        for node_id, problem in problems.items():
            self._events.put(
                LogLine("warning", f"ComfyUI leaves out node {node_id}: {_first_problem(problem)}")
            )

    async def is_queued(self) -> bool:
        """Whether ComfyUI runs or queues it. Raises EngineCrashed for a queue that stands still."""
        running, waiting = await self.ask(self._engine.client.queue)
        self.stall.seen(running, waiting)
        return self._job.id in running or self._job.id in waiting

    async def history(self) -> dict[str, Any] | None:
        """Its entry in ComfyUI's history, None before its end."""
        return await self.ask(lambda: self._engine.client.history(self._job.id))

    async def ask(self, question: Callable[[], Awaitable[Answer]]) -> Answer:
        """Asks until there is an answer; a ComfyUI that is busy or cut off for a moment loses no job.

        Raises EngineCrashed when a started one runs and gives none for too long, EngineUnavailable otherwise.
        """
        process = self._engine.process
        patience = ATTACHED_PATIENCE if process.attached else self._engine.hang_timeout
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
                    raise unresponsive(self._job.id, patience, process.last_log()) from error
            await asyncio.sleep(delay)
            delay = min(delay * 2, 2.0)

    async def announced(self, message: Message) -> dict[str, Any]:
        """The history of a job whose end was announced."""
        begun = time.monotonic()
        while time.monotonic() - begun < HISTORY_PATIENCE:
            entry = await self.history()
            if entry is not None:
                return entry
            await asyncio.sleep(0.02)
        if message.type == "execution_success":
            raise EngineUnavailable(f"ComfyUI finished job {self._job.id}, but its history does not hold it.")
        status = {"status_str": "error", "completed": False, "messages": [[message.type, dict(message.data)]]}
        return {"outputs": {}, "status": status}


def _first_problem(entry: Any) -> str:
    reasons = (entry.get("errors") or [{}]) if isinstance(entry, dict) else [{}]
    return f"{reasons[0].get('message', 'invalid')} {reasons[0].get('details') or ''}".strip()
