"""What a worker sees of the machine that it runs on, and of its endpoint."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cloud import SAMPLE_WORKER, Cloud, running_cloud
from test_management import Account


async def test_a_worker_sees_its_endpoints_variables_and_none_of_the_callers_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RUNPOD_API_KEY", "MODAL_TOKEN_SECRET", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN"):
        monkeypatch.setenv(name, "of the caller")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    async with running_cloud(tmp_path, worker_environment={"COMFYUI_DIR": "/engine"}) as cloud:
        await cloud.register(env={"OF_THE_ENDPOINT": "1"})
        seen = (await cloud.ended(await cloud.run({"do": "environment"})))["output"]
    assert "of the caller" not in seen.values()
    assert {"PATH", "HOME", "TMPDIR", "LC_ALL", "COMFYUI_DIR", "OF_THE_ENDPOINT"} <= seen.keys()
    assert not Path(seen["HOME"]).exists()  # its own, gone with it
    assert not Path(seen["TMPDIR"]).exists()


async def test_a_reference_to_a_secret_becomes_its_value_in_the_worker_alone(cloud: Cloud) -> None:
    account = Account(cloud)
    await account.control("PUT", "secrets", {"hf": "hf-secret"})
    await account.control("PUT", "worker", {"command": [sys.executable, str(SAMPLE_WORKER)]})
    variables = {"HF_TOKEN": "{{ RUNPOD_SECRET_hf }}", "OTHER": "{{ RUNPOD_SECRET_none }}"}
    template = await account.call(
        "POST", "templates", {"name": "t", "image": "x", "serverless": True, "env": variables}
    )
    made = await account.made(templateId=template.body["id"])
    assert made["env"]["HF_TOKEN"] == variables["HF_TOKEN"]
    cloud.endpoint = made["id"]
    seen = (await cloud.ended(await cloud.run({"do": "environment"})))["output"]
    assert (seen["HF_TOKEN"], seen["OTHER"]) == ("hf-secret", variables["OTHER"])


async def test_no_workers_are_left_where_an_endpoint_may_have_none(cloud: Cloud) -> None:
    account = Account(cloud)
    await account.control("PUT", "worker", {"command": [sys.executable, str(SAMPLE_WORKER)]})
    made = await account.made(workers={"min": 1, "max": 2})
    cloud.endpoint = made["id"]
    await cloud.ended(await cloud.run({"n": 1}))
    stopped = await account.call("PATCH", f"serverless/{made['id']}", {"workers": {"min": 0, "max": 0}})
    assert stopped.status == 200
    await cloud.eventually(cloud.workers, lambda workers: workers == [])
    job = await cloud.run({"n": 2})
    assert (await cloud.status(job))["status"] == "IN_QUEUE"
