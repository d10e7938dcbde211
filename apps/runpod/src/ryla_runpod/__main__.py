"""`python -m ryla_runpod`: the worker that RunPod starts."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Mapping
from typing import Any

import runpod
from comfy_worker import (
    ClaimsUnavailable,
    DirectoryClaims,
    EngineConfig,
    EngineUnavailable,
    Worker,
    WorkerError,
)
from runpod.serverless.modules.rp_progress import progress_update

from .bucket_claims import BucketClaims
from .claims import NOT_CLAIMED, claims_from_env
from .handler import Handler, models_directory
from .model_check import ModelCheck
from .result_bucket import ResultBucket


def main() -> None:
    """Starts ComfyUI, then polls RunPod for jobs: the start counts as delay, not as execution."""
    environ = dict(os.environ)
    models = models_directory(environ)
    if models is not None:
        environ["COMFYUI_MODELS_DIR"] = models
    try:
        check, bucket = ModelCheck.from_env(environ, models), ResultBucket.from_env(environ)
        claims = claims_from_env(environ, bucket)
    except ValueError as error:
        sys.exit(str(error))
    # The SDK makes an event loop of its own for the jobs; ComfyUI's connection lives as long as the process.
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="comfy worker", daemon=True).start()
    try:
        worker = Worker(EngineConfig.from_env(environ), on_log=lambda line: print(line, flush=True))
    except WorkerError as error:
        sys.exit(f"{error.message} {error.hint or ''}")
    start(worker, check, loop)
    prepare(claims, loop)
    handler = Handler(
        worker,
        lambda job, progress: progress_update(dict(job), progress),
        claims,
        models=check,
        bucket=bucket,
        private_inputs=environ.get("RYLA_ALLOW_PRIVATE_INPUTS") == "1",
    )

    async def handle(job: Mapping[str, Any]) -> dict[str, Any]:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(handler(job), loop))

    try:
        runpod.serverless.start({"handler": handle})
    finally:
        asyncio.run_coroutine_threadsafe(handler.delivered(), loop).result(timeout=15)
        asyncio.run_coroutine_threadsafe(worker.stop(), loop).result(timeout=15)


def prepare(claims: DirectoryClaims | BucketClaims | None, loop: asyncio.AbstractEventLoop) -> None:
    """Says what is wrong with the claims, if anything. Where they cannot be made, each job tries again and fails."""
    if claims is None:
        print(NOT_CLAIMED, file=sys.stderr, flush=True)
    elif isinstance(claims, DirectoryClaims):
        claims.prune()
    else:
        try:
            asyncio.run_coroutine_threadsafe(claims.check(), loop).result()
        except ClaimsUnavailable as error:
            print(f"{error.message} {error.hint}", file=sys.stderr, flush=True)
        else:
            # Beside the jobs: nothing waits for it.
            asyncio.run_coroutine_threadsafe(claims.prune(), loop)


def start(worker: Worker, check: ModelCheck, loop: asyncio.AbstractEventLoop) -> None:
    """Starts ComfyUI, unless its models are missing.

    Neither ends this process: workers would come and go while the jobs stay in the queue. The first job tries again,
    and fails with the cause.
    """
    refusal = check.refusal()
    if refusal is not None:
        print(f"{refusal.message} {refusal.hint}", file=sys.stderr, flush=True)
        return
    try:
        asyncio.run_coroutine_threadsafe(worker.start(), loop).result()
    except EngineUnavailable as error:
        print(f"ComfyUI did not start: {error.message} {error.details or ''}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
