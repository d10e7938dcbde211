"""Python's garbage collector stays out of ComfyUI's imports, and later leaves alone what they made.

Imports make 600,000 objects that live as long as the process. Each full collection looks at all of them: about
1 s of a start, and a third of a second in the middle of a first picture (docs/benchmarks.md).
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable

INTERVAL = 0.05
"""Seconds between two looks at whether ComfyUI serves."""

LONGEST = 300.0
"""Seconds after which collections begin again in any case."""


def pause() -> None:
    """No collection until `resume_when` says so; reference counts free most objects as ever."""
    gc.disable()


def resume_when(serving: Callable[[], bool], longest: float = LONGEST) -> threading.Thread:
    """Collects again once `serving`; what is there by then is no longer looked at. Returns the thread that waits."""

    def wait() -> None:
        deadline = time.monotonic() + longest
        while not serving() and time.monotonic() < deadline:
            time.sleep(INTERVAL)
        gc.freeze()
        gc.enable()

    thread = threading.Thread(target=wait, name="garbage", daemon=True)
    thread.start()
    return thread
