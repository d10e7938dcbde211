"""ComfyUI's execution_error as an error that tells what to do."""

from __future__ import annotations

from typing import Any

from .errors import NodeFailed, OutOfMemory

OUT_OF_MEMORY_MARKS = ("outofmemory", "out of memory", "allocation on device")
"""What an exception's type or message holds when the GPU's memory was not enough."""


def node_failure(job_id: str, data: dict[str, Any]) -> NodeFailed:
    """ComfyUI's execution_error as an error with its true cause; running out of memory is told apart."""
    message = str(data.get("exception_message") or "").strip()
    kind = str(data.get("exception_type") or "")
    node_id, class_type = str(data.get("node_id") or ""), str(data.get("node_type") or "")
    first_line = message.splitlines()[0] if message else kind
    details = {
        "exceptionType": kind,
        "exceptionMessage": message,
        "traceback": "".join(data.get("traceback") or []),
    }
    if any(mark in f"{kind} {message}".lower() for mark in OUT_OF_MEMORY_MARKS):
        return OutOfMemory(
            f"Node {node_id} ({class_type}) ran out of memory: {first_line}",
            job_id=job_id,
            node_id=node_id,
            class_type=class_type,
            details=details,
            hint="Use a GPU with more memory, a smaller picture or batch, or a quantised model.",
        )
    return NodeFailed(
        f"Node {node_id} ({class_type}) failed: {first_line}",
        job_id=job_id,
        node_id=node_id,
        class_type=class_type,
        details=details,
    )
