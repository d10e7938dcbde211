"""A worker on the real `runpod` SDK, whose handler does what the job's input says."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import runpod

seen: dict[str, int] = {}


async def handler(job: dict[str, Any]) -> Any:
    """`{do, …}`: see the branches."""
    given = job["input"]
    action = given.get("do", "echo")
    seen[action] = seen.get(action, 0) + 1
    if action == "fail":
        return {"error": "it went wrong", "details": ["why"]}
    if action == "raise":
        raise ValueError("raised in the handler")
    if action == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if action == "progress":
        runpod.serverless.progress_update(job, {"step": 1})
    if action in ("hang", "progress"):
        await asyncio.sleep(3600)
    if action == "block":
        signal.pause()
    if action == "refresh":
        return {"refresh_worker": True, "pid": os.getpid()}
    if action == "large":
        return {"data": "x" * given["bytes"]}
    if action == "environment":
        return dict(os.environ)
    if action == "print":
        print(given["text"], flush=True)
    if action == "nothing":
        return {}
    return {"echo": given, "pid": os.getpid()}


async def streaming(job: dict[str, Any]) -> AsyncIterator[Any]:
    """Yields what the input lists."""
    for piece in job["input"]["pieces"]:
        yield piece


if __name__ == "__main__":
    chosen = streaming if os.environ.get("SAMPLE_HANDLER") == "streaming" else handler
    runpod.serverless.start({"handler": chosen, "return_aggregate_stream": True})
