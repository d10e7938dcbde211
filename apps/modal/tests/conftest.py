"""A gateway in this process, over a dispatcher whose worker the test plays, or over a real worker on comfy-sim."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
from comfy_worker import EngineConfig
from ryla_modal.dispatcher import CallOutcome
from ryla_modal.gateway import Gateway
from ryla_modal.jobs import Jobs
from ryla_modal.serve import application
from ryla_modal.stores import FileStore, MemoryStore
from starlette.applications import Starlette

PICTURE: dict[str, dict[str, Any]] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 32, "height": 16, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "blue"}},
}


@dataclass
class FakeDispatcher:
    """Records what it is given; `outcomes` says how a call ended."""

    calls: list[str] = field(default_factory=list[str])
    canceled: list[str] = field(default_factory=list[str])
    outcomes: dict[str, CallOutcome] = field(default_factory=dict[str, CallOutcome])
    failure: Exception | None = None

    async def dispatch(self, job_id: str) -> str:
        if self.failure is not None:
            raise self.failure
        self.calls.append(job_id)
        return f"call-{job_id}"

    async def cancel(self, call_id: str) -> None:
        self.canceled.append(call_id)
        self.outcomes[call_id] = CallOutcome("canceled")

    async def outcome(self, call_id: str) -> CallOutcome | None:
        return self.outcomes.get(call_id)


@dataclass
class Bench:
    """The gateway's parts, to look behind its answers."""

    client: httpx.AsyncClient
    store: MemoryStore
    dispatcher: FakeDispatcher
    jobs: Jobs
    files: FileStore
    now: list[float]

    def advance(self, seconds: float) -> None:
        """Moves the clock of the jobs."""
        self.now[0] += seconds


def client_of(app: Starlette, **arguments: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=60, **arguments)


def bench_of(folder: Path, **jobs_arguments: Any) -> Bench:
    store, files, dispatcher, now = MemoryStore(), FileStore(folder), FakeDispatcher(), [time.time()]
    jobs = Jobs(store, dispatcher, clock=lambda: now[0], **jobs_arguments)
    made = client_of(Gateway(jobs, store, files).application())
    return Bench(made, store, dispatcher, jobs, files, now)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = bench_of(tmp_path)
    async with made.client:
        yield made


@pytest.fixture(scope="session")
def engine() -> EngineConfig:
    """The user's ComfyUI, or comfy-sim."""
    if os.environ.get("COMFYUI_URL") or os.environ.get("COMFYUI_DIR"):
        return EngineConfig.from_env(os.environ)
    spec = find_spec("comfy_sim")
    if spec is None or spec.origin is None:
        pytest.skip("neither COMFYUI_URL, COMFYUI_DIR nor comfy-sim is there")
    folder = Path(spec.origin).parent / "engine"
    return EngineConfig(directory=folder, python=Path(sys.executable))


@pytest.fixture
async def served(engine: EngineConfig, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Gateway and worker in this process, with a warm ComfyUI."""
    app = application(engine, tmp_path)
    async with app.router.lifespan_context(app), client_of(app) as client:
        yield client


@pytest.fixture
def picture() -> dict[str, Any]:
    return {node: {**value, "inputs": dict(value["inputs"])} for node, value in PICTURE.items()}


@pytest.fixture
def make_bench() -> Callable[..., Bench]:
    return bench_of


@pytest.fixture
def open_client() -> Callable[..., httpx.AsyncClient]:
    return client_of
