"""Whether the processor has time for work that can wait."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

WINDOW = 0.2
"""Seconds that the use is taken over."""

IDLE_CORES = 0.4
"""Cores' time that must be unused: what a SHA-256 beside an MD5 takes of one (docs/benchmarks.md)."""

LIMITS = Path("/sys/fs/cgroup/cpu.max")
STATISTICS = Path("/proc/stat")
_TICKS = os.sysconf("SC_CLK_TCK")


class SpareCores:
    """Asked often, in any thread; measures every WINDOW seconds at most."""

    def __init__(
        self,
        cores: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        used: Callable[[], float] = time.process_time,
        idle: Callable[[], float | None] | None = None,
    ) -> None:
        """`cores` that this process may use, seconds of them that it `used`, and `idle` ones of the machine, so far."""
        self._cores = usable_cores() if cores is None else cores
        self._clock = clock
        self._used = used
        self._idle = idle or idle_seconds
        self._last = clock(), used(), self._idle()
        self._are_spare = True

    def __call__(self) -> bool:
        """Whether there were some, when it was last measured."""
        since, used_before, idle_before = self._last
        seconds = self._clock() - since
        if seconds >= WINDOW:
            self._last = since + seconds, self._used(), self._idle()
            _, used, idle = self._last
            mine = self._cores - (used - used_before) / seconds
            free = mine if idle is None or idle_before is None else min(mine, (idle - idle_before) / seconds)
            self._are_spare = free >= IDLE_CORES
        return self._are_spare


def usable_cores(limits: Path = LIMITS) -> float:
    """Cores that this process may run on, or the container's limit where that is less."""
    cores = float(len(os.sched_getaffinity(0)))
    try:
        quota, period = limits.read_text(encoding="ascii").split()
        return cores if quota == "max" else min(cores, int(quota) / int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return cores


def idle_seconds(statistics: Path = STATISTICS) -> float | None:
    """Seconds that the machine's cores had nothing to do, so far; None where that is not known, as in a sandbox."""
    try:
        first = statistics.read_text(encoding="ascii").partition("\n")[0].split()
        idle = int(first[4]) + int(first[5])
    except (OSError, ValueError, IndexError):
        return None
    return idle / _TICKS if idle else None
