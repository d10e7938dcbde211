"""A job, and what can be heard of it while it runs."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .outputs import Output


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file that the workflow refers to by `name`, such as LoadImage's `image`; may hold a subfolder."""

    name: str
    content: bytes | Path


@dataclass(frozen=True, slots=True)
class Job:
    """One run of one workflow in API format."""

    id: str
    """Minted by the caller; ComfyUI's prompt_id."""
    workflow: Mapping[str, Any]
    files: Sequence[InputFile] = ()
    timeout: float | None = None
    """Seconds from the submission to ComfyUI to the end of the run."""
    extra_data: Mapping[str, Any] | None = None
    """ComfyUI's extra_data, such as api_key_comfy_org; never logged."""
    previews: bool = True


@dataclass(frozen=True, slots=True)
class Progress:
    """A snapshot; each one is complete, so that the last one is all that a new listener needs."""

    value: float
    """Done fraction, 0 to 1, never less than before."""
    nodes_done: int
    nodes_total: int
    current_node: str | None = None
    current_node_class: str | None = None
    step: int | None = None
    steps: int | None = None
    message: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As `progress` of Comfy API v2."""
        return {
            "value": round(self.value, 4),
            "nodes_done": self.nodes_done,
            "nodes_total": self.nodes_total,
            "current_node": self.current_node,
            "current_node_class": self.current_node_class,
            "step": self.step,
            "steps": self.steps,
            "message": self.message,
        }


@dataclass(frozen=True, slots=True)
class Preview:
    """A picture of the work so far."""

    node_id: str | None
    content_type: str
    data: bytes

    def to_json(self) -> dict[str, Any]:
        """As a `preview` event of Comfy API v2."""
        data = base64.b64encode(self.data).decode()
        return {"node_id": self.node_id, "content_type": self.content_type, "data_base64": data}


@dataclass(frozen=True, slots=True)
class OutputReady:
    """A node has written an output."""

    output: Output

    def to_json(self) -> dict[str, Any]:
        """Node, name and kind of the output."""
        return self.output.to_json()


@dataclass(frozen=True, slots=True)
class LogLine:
    """Something worth telling a person."""

    level: str
    message: str

    def to_json(self) -> dict[str, Any]:
        """As a `log` event of Comfy API v2."""
        return {"level": self.level, "message": self.message}


JobEvent = Progress | Preview | OutputReady | LogLine


@dataclass(slots=True)
class JobTimings:
    """Milliseconds of a job's phases at the worker."""

    boot_ms: int = 0
    """Start of ComfyUI that this job waited for; 0 when it was warm."""
    staging_ms: int = 0
    execution_ms: int = 0
    collect_ms: int = 0

    def to_json(self) -> dict[str, int]:
        """Keys in camel case."""
        return {
            "bootMs": self.boot_ms,
            "stagingMs": self.staging_ms,
            "executionMs": self.execution_ms,
            "collectMs": self.collect_ms,
        }
