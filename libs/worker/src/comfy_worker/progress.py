"""How far a run is, from ComfyUI's messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .job import Progress


class ProgressTracker:
    """Folds messages into snapshots. Cached nodes count as done; the value never falls."""

    def __init__(self, workflow: Mapping[str, Any]) -> None:
        self._classes = {
            node_id: str(node.get("class_type", ""))
            for node_id, node in workflow.items()
            if isinstance(node, Mapping)
        }
        self._needed = needed_nodes(workflow, self._classes)
        self._done: set[str] = set()
        self._current: str | None = None
        self._step: int | None = None
        self._steps: int | None = None
        self._value = 0.0

    def class_of(self, node_id: str) -> str | None:
        """The class of a node of the workflow."""
        return self._classes.get(node_id)

    def cached(self, nodes: Iterable[str]) -> None:
        """These nodes need not run."""
        self._done |= self._needed & set(nodes)

    def executing(self, node_id: str) -> None:
        """A node starts; the one before it is done."""
        if self._current is not None and self._current != node_id:
            self._done.add(self._current)
        self._current, self._step, self._steps = node_id, None, None

    def step(self, node_id: str, value: float, maximum: float) -> None:
        """A node reports steps."""
        self._current = node_id
        self._step, self._steps = int(value), int(maximum)

    def finished(self, node_id: str) -> None:
        """A node is done."""
        self._done.add(node_id)
        if self._current == node_id:
            self._current = self._step = self._steps = None

    def all_done(self) -> None:
        """The run succeeded."""
        self._done |= self._needed
        self._current = self._step = self._steps = None

    def snapshot(self) -> Progress:
        """Where the run is now."""
        total = max(len(self._needed | self._done), 1)
        fraction = (self._step / self._steps) if self._step is not None and self._steps else 0.0
        self._value = max(self._value, min(1.0, (len(self._done) + min(fraction, 1.0)) / total))
        name = self._classes.get(self._current) if self._current is not None else None
        message = name
        if name is not None and self._steps:
            message = f"{name} {self._step}/{self._steps}"
        return Progress(
            self._value, len(self._done), total, self._current, name, self._step, self._steps, message
        )


def needed_nodes(workflow: Mapping[str, Any], classes: Mapping[str, str]) -> set[str]:
    """Nodes that something else leads to, and those that nothing uses: what a run will touch, outputs unknown."""
    sources = {node_id: list(_sources(workflow[node_id])) for node_id in classes}
    targets = {source for found in sources.values() for source in found}
    stack = [node_id for node_id in classes if node_id not in targets]
    needed: set[str] = set()
    while stack:
        node_id = stack.pop()
        if node_id in sources and node_id not in needed:
            needed.add(node_id)
            stack += sources[node_id]
    return needed


def _sources(node: Mapping[str, Any]) -> Iterator[str]:
    inputs = node.get("inputs")
    for value in inputs.values() if isinstance(inputs, Mapping) else ():
        if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str):
            yield value[0]
