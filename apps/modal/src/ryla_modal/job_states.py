"""How a job stands: what its worker says, what became of its call, and its end, of which there is one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from .dispatcher import CallOutcome, Dispatcher
from .job_claims import ATTEMPTS, JobClaims
from .stores import KeyValueStore

REDISPATCH_SECONDS = 10.0
"""A job without a call after this time is dispatched again: the gateway that took it died with it. Spawning takes
milliseconds, and should both have been dispatched, the claim lets one run."""

DISPATCH_SECONDS = 60.0
"""A job without a call after this time is given up."""

log = logging.getLogger("ryla_modal")


class JobStates:
    """The states of jobs, as the gateway sees them: it writes none but the end of a job that no worker will write."""

    def __init__(
        self, store: KeyValueStore, dispatcher: Dispatcher, claims: JobClaims, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._claims = claims
        self._clock = clock

    async def of(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """The present state of a stored job, a lost worker noticed."""
        job_id: str = job["id"]
        ended = await self._claims.ended(job_id)
        if ended is not None:
            return ended
        state, canceled, call_id = await asyncio.gather(
            self._store.get(f"state:{job_id}"),
            self._store.get(f"cancel:{job_id}"),
            self._store.get(f"call:{job_id}"),
        )
        is_canceled = canceled is not None
        state = state or waiting()
        outcome = await self._outcome(job, call_id, is_canceled)
        is_over = outcome is not None and not await self._goes_on(job_id, outcome, is_canceled)
        if outcome is not None and is_over and await self._claims.close(job_id):
            # No worker has it, or will have it: this is the end, unless one was written just before.
            await self._claims.end(job_id, _end(job, state, outcome, is_canceled))
            await self._store.pop(f"extra_data:{job_id}")
            return await self._claims.ended(job_id) or state
        return {**state, "status": "canceling"} if is_canceled else state

    async def _goes_on(self, job_id: str, outcome: CallOutcome, is_canceled: bool) -> bool:
        """Whether a job whose call has ended has a worker yet, or gets another one in the place of one that died."""
        if outcome.is_interrupted:
            await self._claims.note_interrupted(job_id)
        attempt, is_alive = await self._claims.last(job_id)
        if is_alive:
            return True
        # `done` too: so ends the call of a worker that had to let go of the job.
        if outcome.kind == "canceled" or outcome.is_timeout or is_canceled or not 0 < attempt < ATTEMPTS:
            return False
        await self._dispatch_again(job_id, f"restart:{job_id}:{attempt}")
        return True

    async def _outcome(
        self, job: Mapping[str, Any], call_id: str | None, is_canceled: bool
    ) -> CallOutcome | None:
        if call_id is not None:
            return await self._dispatcher.outcome(call_id)
        age = self._clock() - job["created"]
        if is_canceled and age > REDISPATCH_SECONDS:
            return CallOutcome("canceled")
        if age > DISPATCH_SECONDS:
            return CallOutcome("lost", "it never reached a worker")
        if age > REDISPATCH_SECONDS:
            await self._dispatch_again(job["id"], f"redispatch:{job['id']}")
        return None

    async def _dispatch_again(self, job_id: str, turn: str) -> None:
        """Dispatches a job, unless another gateway has taken the turn and is about to."""
        if not await self._store.put_if_absent(turn, self._clock()):
            taken_at = await self._store.get(turn)
            if taken_at is not None and self._clock() - taken_at > REDISPATCH_SECONDS:
                await self._store.pop(turn)  # that one has died, too
            return
        try:
            call_id = await self._dispatcher.dispatch(job_id)
            await self._store.put(f"call:{job_id}", call_id)
        except Exception as error:  # whoever asked for the job gets its state all the same
            log.warning("job %s could not be dispatched again: %s", job_id, type(error).__name__)


def _end(
    job: Mapping[str, Any], state: Mapping[str, Any], outcome: CallOutcome, is_canceled: bool
) -> dict[str, Any]:
    now = time.time()
    if is_canceled or outcome.kind == "canceled":
        return {**state, "status": "canceled", "completed": now}
    reason = outcome.reason or "its call ended without a result"
    error = {
        "code": "worker_lost",
        "message": f"The worker of job {job['id']} was lost: {reason}. Submit it again under a new job id.",
        "node_id": None,
        "class_type": None,
        "traceback": None,
    }
    return {**state, "status": "failed", "error": error, "completed": now}


def waiting() -> dict[str, Any]:
    """The state of a job that no worker has begun."""
    return {
        "status": "queued",
        "started": None,
        "completed": None,
        "reported": None,
        "progress": None,
        "outputs": [],
        "error": None,
        "worker_id": None,
        "attempt": 0,
        "metrics": {"queue_ms": None, "cold_start_ms": None, "execution_ms": None},
        "worker_metrics": None,
    }
