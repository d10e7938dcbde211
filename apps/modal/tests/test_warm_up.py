"""The run before a container takes jobs, on comfy-sim or the ComfyUI of the environment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from comfy_worker import EngineConfig, Worker
from endpoint_workspace import Workspace
from ryla_modal.deployment import Deployment
from ryla_modal.settings import InvalidEndpoint
from ryla_modal.warm_up import WarmUp, WarmUpFailed

PHOTO_FINISH = Path(__file__).resolve().parents[2] / "endpoints" / "photo-finish"


@pytest.mark.parametrize(
    ("declared", "wanted"),
    [
        (None, None),
        (False, None),
        (True, WarmUp(None, required=False)),
        ("warm.json", WarmUp("warm.json", required=False)),
        ({}, WarmUp(None, required=False)),
        ({"workflow": "warm.json", "required": True}, WarmUp("warm.json", required=True)),
    ],
)
def test_what_endpoint_json_says(declared: Any, wanted: WarmUp | None) -> None:
    assert WarmUp.of(declared) == wanted


async def test_it_runs_the_endpoints_own_workflow_or_a_file(
    engine: EngineConfig, picture: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "warm.json").write_text(json.dumps(picture), encoding="utf-8")
    log: list[str] = []
    async with Worker(engine) as worker:
        await WarmUp(None, required=True).run(worker, PHOTO_FINISH, 60, log.append)
        await WarmUp("warm.json", required=True).run(worker, tmp_path, 60, log.append)
    assert [line.startswith("The warm-up run took ") for line in log] == [True, True]


async def test_a_failure_is_logged_and_stops_only_a_container_that_needs_it(
    engine: EngineConfig, picture: dict[str, Any], tmp_path: Path
) -> None:
    broken = {**picture, "1": {"class_type": "NoSuchNode", "inputs": {}}}
    (tmp_path / "warm.json").write_text(json.dumps(broken), encoding="utf-8")
    log: list[str] = []
    async with Worker(engine) as worker:
        await WarmUp("warm.json", required=False).run(worker, tmp_path, 60, log.append)
        await WarmUp("missing.json", required=False).run(worker, tmp_path, 60, log.append)
        with pytest.raises(WarmUpFailed, match="NoSuchNode"):
            await WarmUp("warm.json", required=True).run(worker, tmp_path, 60, log.append)
    assert "NoSuchNode" in log[0]
    assert "missing.json" in log[1]


def test_a_workflow_file_that_is_not_there_is_refused_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path)
    workspace.write(warmUp="warm-up.json")
    monkeypatch.setenv("RYLA_ENDPOINT", "probe")
    deployment = Deployment(workspace.folder / "apps/modal/comfyui_app.py")
    with pytest.raises(InvalidEndpoint, match=r"holds no warm-up\.json"):
        deployment.worker_image()
