"""Named faults and latencies of a stand-in, switched on by argument or control route.

A fault is `name`, `name=value`, each with `:count` to stop after so many hits: `rpc-error=FunctionMap/UNAVAILABLE:2`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


class UnknownFault(ValueError):
    """A fault of another name was asked for."""


@dataclass(slots=True)
class ActiveFault:
    """A fault that is on: its value, and how many hits are left (None: until removed)."""

    value: str
    left: int | None


class Faults:
    """The faults that are on, out of a set of known names."""

    def __init__(self, known: Mapping[str, str], specs: Iterable[str] = ()) -> None:
        self.known = dict(known)
        self.active: dict[str, ActiveFault] = {}
        for spec in specs:
            self.add(spec)

    def add(self, spec: str) -> None:
        """Switches a fault on. Raises UnknownFault."""
        head, colon, tail = spec.rpartition(":")
        rest, count = (head, int(tail)) if colon and tail.isdigit() else (spec, None)
        name, _, value = rest.partition("=")
        if name not in self.known:
            raise UnknownFault(f"unknown fault {name!r}; there are: {', '.join(self.known)}")
        self.active[name] = ActiveFault(value, count)

    def remove(self, name: str | None = None) -> None:
        """Switches one fault off, or all."""
        if name is None:
            self.active.clear()
        else:
            self.active.pop(name, None)

    def hit(self, name: str, subject: str | None = None) -> str | None:
        """The fault's value when it strikes now, and uses up one hit; None when it does not.

        With a `subject`, a fault whose value begins with `<something>/` strikes only that subject.
        """
        fault = self.active.get(name)
        if fault is None:
            return None
        target, slash, rest = fault.value.partition("/")
        if subject is not None and slash and target != subject:
            return None
        if fault.left is not None:
            fault.left -= 1
            if fault.left <= 0:
                del self.active[name]
        return rest if subject is not None and slash else fault.value

    def seconds(self, name: str) -> float:
        """Value of a latency in milliseconds, as seconds; 0 when it is off."""
        value = self.hit(name)
        return float(value or 0) / 1000

    def to_json(self) -> dict[str, object]:
        """What is on and what there is."""
        active = {name: {"value": fault.value, "left": fault.left} for name, fault in self.active.items()}
        return {"active": active, "known": self.known}
