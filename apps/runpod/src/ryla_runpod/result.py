"""A job's outputs in the shape of the community's worker, with fields of ours beside."""

from __future__ import annotations

import base64
from typing import Any

from comfy_worker import JobRun, Output, OutputMissing

MAXIMUM_RESULT_BYTES = 20 * 1024 * 1024
"""What RunPod takes as a result; larger ones are dropped by the platform with no more than a log line."""


class ResultTooLarge(OutputMissing):
    """The outputs do not fit into a RunPod result."""

    code = "payload_too_large"


async def to_result(run: JobRun, worker_id: str) -> dict[str, Any]:
    """`{images, files, jobId, workerId, timings}`. Raises ResultTooLarge, or OutputMissing."""
    images: list[dict[str, Any]] = []
    files: list[dict[str, Any]] = []
    total = 0
    for output in await run.outputs():
        entry = await _entry(output)
        total += len(entry["data"])
        if total > MAXIMUM_RESULT_BYTES:
            raise ResultTooLarge(
                f"The outputs are larger than {MAXIMUM_RESULT_BYTES} bytes, which RunPod does not deliver.",
                job_id=run.job_id,
                node_id=output.node_id,
                hint="Make smaller or fewer outputs, or run the job on Modal, which keeps outputs on a volume.",
            )
        (images if output.kind == "image" else files).append(entry)
    result: dict[str, Any] = {"images": images, "files": files, "jobId": run.job_id, "workerId": worker_id}
    if not images:
        result["status"] = "success_no_images"
    return {**result, "timings": run.timings.to_json()}


async def _entry(output: Output) -> dict[str, Any]:
    content = await output.read()
    return {
        "filename": output.name,
        "type": "base64",
        "data": base64.b64encode(content).decode(),
        "nodeId": output.node_id,
        "subfolder": output.subfolder,
        "kind": output.kind,
        "contentType": output.content_type,
        "size": output.size_bytes,
        "sha256": output.sha256,
    }
