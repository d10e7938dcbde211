"""The engine of these tests: COMFYUI_URL or COMFYUI_DIR when set, otherwise comfy-sim, which is only a path here."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from comfy_worker import EngineConfig, Worker
from worker_jobs import SIMULATOR


@pytest.fixture(scope="session")
def engine_config() -> EngineConfig:
    if os.environ.get("COMFYUI_URL") or os.environ.get("COMFYUI_DIR"):
        return EngineConfig.from_env(os.environ)
    return EngineConfig.from_env({"COMFYUI_DIR": str(SIMULATOR), "COMFYUI_PYTHON": sys.executable})


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def worker(engine_config: EngineConfig) -> AsyncIterator[Worker]:
    async with Worker(engine_config) as running:
        yield running
