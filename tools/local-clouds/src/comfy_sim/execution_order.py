"""Which node runs next: ComfyUI's order, which prefers nodes that bring an output nearer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

from .catalogue import Catalogue


def is_link(value: Any) -> TypeGuard[list[Any]]:
    """Whether an input value is `[node_id, output_index]`."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int | float)
    )  # pyright: ignore


class ExecutionOrder:
    """Dissolves the graph of a prompt from its sources; cached nodes count as done."""

    def __init__(
        self, prompt: Mapping[str, Any], catalogue: Catalogue, is_cached: Callable[[str], bool]
    ) -> None:
        self._prompt = prompt
        self._catalogue = catalogue
        self._is_cached = is_cached
        self._blocked_by: dict[str, int] = {}
        self._blocking: dict[str, dict[str, None]] = {}

    def add(self, node_id: str) -> None:
        """Adds a node and all that it needs."""
        stack = [node_id]
        links: list[tuple[str, str]] = []
        while stack:
            current = stack.pop()
            if current in self._blocked_by:
                continue
            self._blocked_by[current] = 0
            self._blocking[current] = {}
            for value in self._prompt[current]["inputs"].values():
                if is_link(value) and not self._is_cached(value[0]):
                    stack.append(value[0])
                    links.append((value[0], current))
        for source, target in links:
            if target not in self._blocking[source]:
                self._blocking[source][target] = None
                self._blocked_by[target] += 1

    def next(self) -> str | None:
        """The node to run now; None when none is left. A node stays until `complete`."""
        ready = [node_id for node_id, count in self._blocked_by.items() if count == 0]
        if not ready:
            return None
        for distance in range(3):
            for node_id in ready:
                if self._reaches_output(node_id, distance):
                    return node_id
        return ready[0]

    def complete(self, node_id: str) -> None:
        """Takes a node out and frees those that waited for it."""
        del self._blocked_by[node_id]
        for target in self._blocking.pop(node_id):
            self._blocked_by[target] -= 1

    def _reaches_output(self, node_id: str, distance: int) -> bool:
        if distance == 0:
            return self._catalogue.is_output(self._prompt[node_id]["class_type"])
        return any(self._reaches_output(target, distance - 1) for target in self._blocking[node_id])
