"""One container: a child process that runs user code in Modal's own container runtime."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .records import new_id

if TYPE_CHECKING:
    from modal_proto import api_pb2

    from .records import FunctionRecord, Input


@dataclass
class Container:
    """A container's state. The scheduler owns it."""

    function: FunctionRecord
    id: str = field(default_factory=lambda: new_id("ta"))
    started_at: float = field(default_factory=time.time)
    ready_at: float | None = None
    """When it first asked for inputs: the end of its cold start."""
    idle_since: float = field(default_factory=time.monotonic)
    inputs: dict[str, Input] = field(default_factory=dict[str, "Input"])
    stopping: bool = False
    evicted: bool = False
    """It is ended for a reason that is none of its inputs': they run again elsewhere."""
    ended_at: float = 0.0
    process: asyncio.subprocess.Process | None = None
    failure: api_pb2.GenericResult | None = None
    """What the runtime reported when it could not start or ended badly."""
    to_cancel: list[str] = field(default_factory=list[str])
    cancel_arrived: asyncio.Event = field(default_factory=asyncio.Event)
    server: Any = None
    supervisor: asyncio.Task[None] | None = None
    handled: int = 0
    """Inputs answered so far."""
    latest: Input | None = None
    """The input it took last."""

    @property
    def logging_for(self) -> Input | None:
        """The input that a line of output belongs to, as far as it can be told: of several at once, none."""
        if len(self.inputs) > 1:
            return None
        return next(iter(self.inputs.values()), self.latest)

    def to_json(self) -> dict[str, Any]:
        """For the control route."""
        return {
            "id": self.id,
            "app": self.function.app.name,
            "function": self.function.name,
            "pid": self.process.pid if self.process is not None else None,
            "ready": self.ready_at is not None,
            "running": [item.id for item in self.inputs.values()],
            "handled": self.handled,
            "stopping": self.stopping,
            "startedAt": self.started_at,
        }
