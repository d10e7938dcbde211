"""How a job reaches a worker, seen from the gateway."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class CallOutcome:
    """How a worker's call ended: regularly, canceled, or lost with a reason."""

    kind: str
    """`done`, `canceled` or `lost`."""
    reason: str = ""
    is_timeout: bool = False
    """Whether it ran too long: it would do so again."""
    is_interrupted: bool = False
    """Whether the cloud lost the container, perhaps before the worker could claim the job."""


class Dispatcher(Protocol):
    """Starts a worker on a job that is in the store already. Modal: spawn on the GPU class."""

    async def dispatch(self, job_id: str) -> str:
        """Queues the job; returns the id of the call."""
        ...

    async def cancel(self, call_id: str) -> None:
        """Stops the call, waiting or running."""
        ...

    async def outcome(self, call_id: str) -> CallOutcome | None:
        """How the call ended; None while it waits or runs."""
        ...
