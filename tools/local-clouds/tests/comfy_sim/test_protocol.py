"""comfy-sim answers as the real ComfyUI did: the recorded scenarios, one test each."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import pytest
from replay import play

ORACLE = Path(__file__).parent / "fixtures" / "oracle" / "protocol"
UPLOADS = {"upload_and_load", "upload_nothing", "upload_subfolder_temp", "upload_traversal"}
"""Recorded without their bodies; test_uploads.py tests the same with bodies of its own."""

NEED_CHECKPOINT = {"bad_missing_checkpoint", "interrupt_sampling", "text_to_image_sampling"}
CHECKPOINT = "random-sd15.safetensors"
"""Random weights from which the scenarios were recorded; comfy-sim needs the name only."""

SCENARIOS = sorted(path.stem for path in ORACLE.glob("*.json"))


def test_all_scenarios_are_here() -> None:
    assert len(SCENARIOS) == 44


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name not in UPLOADS])
async def test_scenario(base_url: str, name: str) -> None:
    if name in NEED_CHECKPOINT and CHECKPOINT not in await checkpoints(base_url):
        pytest.skip(f"this server has no {CHECKPOINT}")
    scenario = json.loads((ORACLE / f"{name}.json").read_text(encoding="utf-8"))
    assert await play(base_url, scenario) == []


async def checkpoints(base_url: str) -> list[str]:
    async with aiohttp.ClientSession() as http, http.get(f"{base_url}/models/checkpoints") as response:
        return await response.json()
