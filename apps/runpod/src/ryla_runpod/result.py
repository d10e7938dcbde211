"""A job's outputs in the shape of the community's worker, with fields of ours beside."""

from __future__ import annotations

import base64
import time
from typing import Any

from comfy_worker import JobRun, Output, OutputMissing

from .result_bucket import ResultBucket

MAXIMUM_RESULT_BYTES = 20 * 1024 * 1024
"""What RunPod takes as a result (its SDK's own limit, 1.12.0); larger ones are dropped by the platform with no more
than a log line. Outputs whose base64 is longer together go to the bucket, all of them."""


class ResultTooLarge(OutputMissing):
    """The outputs do not fit into a RunPod result."""

    code = "payload_too_large"


async def to_result(run: JobRun, worker_id: str, bucket: ResultBucket | None = None) -> dict[str, Any]:
    """`{images, files, jobId, workerId, timings, metrics}`. Raises ResultTooLarge, or OutputMissing."""
    outputs = await run.outputs()
    begun = time.monotonic()
    entries = await _entries(run, outputs, bucket)
    images = [entry for entry in entries if entry["kind"] == "image"]
    files = [entry for entry in entries if entry["kind"] != "image"]
    result: dict[str, Any] = {"images": images, "files": files, "jobId": run.job_id, "workerId": worker_id}
    if not images:
        result["status"] = "success_no_images"
    metrics = run.metrics.with_cloud(upload_ms=round((time.monotonic() - begun) * 1000))
    return {**result, "timings": run.timings.to_json(), "metrics": metrics.to_json()}


async def _entries(run: JobRun, outputs: list[Output], bucket: ResultBucket | None) -> list[dict[str, Any]]:
    """Outputs inline when they fit together, otherwise by their addresses."""
    inline: list[tuple[Output, bytes]] = []
    total = 0
    for number, output in enumerate(outputs):
        content = await output.read()
        total += -(-len(content) // 3) * 4
        inline.append((output, content))
        if total > MAXIMUM_RESULT_BYTES:
            if bucket is None:
                raise _too_large(run.job_id, output)
            rest = outputs[number + 1 :]
            stored = [await _stored(bucket, run.job_id, *read) for read in inline]
            return stored + [await _stored(bucket, run.job_id, later, await later.read()) for later in rest]
    return [_described(output, "base64", base64.b64encode(content).decode()) for output, content in inline]


def _too_large(job_id: str, output: Output) -> ResultTooLarge:
    return ResultTooLarge(
        f"The outputs are larger than {MAXIMUM_RESULT_BYTES} bytes, which RunPod does not deliver.",
        job_id=job_id,
        node_id=output.node_id,
        hint="Set BUCKET_ENDPOINT_URL, BUCKET_ACCESS_KEY_ID and BUCKET_SECRET_ACCESS_KEY of the endpoint, make "
        "smaller or fewer outputs, or run the job on Modal, which keeps outputs on a volume.",
    )


async def _stored(bucket: ResultBucket, job_id: str, output: Output, content: bytes) -> dict[str, Any]:
    key = "/".join(part for part in (job_id, output.node_id, output.subfolder, output.name) if part)
    try:
        url = await bucket.put(key, content, output.content_type)
    except Exception as error:
        raise OutputMissing(
            f"The output {output.name} could not be put into the bucket: {type(error).__name__}.",
            job_id=job_id,
            node_id=output.node_id,
            hint="Check the address and the keys of the bucket (BUCKET_ENDPOINT_URL).",
        ) from error
    return _described(output, "s3_url", url)


def _described(output: Output, kind: str, data: str) -> dict[str, Any]:
    return {
        "filename": output.name,
        "type": kind,
        "data": data,
        "nodeId": output.node_id,
        "subfolder": output.subfolder,
        "kind": output.kind,
        "contentType": output.content_type,
        "size": output.size_bytes,
        "sha256": output.sha256,
    }
