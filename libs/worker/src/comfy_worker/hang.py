"""A ComfyUI that is there and does nothing any more: for the job it is as good as crashed, and it is replaced."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from .errors import EngineCrashed

STALLED, UNRESPONSIVE = "stalled", "unresponsive"
STALL_TIMEOUT = 30.0
"""Seconds for which a job may wait while ComfyUI runs nothing: it takes the next prompt within milliseconds, so its
execution thread has died."""


class StallWatch:
    """Notices a queue that stands still."""

    def __init__(self, job_id: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._job_id = job_id
        self._clock = clock
        self._since: float | None = None

    def seen(self, running: Sequence[str], waiting: Sequence[str]) -> None:
        """Takes in a look at the queue. Raises EngineCrashed when nothing has run since the first of such looks."""
        if running or self._job_id not in waiting:
            self._since = None
            return
        now = self._clock()
        self._since = now if self._since is None else self._since
        if now - self._since >= STALL_TIMEOUT:
            raise EngineCrashed(
                f"ComfyUI has run nothing for {now - self._since:.0f} s while job {self._job_id} waits in its queue.",
                job_id=self._job_id,
                details={"reason": STALLED},
                hint="Its execution thread has died. It is started again for the next job; submit this one again.",
            )

    def moved(self) -> None:
        """Something was heard of the job."""
        self._since = None


def unresponsive(job_id: str, seconds: float, log: Sequence[str]) -> EngineCrashed:
    """The error of a ComfyUI that runs and gives no answer."""
    return EngineCrashed(
        f"ComfyUI gave no answer for {seconds:.0f} s while job {job_id} was running.",
        job_id=job_id,
        details={"reason": UNRESPONSIVE, "log": list(log)},
        hint="It hangs. It is killed, and started again for the next job; raise COMFYUI_HANG_TIMEOUT when it only "
        "needs longer, as for models on a slow volume.",
    )


def is_hung(error: EngineCrashed) -> bool:
    """Whether ComfyUI is still there, but for nothing."""
    return isinstance(error.details, dict) and error.details.get("reason") in (STALLED, UNRESPONSIVE)
