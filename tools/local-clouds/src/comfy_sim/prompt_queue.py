"""The queue of prompts and their history, with ComfyUI's shapes and notifications."""

from __future__ import annotations

import copy
import heapq
import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

MAXIMUM_HISTORY = 10_000
"""Finished prompts that are kept (ComfyUI 0.3.64)."""

SENSITIVE_EXTRA_DATA = ("auth_token_comfy_org", "api_key_comfy_org")
"""Keys of extra_data that never reach the history."""


@dataclass(order=True)
class QueuedPrompt:
    """One prompt in the queue; ordered by its number, then by arrival."""

    number: float
    arrival: int
    prompt_id: str = field(compare=False)
    prompt: dict[str, Any] = field(compare=False)
    extra_data: dict[str, Any] = field(compare=False)
    outputs: list[str] = field(compare=False)

    def to_json(self) -> list[Any]:
        """As /queue and /history show it."""
        return [self.number, self.prompt_id, self.prompt, self.extra_data, self.outputs]


class PromptQueue:
    """Thread-safe; `on_change` is called whenever the number of waiting or running prompts may have changed."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._changed = threading.Condition(threading.RLock())
        self._waiting: list[QueuedPrompt] = []
        self._running: QueuedPrompt | None = None
        self._history: dict[str, dict[str, Any]] = {}
        self._arrivals = itertools.count()
        self._closed = False

    def put(
        self,
        number: float,
        prompt_id: str,
        prompt: dict[str, Any],
        extra_data: dict[str, Any],
        outputs: list[str],
    ) -> None:
        """Queues a prompt. The same id twice is two runs, as in ComfyUI."""
        with self._changed:
            item = QueuedPrompt(number, next(self._arrivals), prompt_id, prompt, extra_data, outputs)
            heapq.heappush(self._waiting, item)
            self._on_change()
            self._changed.notify_all()

    def take(self) -> QueuedPrompt | None:
        """Waits for a prompt and makes it the running one; None after `close`."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            self._running = heapq.heappop(self._waiting)
            self._on_change()
            return self._running

    def done(self, result: dict[str, Any], status: dict[str, Any]) -> None:
        """Moves the running prompt to the history."""
        with self._changed:
            item = self._running
            if item is None:
                return
            self._running = None
            if len(self._history) > MAXIMUM_HISTORY:
                self._history.pop(next(iter(self._history)))
            extra = {
                name: value for name, value in item.extra_data.items() if name not in SENSITIVE_EXTRA_DATA
            }
            shown = [item.number, item.prompt_id, item.prompt, extra, item.outputs]
            self._history[item.prompt_id] = {"prompt": shown, "outputs": {}, "status": status, **result}
            self._on_change()

    def close(self) -> None:
        """Ends a waiting `take`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def remaining(self) -> int:
        """Prompts that wait or run."""
        with self._changed:
            return len(self._waiting) + (self._running is not None)

    def running_id(self) -> str | None:
        """Id of the running prompt."""
        with self._changed:
            return self._running.prompt_id if self._running else None

    def snapshot(self) -> dict[str, list[Any]]:
        """The answer of GET /queue."""
        with self._changed:
            running = [self._running.to_json()] if self._running else []
            return {"queue_running": running, "queue_pending": [item.to_json() for item in self._waiting]}

    def clear(self) -> None:
        """Drops everything that waits."""
        with self._changed:
            self._waiting = []
            self._on_change()

    def delete(self, prompt_id: str) -> None:
        """Drops the first waiting prompt with this id; a running one stays."""
        with self._changed:
            for index, item in enumerate(self._waiting):
                if item.prompt_id == prompt_id:
                    if len(self._waiting) == 1:
                        self.clear()
                    else:
                        self._waiting.pop(index)
                        heapq.heapify(self._waiting)
                    self._on_change()
                    return

    def history(self, max_items: int | None = None, offset: int = -1) -> dict[str, Any]:
        """Finished prompts, oldest first; the last `max_items` of them, or as many from `offset` on."""
        with self._changed:
            if offset < 0 and max_items is not None:
                offset = len(self._history) - max_items
            chosen: dict[str, Any] = {}
            for index, (prompt_id, entry) in enumerate(self._history.items()):
                if index >= offset:
                    chosen[prompt_id] = entry
                    if max_items is not None and len(chosen) >= max_items:
                        break
            return copy.deepcopy(chosen)

    def history_of(self, prompt_id: str) -> dict[str, Any]:
        """One finished prompt under its id, or an empty object."""
        with self._changed:
            entry = self._history.get(prompt_id)
            return {} if entry is None else {prompt_id: copy.deepcopy(entry)}

    def clear_history(self) -> None:
        """Forgets every finished prompt."""
        with self._changed:
            self._history = {}

    def delete_history(self, prompt_id: str) -> None:
        """Forgets one finished prompt."""
        with self._changed:
            self._history.pop(prompt_id, None)
