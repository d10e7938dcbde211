"""Calls by id: all that are under way, and finished ones for as long as Modal keeps their results."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .records import Call

RESULT_RETENTION = 7 * 24 * 3600.0
"""Seconds that Modal keeps a result after its call is finished (contracts: Modal's docs)."""

RESULT_LIMIT = 10_000
"""Finished calls that are kept at most; Modal has no such limit."""

REMEMBERED = 100_000
"""Ids of expired calls that are still told from ids that never were."""


@dataclass(frozen=True)
class Retention:
    """How long, and how many, finished calls are kept."""

    seconds: float = RESULT_RETENTION
    calls: int = RESULT_LIMIT


class CallHistory:
    """Every call that is not finished, and the latest finished ones. `expire` takes out the rest."""

    def __init__(
        self, retention: Retention | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._retention = retention or Retention()
        self._clock = clock
        self._calls: dict[str, Call] = {}
        self._finished: OrderedDict[str, float] = OrderedDict()
        self._expired: OrderedDict[str, None] = OrderedDict()

    def __iter__(self) -> Iterator[Call]:
        return iter(list(self._calls.values()))

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, call: Call) -> None:
        """Takes up a call."""
        self._calls[call.id] = call

    def get(self, call_id: str) -> Call | None:
        """The call with this id, unless it has expired or never was."""
        return self._calls.get(call_id)

    def has_expired(self, call_id: str) -> bool:
        """Whether there was a call with this id."""
        return call_id in self._expired

    def resumed(self, call: Call) -> None:
        """The call has an input without an output (again)."""
        self._finished.pop(call.id, None)

    def finished(self, call: Call) -> None:
        """Every input of the call has an output: from now on its retention counts."""
        if call.id in self._calls:
            self._finished[call.id] = self._clock()
            self._finished.move_to_end(call.id)

    def discard(self, call: Call) -> None:
        """Forgets a call whose result nobody can ask for again."""
        self._finished.pop(call.id, None)
        self._calls.pop(call.id, None)

    def expire(self) -> list[Call]:
        """Takes out the calls whose retention is over, the oldest first."""
        gone: list[Call] = []
        oldest = self._clock() - self._retention.seconds
        while self._finished:
            call_id, finished_at = next(iter(self._finished.items()))
            if finished_at >= oldest and len(self._finished) <= self._retention.calls:
                break
            del self._finished[call_id]
            gone.append(self._calls.pop(call_id))
            self._expired[call_id] = None
        while len(self._expired) > REMEMBERED:
            self._expired.popitem(last=False)
        return gone
