"""`python -m ryla_modal.serve`: the gateway and a worker in one process, on the ComfyUI of the environment."""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import uvicorn
from comfy_worker import EngineConfig, Worker, WorkerError
from starlette.applications import Starlette
from starlette.routing import Mount

from .access import Access, log_requests
from .endpoint_inputs import Endpoint
from .gateway import EXCEPTION_HANDLERS, Gateway
from .generate_image import GenerateImage
from .job_runner import JobRunner
from .jobs import Jobs
from .local_backend import InProcessDispatcher
from .stores import FileStore, MemoryStore
from .webhooks import SECRETS_VARIABLE, InProcessNotifier, WebhookSender, parse_secrets


def application(
    config: EngineConfig,
    folder: Path,
    access: Access | None = None,
    *,
    endpoint: Endpoint | None = None,
    webhook_keys: Sequence[bytes] = (),
    private_webhooks: bool = False,
) -> Starlette:
    """The ASGI application; ComfyUI starts and stops with it. Jobs live in memory, files in `folder`.

    `webhook_keys` sign webhooks, of which there are none without them; `private_webhooks` may go to this machine.
    """
    store, files = MemoryStore(), FileStore(folder)
    worker = Worker(config)
    runner = JobRunner(store, files, worker, worker_id="local", started_at=time.time())
    dispatcher = InProcessDispatcher(runner)
    jobs = Jobs(store, dispatcher, known_classes=None)  # the worker publishes them before the first request
    sender = WebhookSender(jobs, webhook_keys, allow_private=private_webhooks)
    notifier = InProcessNotifier(sender) if webhook_keys else None

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        await runner.start()
        try:
            yield
        finally:
            if notifier is not None:
                await notifier.close()
            await dispatcher.close()
            await runner.stop()

    generate = GenerateImage(jobs, store, files).application(access)
    gateway = Gateway(
        jobs, store, files, endpoint=endpoint, notifier=notifier, private_webhooks=private_webhooks
    ).application(access)
    return Starlette(
        routes=[Mount("/generate-image", generate), Mount("/", gateway)],
        lifespan=lifespan,
        exception_handlers=EXCEPTION_HANDLERS,
    )


class _Server(uvicorn.Server):
    """Says where it listens, once it does."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            print(f"Comfy API v2 at http://{host}:{port}", flush=True)


def main() -> None:
    """Serves until a signal."""
    parser = argparse.ArgumentParser(
        prog="python -m ryla_modal.serve",
        description="Comfy API v2 in front of the ComfyUI that COMFYUI_URL or COMFYUI_DIR names, without Modal. "
        "RYLA_API_TOKEN, when set, is the bearer token that callers must send; RYLA_WEBHOOK_SECRETS, "
        "RYLA_RATE_LIMIT and RYLA_CORS_ORIGINS are as on Modal.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8189, help="port; 0 takes a free one (default: 8189)")
    parser.add_argument(
        "--files", type=Path, help="folder for uploads and outputs (default: a temporary one)"
    )
    parser.add_argument(
        "--endpoint", type=Path, help="folder of the endpoint whose inputs /api/ryla/run takes"
    )
    parser.add_argument(
        "--allow-private-webhooks",
        action="store_true",
        help="also send webhooks to this machine, and by http",
    )
    arguments = parser.parse_args()
    try:
        config = EngineConfig.from_env(os.environ)
        access = Access.from_environ(os.environ, os.environ.get("RYLA_API_TOKEN"))
        keys = parse_secrets(os.environ.get(SECRETS_VARIABLE, ""))
    except WorkerError as error:
        sys.exit(f"{error.message} {error.hint or ''}")
    except ValueError as error:
        sys.exit(str(error))
    log_requests()
    with tempfile.TemporaryDirectory(prefix="ryla-modal-") as scratch:
        app = application(
            config,
            arguments.files or Path(scratch),
            access,
            endpoint=None if arguments.endpoint is None else Endpoint.load(arguments.endpoint),
            webhook_keys=keys,
            private_webhooks=arguments.allow_private_webhooks,
        )
        server = uvicorn.Config(app, host=arguments.host, port=arguments.port, log_level="warning")
        _Server(server).run()


if __name__ == "__main__":
    main()
