"""Latency and named faults that can be switched on, by argument, environment or control route.

A fault is `name`, `name=value` or `name:count` (`name=value:count`): without a count it stays until removed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

FAULTS = {
    "oom": "the node of this class (value; default: the next sampler) fails with torch.OutOfMemoryError",
    "node-error": "the node of this class (value) fails with RuntimeError",
    "crash": "the process exits with code 139 when the node of this class (value; default: any) starts",
    "hang": "the node of this class (value; default: any) never ends, and ignores interrupts",
    "slow": "every node takes this many seconds more (value)",
    "refuse": "POST /prompt answers 503",
    "drop-websocket": "sockets are closed when a node starts, without any message",
    "truncate-view": "GET /view closes the connection after half of the file",
    "lose-output": "files are deleted right after a node saved them",
    "boot-delay": "the server answers nothing for this many seconds after its start (value; argument only)",
}
"""Names and what they do."""


class UnknownFault(ValueError):
    """A fault of another name was asked for."""

    def __init__(self, name: str) -> None:
        super().__init__(f"unknown fault {name!r}; there are: {', '.join(FAULTS)}")


@dataclass
class _Fault:
    value: str
    left: int | None


class Faults:
    """The faults that are switched on. Thread-safe."""

    def __init__(self, specs: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._active: dict[str, _Fault] = {}
        for spec in specs:
            self.add(spec)

    def add(self, spec: str) -> None:
        """Switches a fault on; raises UnknownFault."""
        rest, _, count = spec.partition(":") if spec.rpartition(":")[2].isdigit() else (spec, "", "")
        name, _, value = rest.partition("=")
        if name not in FAULTS:
            raise UnknownFault(name)
        with self._lock:
            self._active[name] = _Fault(value, int(count) if count else None)

    def clear(self) -> None:
        """Switches every fault off."""
        with self._lock:
            self._active.clear()

    def active(self) -> dict[str, dict[str, str | int | None]]:
        """What is on, for the control route."""
        with self._lock:
            return {name: {"value": fault.value, "left": fault.left} for name, fault in self._active.items()}

    def value(self, name: str) -> str | None:
        """Value of a fault that is on, without using it up."""
        with self._lock:
            fault = self._active.get(name)
            return None if fault is None else fault.value

    def strikes(self, name: str, subject: str = "") -> bool:
        """Whether the fault hits now; a counted fault is used up by it."""
        with self._lock:
            fault = self._active.get(name)
            if fault is None or (fault.value and subject and fault.value != subject):
                return False
            if fault.left is not None:
                fault.left -= 1
                if fault.left <= 0:
                    del self._active[name]
            return True
