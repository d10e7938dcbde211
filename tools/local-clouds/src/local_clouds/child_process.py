"""Child processes that never outlive their parent."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
"""Linux's prctl option: the signal that a child gets when its parent dies."""


def die_with_parent() -> None:
    """For `preexec_fn`: the kernel kills this process when its parent is gone (Linux; elsewhere nothing)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


async def start_child(
    command: Sequence[str], *, env: Mapping[str, str], cwd: Path | None = None
) -> asyncio.subprocess.Process:
    """Starts a process in a group of its own, its output (both streams) on a pipe."""
    return await asyncio.create_subprocess_exec(
        *command,
        env=dict(env),
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=die_with_parent,
        limit=1 << 20,
    )


def signal_group(pid: int, number: signal.Signals) -> None:
    """Sends a signal to a process group; one that is gone is no error."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


async def end_child(process: asyncio.subprocess.Process, grace: float) -> None:
    """SIGTERM to the group, SIGKILL after `grace` seconds; nothing of the group is left."""
    if process.returncode is None:
        signal_group(process.pid, signal.SIGTERM)
        try:
            await asyncio.wait_for(asyncio.shield(process.wait()), grace)
        except TimeoutError:
            signal_group(process.pid, signal.SIGKILL)
            await process.wait()
    signal_group(process.pid, signal.SIGKILL)
