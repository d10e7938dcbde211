"""The gateway's interfaces in one process, without Modal."""

from __future__ import annotations

import asyncio
import uuid

from .dispatcher import CallOutcome
from .job_runner import JobRunner


class InProcessDispatcher:
    """Runs jobs one after the other on a worker in this process."""

    def __init__(self, runner: JobRunner) -> None:
        self._runner = runner
        self._lock = asyncio.Lock()
        self._calls: dict[str, asyncio.Task[bool]] = {}

    async def dispatch(self, job_id: str) -> str:
        """Queues the job."""
        call_id = str(uuid.uuid4())
        self._calls[call_id] = asyncio.create_task(self._run(job_id, call_id))
        return call_id

    async def _run(self, job_id: str, call_id: str) -> bool:
        async with self._lock:
            return await self._runner.run(job_id, call_id)

    async def cancel(self, call_id: str) -> None:
        """Cancels the task."""
        self._calls[call_id].cancel()

    async def outcome(self, call_id: str) -> CallOutcome | None:
        """How the task ended."""
        task = self._calls.get(call_id)
        if task is None:
            return CallOutcome("lost", "this process was restarted")
        if not task.done():
            return None
        if task.cancelled():
            return CallOutcome("canceled")
        error = task.exception()
        return CallOutcome("done") if error is None else CallOutcome("lost", str(error))

    async def close(self) -> None:
        """Cancels what is left."""
        for task in self._calls.values():
            task.cancel()
        await asyncio.gather(*self._calls.values(), return_exceptions=True)
