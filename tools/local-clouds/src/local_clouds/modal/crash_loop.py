"""Containers that end in the middle of an input: what becomes of it, and when the next container may start.

As Modal's guide says (modal.com/docs/guide/retries, read 2026-11-25): the work is given to another container, of a deployed app for
ever and with a crash-loop backoff, of an ephemeral one until a failure rate is exceeded. It gives no numbers: these are ours.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

PAUSES = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds until the next container, after so many crashes in a row; then as the last."""

EPHEMERAL_CRASHES = 3
"""Crashes in a row after which the inputs of an ephemeral app fail."""


@dataclass
class CrashLoop:
    """How it goes with the containers of one function."""

    crashes: int = 0
    """In a row: since one has answered an input."""
    next_start: float = 0.0
    """On the clock of `time.monotonic`."""

    def crashed(self) -> float:
        """A container is gone; seconds until the next may start."""
        pause = PAUSES[min(self.crashes, len(PAUSES) - 1)]
        self.crashes += 1
        self.next_start = time.monotonic() + pause
        return pause

    def answered(self) -> None:
        """A container has answered an input."""
        self.crashes, self.next_start = 0, 0.0

    def is_over(self, deployed: bool) -> bool:
        """Whether inputs are given up."""
        return not deployed and self.crashes >= EPHEMERAL_CRASHES

    def pausing(self) -> bool:
        """Whether no container may start yet."""
        return time.monotonic() < self.next_start
