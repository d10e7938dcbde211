"""Every number of RunPod's job API that the stand-in keeps to. Times in seconds, sizes in bytes.

Source, unless a line says otherwise: RunPod's public documentation as collected on 2026-11-24
(docs.runpod.io, "Serverless: send requests", "endpoint operations", "job states and metrics").
RunPod writes MB; the stricter reading, 10^6 bytes, is taken.
"""

from __future__ import annotations

from dataclasses import dataclass

MEGABYTE = 1_000_000

RUN_BODY_BYTES = 10 * MEGABYTE
"""Largest body of POST /run."""

RUNSYNC_BODY_BYTES = 20 * MEGABYTE
"""Largest body of POST /runsync."""

RESULT_BYTES = 20 * MEGABYTE
"""Largest result of a job; the number is in the tip that the worker SDK prints (runpod 1.12.0, rp_tips)."""

STREAM_CHUNK_BYTES = 1 * MEGABYTE
"""Largest piece of a stream."""

RUN_RETENTION = 30 * 60.0
"""How long the result of POST /run is kept after the job ended."""

RUNSYNC_RETENTION = 60.0
"""How long the result of POST /runsync is kept after the job ended."""

RUNSYNC_WAIT_DEFAULT = 90.0
"""How long POST /runsync waits for the end of the job without `wait`."""

RUNSYNC_WAIT_RANGE = (1.0, 300.0)
"""What `wait` may be."""

EXECUTION_TIMEOUT_DEFAULT = 600.0
"""policy.executionTimeout when a job has none."""

EXECUTION_TIMEOUT_RANGE = (5.0, 7 * 86400.0)

TTL_DEFAULT = 86400.0
"""policy.ttl when a job has none; counted from the submission."""

TTL_RANGE = (10.0, 7 * 86400.0)

WEBHOOK_RETRIES = 2
"""A webhook that is not answered with 200 is sent again so many times."""

WEBHOOK_RETRY_DELAY = 10.0
"""Pause before each of these."""

LIMIT_WINDOW = 10.0
"""Rate limits count requests in windows of this length."""


@dataclass(frozen=True, slots=True)
class OperationLimit:
    """What one operation of one endpoint may be asked for; None: no limit is documented."""

    per_window: int | None
    concurrent: int | None


OPERATION_LIMITS = {
    "run": OperationLimit(1000, 200),
    "runsync": OperationLimit(2000, 400),
    "status": OperationLimit(2000, 400),
    "stream": OperationLimit(2000, 400),
    "cancel": OperationLimit(100, 20),
    "purge-queue": OperationLimit(2, None),
    "retry": OperationLimit(None, None),
    "health": OperationLimit(None, None),
}

# Below: choices of the stand-in, where RunPod documents nothing.

LONG_POLL = 20.0
"""How long job-take and job-stop are held open without news; the SDK gives up after 90 s."""

MAX_RETRIES = 1
"""How often a job whose worker died goes back to the queue.

RunPod counts such jobs as `retried` in /health and is known to fail them with "job timed out after 1 retries".
"""

STOP_GRACE = 10.0
"""How long a worker has to drop a job that it was told to stop, before its process is ended."""

TERMINATE_GRACE = 5.0
"""How long a worker has to end after SIGTERM, before SIGKILL."""

START_BACKOFF = 0.5
"""Pause before a worker is started again that ended before it asked for work; doubled up to START_BACKOFF_MAX."""

START_BACKOFF_MAX = 10.0

PING_INTERVAL = 10.0
"""The worker SDK's default."""

TICK = 0.1
"""How often deadlines are looked at."""
