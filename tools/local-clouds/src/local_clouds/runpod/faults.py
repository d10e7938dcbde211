"""The faults that a local RunPod can have. `OP` is run, runsync, status, stream, cancel, retry, purge-queue or health."""

from __future__ import annotations

FAULTS = {
    "latency-ms": "every operation (or OP/ms: this one) takes this many milliseconds more",
    "http-500": "every operation (or OP/) answers 500",
    "http-429": "every operation (or OP/) answers 429",
    "drop-before-accept": "run and runsync (or OP/): the connection is closed, no job exists",
    "drop-after-accept": "run and runsync (or OP/): the connection is closed, the job exists and runs",
    "truncated-json": "every operation (or OP/) answers with half of its body",
    "forget-job": "status answers 404 for a job that exists",
    "running-state": "status says RUNNING in place of IN_PROGRESS",
    "lose-result": "a job's result is dropped: COMPLETED without output",
    "lose-webhook": "a webhook is not sent",
    "duplicate-webhook": "a webhook is sent twice",
    "late-webhook-ms": "a webhook is sent this many milliseconds later",
    "kill-worker": "the worker that takes a job is killed (SIGKILL) this many milliseconds later (default 0)",
    "cold-start-latency-ms": "a worker's process is started this many milliseconds later",
}
"""Names and what they do; each can be limited to a number of hits: `http-500=status/:3`."""
