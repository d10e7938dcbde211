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
from ryla_modal.settings import SETTINGS_VARIABLE, bearer_token, load_settings

CONTAINER_STARTED = time.time()
HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1] if len(HERE.parents) > 1 else HERE  # in a container there is none
settings = load_settings(
    os.environ, REPOSITORY / "apps/endpoints", REPOSITORY / "libs/workflow/schema/endpoint.schema.json"
)

PYTHON_VERSION = "3.11"
UV_VERSION = "0.13.9"
COMFY_CLI = "comfy-cli==1.23.0"
COMFYUI = "/root/comfy/ComfyUI"
MODELS = "/root/models"
FILES = "/root/outputs"
REQUESTS_PER_SECOND = 200.0
"""Of one key, in one container, unless RYLA_RATE_LIMIT in the secret says otherwise."""

app = modal.App(settings.app)
models = modal.Volume.from_name("ryla-models", create_if_missing=True, version=2)
files = modal.Volume.from_name("ryla-outputs", create_if_missing=True, version=2)
state = modal.Dict.from_name(f"{settings.app}-jobs", create_if_missing=True)
secret = modal.Secret.from_name("ryla-secrets")
source = ("comfy_worker", "ryla_modal")


def worker_image() -> modal.Image:
    """ComfyUI and its custom nodes. What changes often comes last: a change of our code builds nothing."""
    image = (
        modal.Image.debian_slim(python_version=PYTHON_VERSION)
        .apt_install("git", "ffmpeg", "libgl1", "libglib2.0-0")
        .uv_pip_install(COMFY_CLI, uv_version=UV_VERSION)
        .run_commands(
            f"comfy --skip-prompt --workspace {COMFYUI} install --version {settings.comfyui_version} --nvidia"
        )
        .uv_pip_install("aiohttp>=3.12,<4", "blake3==1.0.11", uv_version=UV_VERSION)
    )
    for node in settings.custom_nodes:
        folder = f"{COMFYUI}/custom_nodes/{node['name']}"
        image = image.run_commands(
            f"git clone {node['repository']} {folder} && git -C {folder} checkout {node['commit']}",
            f"if [ -f {folder}/requirements.txt ]; then python -m pip install -r {folder}/requirements.txt; fi",
        )
    return image.env(
        {
            "COMFYUI_DIR": COMFYUI,
            "COMFYUI_MODELS_DIR": MODELS,
            "RYLA_FILES_DIR": FILES,
            SETTINGS_VARIABLE: settings.to_json(),
        }
    ).add_local_python_source(*source)


def gateway_image() -> modal.Image:
    """The CPU gateway: no ComfyUI, so that it starts in a second. It holds the endpoint's files, for typed inputs."""
    image = (
        modal.Image.debian_slim(python_version=PYTHON_VERSION)
        .uv_pip_install(
            "starlette==1.10.0",
            "python-multipart==0.0.21",
            "blake3==1.0.11",
            "aiohttp>=3.12,<4",
            uv_version=UV_VERSION,
        )
        .env({"RYLA_FILES_DIR": FILES, SETTINGS_VARIABLE: settings.to_json()})
        .add_local_python_source(*source)
    )
    if settings.endpoint is None or not modal.is_local():
        return image
    from ryla_modal.endpoint_inputs import FOLDER, Endpoint

    folder = REPOSITORY / "apps/endpoints" / settings.endpoint
    endpoint = Endpoint.load(folder)
    for name in endpoint.files() if endpoint is not None else ():
        image = image.add_local_file(folder / name, f"/root/{FOLDER}/{name}")
    return image


@app.cls(
    image=worker_image(),
    gpu=list(settings.gpu),
    cpu=settings.cpu,
    memory=settings.memory,
    volumes={MODELS: models, FILES: files},
    secrets=[secret],
    # The worker interrupts a job at its own timeout; Modal's is the one that a stuck worker meets.
    timeout=settings.execution_timeout + 120,
    startup_timeout=settings.startup_timeout,
    scaledown_window=settings.scaledown_window,
    min_containers=settings.min_containers,
    max_containers=settings.max_containers,
    buffer_containers=settings.buffer_containers,
    retries=0,
)
@modal.concurrent(max_inputs=1)
class ComfyWorker:
    """A GPU container with a warm ComfyUI that runs one job at a time."""

    @modal.enter()
    async def start(self) -> None:
        """Starts ComfyUI; a container whose ComfyUI does not start fails with its log, one without models starts none."""
        from comfy_worker import EngineConfig, Worker
        from ryla_modal.job_runner import JobRunner
        from ryla_modal.modal_backend import DictStore
        from ryla_modal.models.missing_models import missing_models

        mounted = Path(os.environ.get("COMFYUI_MODELS_DIR", MODELS))
        refusal = missing_models(settings.models, mounted, settings.endpoint)
        if refusal is not None:
            print(f"{refusal.message} {refusal.hint}")
        worker = Worker(EngineConfig.from_env(os.environ), on_log=print)
        self.runner = JobRunner(
            DictStore(state),
            file_store(),
            worker,
            worker_id=os.environ.get("MODAL_TASK_ID", ""),
            started_at=CONTAINER_STARTED,
            catalogue_key=settings.catalogue_key,
            refusal=refusal,
        )
        await self.runner.start()

    @modal.method()
    async def run(self, job_id: str) -> None:
        """Runs a job that the gateway has stored."""
        if not await self.runner.run(job_id):
            # ComfyUI cannot be brought back here: let another container take the next job.
            await modal.experimental.stop_fetching_inputs.aio()  # pyright: ignore

    @modal.exit()
    async def stop(self) -> None:
        """Stops ComfyUI."""
        await self.runner.stop()


def file_store() -> Any:
    """Uploads and outputs on their Volume."""
    from ryla_modal.stores import FileStore

    return FileStore(
        Path(os.environ.get("RYLA_FILES_DIR", FILES)), commit=files.commit.aio, reload=files.reload.aio
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


web: dict[str, Any] = {
    "image": gateway_image(),
    "volumes": {FILES: files},
    "secrets": [secret],
    "cpu": 0.5,
    "memory": 512,
    "scaledown_window": 60,
}
proxy_auth = settings.auth == "modal-proxy"


@app.function(
    **web,
    timeout=min(24 * 3600, settings.execution_timeout + settings.startup_timeout + 3600),
    retries=modal.Retries(max_retries=3, initial_delay=5.0),
)
@modal.concurrent(max_inputs=1000)
async def notify(job_id: str) -> None:
    """Waits for a job's end, whatever it is, and tells its webhook. A retry continues where it was."""
    from ryla_modal.webhooks import WebhookSender

    jobs, _, _ = backend()
    await WebhookSender(jobs, webhook_keys()).run(job_id)


@app.function(**web)
@modal.concurrent(max_inputs=100)
@modal.asgi_app(label=f"{settings.app}-api", requires_proxy_auth=proxy_auth)
def api() -> Any:
    """Comfy API v2."""
    from ryla_modal.endpoint_inputs import FOLDER, Endpoint
    from ryla_modal.gateway import Gateway
    from ryla_modal.modal_backend import SpawnNotifier

    jobs, store, stored = backend()
    endpoint = None if settings.endpoint is None else Endpoint.load(Path.home() / FOLDER)
    notifier = SpawnNotifier(notify.spawn.aio) if webhook_keys() else None
    return Gateway(jobs, store, stored, endpoint=endpoint, notifier=notifier).application(access())


@app.function(**web, timeout=settings.execution_timeout + settings.startup_timeout)
@modal.concurrent(max_inputs=100)
@modal.asgi_app(label=f"{settings.app}-generate-image", requires_proxy_auth=proxy_auth)
def generate_image() -> Any:
    """The one-call form: POST {workflow_json, prompt?}."""
    from ryla_modal.generate_image import GenerateImage

    jobs, store, stored = backend()
    return GenerateImage(jobs, store, stored).application(access())
