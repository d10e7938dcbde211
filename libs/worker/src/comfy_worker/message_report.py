"""What ComfyUI tells of a job, as events, and where its time went."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from .client import Message
from .errors import OutputMissing
from .event_queue import EventQueue
from .job import LogLine, OutputReady, Preview
from .job_engine import Engine
from .metrics import PhaseClock
from .outputs import Output, outputs_of
from .progress import ProgressTracker


class MessageReport:
    """Turns messages into events."""

    def __init__(self, engine: Engine, events: EventQueue, clock: PhaseClock, *, previews: bool) -> None:
        self._engine, self._events, self._clock, self._previews = engine, events, clock, previews

    def take(self, message: Message, tracker: ProgressTracker) -> None:
        """Notes one message of the job, and tells whoever listens."""
        data = message.data
        match message.type:
            case "execution_cached":
                tracker.cached(data.get("nodes", []))
            case "executing" if data.get("node") is not None:
                tracker.executing(_shown(data))
                node_id = str(data["node"])
                self._clock.executing(node_id, tracker.class_of(_shown(data)), time.monotonic())
            case "progress" if data.get("node") is not None:
                tracker.step(_shown(data), data.get("value", 0), data.get("max", 0))
                self._clock.step(float(data.get("value", 0)), time.monotonic())
            case "executed":
                tracker.finished(_shown(data))
                for output in self._outputs_in(str(data.get("node")), data.get("output") or {}):
                    self._events.put(OutputReady(output))
            case "execution_success" | "execution_error" | "execution_interrupted":
                self._clock.executing(None, None, time.monotonic())
                return
            case "preview":
                node_id = data.get("node") or tracker.snapshot().current_node
                # Without a node it is another job's: its frame names none.
                if self._previews and node_id is not None:
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


def _shown(data: Mapping[str, Any]) -> str:
    """The node of the workflow that a message is about; nodes made at run time are shown as their maker."""
    return str(data.get("display_node") or data.get("node"))
