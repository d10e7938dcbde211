"""The whole deployment of ComfyUI on Modal: `modal deploy comfyui_app.py`.

RYLA_ENDPOINT=<name> deploys the app of apps/endpoints/<name>; without it, the generic app `ryla-comfyui`,
which runs any workflow. Importing this file needs no network and no credentials.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import modal
from ryla_modal.deployment import LONGEST, Deployment
from ryla_modal.endpoint_inputs import FOLDER
from ryla_modal.images import FILES, MODELS, gateway_image
from ryla_modal.settings import bearer_token

CONTAINER_STARTED = time.time()
REQUESTS_PER_SECOND = 200.0
"""Of one key, in one container, unless RYLA_RATE_LIMIT in the secret says otherwise."""

deployment = Deployment(Path(__file__))
settings, files = deployment.settings, deployment.files
app = modal.App(settings.app, tags=deployment.tags)
state = modal.Dict.from_name(f"{settings.app}-jobs", create_if_missing=True)


@app.cls(**deployment.worker())
@modal.concurrent(max_inputs=1)
class ComfyWorker:
    """A GPU container with a warm ComfyUI that runs one job at a time."""

    @modal.enter(snap=settings.snapshot != "none")
    async def load(self) -> None:
        """Imports what the worker and ComfyUI need: with a memory snapshot, once for all containers."""
        import ryla_modal.job_runner as _runner  # noqa: F401  # pyright: ignore[reportUnusedImport]
        from ryla_modal.snapshot import before_snapshot, worker_of

        self.started_at = CONTAINER_STARTED
        self.worker = worker_of(os.environ, settings.models)
        await before_snapshot(self.worker, settings.snapshot, print)

    @modal.enter(snap=False)
    async def start(self) -> None:
        """Starts ComfyUI; a container whose ComfyUI does not start fails with its log, one without models starts none."""
        from ryla_modal.job_runner import JobRunner
        from ryla_modal.modal_backend import DictStore
        from ryla_modal.models.missing_models import missing_models
        from ryla_modal.warm_up import WarmUp

        # The time in a snapshot is that of the container it was taken in.
        begun = self.started_at if settings.snapshot == "none" else time.time()
        mounted = Path(os.environ.get("COMFYUI_MODELS_DIR", MODELS))
        refusal = missing_models(settings.models, mounted, settings.endpoint)
        if refusal is not None:
            print(f"{refusal.message} {refusal.hint}")
        self.runner = JobRunner(
            DictStore(state),
            file_store(),
            self.worker,
            worker_id=os.environ.get("MODAL_TASK_ID", ""),
            started_at=begun,
            catalogue_key=settings.catalogue_key,
            refusal=refusal,
        )
        await self.runner.start()
        warm_up = WarmUp.of(settings.warm_up)
        if warm_up is not None and refusal is None:
            await warm_up.run(self.worker, Path.home() / FOLDER, float(settings.execution_timeout), print)

    @modal.method()
    async def run(self, job_id: str) -> None:
        """Runs a job that the gateway has stored."""
        if not await self.runner.run(job_id, modal.current_function_call_id() or ""):
            # ComfyUI cannot be brought back here: let another container take the next job.
            await modal.experimental.stop_fetching_inputs.aio()  # pyright: ignore

    @modal.exit()
    async def stop(self) -> None:
        """Stops ComfyUI."""
        await self.runner.stop()


def file_store() -> Any:
    """Uploads and outputs on their Volume."""
    from ryla_modal.modal_backend import DictStore
    from ryla_modal.stores import FileStore

    return FileStore(
        Path(os.environ.get("RYLA_FILES_DIR", FILES)),
        commit=files.commit.aio,
        reload=files.reload.aio,
        small=DictStore(state),
    )


def access() -> Any:
    """Who may call both web functions, and how often."""
    from ryla_modal.access import Access, log_requests

    log_requests()
    return Access.from_environ(os.environ, bearer_token(settings.auth, os.environ), REQUESTS_PER_SECOND)


def webhook_keys() -> tuple[bytes, ...]:
    """What webhooks are signed with; nothing where the secret holds no RYLA_WEBHOOK_SECRETS."""
    from ryla_modal.webhooks import SECRETS_VARIABLE, parse_secrets

    return parse_secrets(os.environ.get(SECRETS_VARIABLE, ""))


def backend() -> tuple[Any, Any, Any]:
    """What the web functions stand on: jobs, store, files."""
    from ryla_modal.jobs import Jobs
    from ryla_modal.modal_backend import DictStore, SpawnDispatcher

    store = DictStore(state)
    dispatcher = SpawnDispatcher(ComfyWorker().run.spawn.aio)  # pyright: ignore
    jobs = Jobs(
        store,
        dispatcher,
        known_classes=settings.known_classes(),
        catalogue_key=settings.catalogue_key,
        timeout=float(settings.execution_timeout),
    )
    return jobs, store, file_store()


web = deployment.web(gateway_image(settings, deployment.places.endpoints if deployment.local else None))
proxy_auth = settings.auth == "modal-proxy"


@app.function(
    **web,
    timeout=min(LONGEST, settings.execution_timeout + settings.startup_timeout + 3600),
    retries=modal.Retries(max_retries=3, initial_delay=5.0),
)
@modal.concurrent(max_inputs=1000)
async def notify(job_id: str) -> None:
    """Waits for a job's end, whatever it is, and tells its webhook. A retry continues where it was."""
    from ryla_modal.webhooks import WebhookSender

    jobs, _, _ = backend()
    await WebhookSender(jobs, webhook_keys()).run(job_id)


@app.function(**web, min_containers=settings.gateway_min_containers)
@modal.concurrent(max_inputs=settings.gateway_concurrency)
@modal.asgi_app(label=f"{settings.label}-api", requires_proxy_auth=proxy_auth)
def api() -> Any:
    """Comfy API v2."""
    from ryla_modal.endpoint_inputs import Endpoint
    from ryla_modal.gateway import Gateway
    from ryla_modal.modal_backend import SpawnNotifier

    jobs, store, stored = backend()
    endpoint = None if settings.endpoint is None else Endpoint.load(Path.home() / FOLDER)
    notifier = SpawnNotifier(notify.spawn.aio) if webhook_keys() else None
    return Gateway(jobs, store, stored, endpoint=endpoint, notifier=notifier).application(access())


@app.function(**web, timeout=min(LONGEST, settings.execution_timeout + settings.startup_timeout))
@modal.concurrent(max_inputs=settings.gateway_concurrency)
@modal.asgi_app(label=f"{settings.label}-generate-image", requires_proxy_auth=proxy_auth)
def generate_image() -> Any:
    """The one-call form: POST {workflow_json, prompt?}."""
    from ryla_modal.generate_image import GenerateImage

    jobs, store, stored = backend()
    return GenerateImage(jobs, store, stored).application(access())
