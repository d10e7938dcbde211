"""`python -m ryla_modal.serve`: the gateway and a worker in one process, on the ComfyUI of the environment."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import uvicorn
from comfy_worker import EngineConfig, Worker, WorkerError
from starlette.applications import Starlette
from starlette.routing import Mount

from .gateway import Gateway
from .generate_image import GenerateImage
from .job_runner import JobRunner
from .jobs import Jobs
from .local_backend import InProcessDispatcher
from .stores import FileStore, MemoryStore


def application(config: EngineConfig, folder: Path, token: str | None = None) -> Starlette:
    """The ASGI application; ComfyUI starts and stops with it. Jobs live in memory, files in `folder`."""
    store, files = MemoryStore(), FileStore(folder)
    worker = Worker(config)
    runner = JobRunner(store, files, worker, worker_id="local", started_at=time.time())
    dispatcher = InProcessDispatcher(runner)
    jobs = Jobs(store, dispatcher, known_classes=None)  # the worker publishes them before the first request

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        await runner.start()
        try:
            yield
        finally:
            await dispatcher.close()
            await runner.stop()

    generate = GenerateImage(jobs, store, files).application(token)
    gateway = Gateway(jobs, store, files).application(token)
    return Starlette(routes=[Mount("/generate-image", generate), Mount("/", gateway)], lifespan=lifespan)


def main() -> None:
    """Serves until a signal."""
    parser = argparse.ArgumentParser(
        prog="python -m ryla_modal.serve",
        description="Comfy API v2 in front of the ComfyUI that COMFYUI_URL or COMFYUI_DIR names, without Modal. "
        "RYLA_API_TOKEN, when set, is the bearer token that callers must send.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8189, help="port (default: 8189)")
    parser.add_argument(
        "--files", type=Path, help="folder for uploads and outputs (default: a temporary one)"
    )
    arguments = parser.parse_args()
    try:
        config = EngineConfig.from_env(os.environ)
    except WorkerError as error:
        sys.exit(f"{error.message} {error.hint or ''}")
    with tempfile.TemporaryDirectory(prefix="ryla-modal-") as scratch:
        app = application(config, arguments.files or Path(scratch), os.environ.get("RYLA_API_TOKEN"))
        uvicorn.run(app, host=arguments.host, port=arguments.port, log_level="warning")


if __name__ == "__main__":
    main()
