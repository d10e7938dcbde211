"""What a simulated node is: a function of its inputs, found by class name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..folders import Folders


class Interrupted(Exception):
    """The prompt was interrupted; ComfyUI reports execution_interrupted, not an error."""


class NodeError(Exception):
    """An error with the type name that the real node's exception has."""

    def __init__(self, message: str, exception_type: str = "RuntimeError") -> None:
        super().__init__(message)
        self.exception_type = exception_type


class Steps(Protocol):
    """Reports a sampler step; raises Interrupted when the prompt was interrupted."""

    def __call__(self, value: int, maximum: int, preview: Any = None) -> None: ...


@dataclass(frozen=True)
class Context:
    """What a node may use besides its inputs."""

    node_id: str
    class_type: str
    info: Mapping[str, Any]
    """The node's entry in the catalogue."""
    folders: Folders
    prompt: Mapping[str, Any]
    extra_pnginfo: Mapping[str, Any] | None
    steps: Steps
    wait: Callable[[float], None]
    """Waits for some seconds, or raises Interrupted."""
    step_seconds: float
    model_load_seconds: float


@dataclass(frozen=True)
class Result:
    """What a node returns: its outputs, and what it shows (`ui`), if anything."""

    outputs: tuple[Any, ...] = ()
    ui: Mapping[str, Any] = field(default_factory=dict[str, Any])


NodeFunction = Callable[..., Result]
NODES: dict[str, NodeFunction] = {}
"""Class name to function. What is not here is simulated from its catalogue entry."""


def node(*class_types: str) -> Callable[[NodeFunction], NodeFunction]:
    """Registers a function as the implementation of node classes. It is called as `f(context, **inputs)`."""

    def register(function: NodeFunction) -> NodeFunction:
        for class_type in class_types:
            NODES[class_type] = function
        return function

    return register
