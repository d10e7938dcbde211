"""RunPod's rate limits: calls per window, and calls at once."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Generator
from contextlib import contextmanager

from .limits import RATE_LIMITS, RATE_WINDOW_S


class RateLimits:
    """Counts calls per operation of one endpoint."""

    def __init__(self) -> None:
        self._recent: dict[str, deque[float]] = defaultdict(deque)
        self._active: dict[str, int] = defaultdict(int)

    @contextmanager
    def call(self, operation: str) -> Generator[bool]:
        """Whether the call is within the limits; it counts as active inside the block."""
        calls, at_once = RATE_LIMITS.get(operation, (1 << 30, 1 << 30))
        now = time.monotonic()
        recent = self._recent[operation]
        while recent and now - recent[0] > RATE_WINDOW_S:
            recent.popleft()
        allowed = len(recent) < calls and self._active[operation] < at_once
        if allowed:
            recent.append(now)
        self._active[operation] += 1
        try:
            yield allowed
        finally:
            self._active[operation] -= 1
