"""The collector is paused in a process of its own: this one's belongs to pytest."""

from __future__ import annotations

import subprocess
import sys

from comfy_worker.weights import garbage

SCRIPT = f"""
import gc, importlib.util, threading
spec = importlib.util.spec_from_file_location("garbage", {garbage.__file__!r})
garbage = importlib.util.module_from_spec(spec)
spec.loader.exec_module(garbage)
garbage.pause()
serves = threading.Event()
waiting = garbage.resume_when(serves.is_set)
print(gc.isenabled(), gc.get_freeze_count() > 0)
serves.set()
waiting.join()
print(gc.isenabled(), gc.get_freeze_count() > 0)
garbage.pause()
garbage.resume_when(lambda: False, longest=0).join()
print(gc.isenabled())
"""


def test_garbage_is_collected_again_when_comfyui_serves_or_never_does() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["False False", "True True", "True"]
