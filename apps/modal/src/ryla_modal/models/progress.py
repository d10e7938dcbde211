"""How far a run is, how fast, and how long it will take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

WINDOW = 10.0
"""Seconds that the rate is taken over."""


class Progress:
    """Bytes of all files of a run."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._samples: deque[tuple[float, int]] = deque([(clock(), 0)])
        self.total = 0
        """Bytes to be fetched, what is left of interrupted downloads only."""
        self.done = 0

    def expect(self, count: int) -> None:
        """More bytes are to be fetched; fewer, when negative."""
        self.total += count

    def advance(self, count: int) -> None:
        """Bytes have come."""
        self.done += count

    def line(self) -> str:
        """Such as `12.3 of 34.2 GB, 36 %, 812 MB/s, 27 s left`."""
        now = self._clock()
        self._samples.append((now, self.done))
        while len(self._samples) > 2 and now - self._samples[0][0] > WINDOW:
            self._samples.popleft()
        since, before = self._samples[0]
        rate = (self.done - before) / (now - since) if now > since else 0.0
        share = 100 * self.done // self.total if self.total else 100
        left = f"{duration((self.total - self.done) / rate)} left" if rate > 0 else "waiting"
        return f"{size_text(self.done)} of {size_text(self.total)}, {share} %, {size_text(rate)}/s, {left}"


def size_text(count: float) -> str:
    """Bytes for people: 812 MB."""
    for unit in ("B", "kB", "MB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"


def duration(seconds: float) -> str:
    """Seconds for people: 3 min 20 s."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
