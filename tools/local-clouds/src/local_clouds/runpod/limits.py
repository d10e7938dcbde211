"""RunPod's published limits and defaults (its public docs, read 2026-11-24; queue endpoints)."""

from __future__ import annotations

RUN_BODY_BYTES = 10 * 1024 * 1024
"""Largest body of POST /run."""

RUNSYNC_BODY_BYTES = 20 * 1024 * 1024
"""Largest body of POST /runsync."""

RESULT_BYTES = 20 * 1024 * 1024
"""Largest result of a worker (taken from the request's limit; RunPod states none of its own).

What is larger is refused; the worker SDK only logs that, and the job is COMPLETED without output."""

RUN_RETENTION_MS = 30 * 60 * 1000
"""How long a result of /run is kept."""

RUNSYNC_RETENTION_MS = 60 * 1000
"""How long a result of /runsync is kept."""

RUNSYNC_WAIT_MS = (1_000, 300_000, 90_000)
"""Least, most and default wait of /runsync."""

EXECUTION_TIMEOUT_MS = 600_000
EXECUTION_TIMEOUT_RANGE_MS = (5_000, 7 * 24 * 3600 * 1000)
TTL_MS = 24 * 3600 * 1000
TTL_RANGE_MS = (10_000, 7 * 24 * 3600 * 1000)
"""Counted from the submission; when it ends while a job runs, the job is deleted."""

WEBHOOK_RETRIES = 2
WEBHOOK_RETRY_MS = 10_000

RATE_WINDOW_S = 10.0
RATE_LIMITS: dict[str, tuple[int, int]] = {
    "run": (1000, 200),
    "runsync": (2000, 400),
    "status": (2000, 400),
    "stream": (2000, 400),
    "cancel": (100, 20),
    "purge-queue": (2, 2),
}
"""Calls per 10 s, and at once, for each operation and endpoint; others have no published limit."""

STREAM_CHUNK_BYTES = 1024 * 1024
"""Largest piece of a stream; a larger one is refused."""
