"""Fixtures of the local RunPod's tests."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # import-mode=importlib: `cloud` is beside the tests

from cloud import Cloud, ManualClock, running_cloud


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Cloud]:
    """A local RunPod without endpoints."""
    async with running_cloud(tmp_path) as started:
        yield started


@pytest.fixture
def clock() -> ManualClock:
    """Time that stands still."""
    return ManualClock()
