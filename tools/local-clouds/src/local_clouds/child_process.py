"""Child processes that never outlive their parent."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
"""Linux's prctl option: the signal that a child gets when its parent dies."""


EXIT_POLL = 0.05
LAST_LINES = 1.0
"""Seconds that the last output of an ended process may take to arrive."""


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


async def exited(process: asyncio.subprocess.Process) -> int:
    """Waits for a process and returns its exit code.

    asyncio's own wait can go on for as long as a grandchild holds the output pipe open.
    """
    waiter = asyncio.create_task(process.wait())
    try:
        while process.returncode is None:
            await asyncio.wait({waiter}, timeout=EXIT_POLL)
        return process.returncode
    finally:
        waiter.cancel()


async def follow_to_end(process: asyncio.subprocess.Process, on_line: Callable[[str], None]) -> int:
    """Hands on each line of a process until it ends, then ends what is left of its group; its exit code."""
    reader = asyncio.create_task(_read_lines(process, on_line))
    try:
        code = await exited(process)
        signal_group(process.pid, signal.SIGKILL)
        await asyncio.wait({reader}, timeout=LAST_LINES)
        return code
    finally:
        reader.cancel()


async def _read_lines(process: asyncio.subprocess.Process, on_line: Callable[[str], None]) -> None:
    while process.stdout is not None:
        try:
            raw = await process.stdout.readline()
        except ValueError:
            continue  # a line longer than the limit is dropped
        if not raw:
            return
        on_line(raw.decode(errors="replace"))


async def end_child(process: asyncio.subprocess.Process, grace: float) -> None:
    """SIGTERM to the group, SIGKILL after `grace` seconds; nothing of the group is left."""
    if process.returncode is None:
        signal_group(process.pid, signal.SIGTERM)
        try:
            await asyncio.wait_for(exited(process), grace)
        except TimeoutError:
            signal_group(process.pid, signal.SIGKILL)
            await exited(process)
    signal_group(process.pid, signal.SIGKILL)
