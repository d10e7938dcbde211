"""Workers of an endpoint and their logs, as the management API shows them."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from cloud import SAMPLE_WORKER, Cloud
from local_clouds.runpod import worker_log
from local_clouds.runpod.worker_log import CONTAINER, SYSTEM, WorkerLog
from test_management import Account


@pytest.fixture
async def account(cloud: Cloud) -> Account:
    """An account with one endpoint, whose worker has done a job."""
    account = Account(cloud)
    await account.control("PUT", "worker", {"command": [sys.executable, str(SAMPLE_WORKER)]})
    cloud.endpoint = (await account.made())["id"]
    await cloud.ended(await cloud.run({"do": "print", "text": "one"}))
    return account


async def events(account: Account, path: str, enough: int, **headers: str) -> list[dict[str, Any]]:
    """The first events of a stream of logs, or those until it ends."""
    url = f"{account.cloud.server.management_url}/{path}"
    headers = {"Authorization": "Bearer rk-local", **headers}
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(60), account.cloud.session.get(url, headers=headers) as response:
        assert response.content_type == "text/event-stream"
        try:
            async for raw in response.content:
                if raw.startswith(b"data: "):
                    found.append(json.loads(raw[6:]))
                if len(found) == enough:
                    return found
        except aiohttp.ClientPayloadError:
            found.append({"line": "(cut)"})
    return found


async def test_workers_are_listed_by_state(account: Account) -> None:
    endpoint = account.cloud.endpoint
    answer = await account.call("GET", f"serverless/{endpoint}/workers")
    [worker] = answer.body["workers"]
    assert (worker["status"], worker["isStale"], worker["version"]) == ("IDLE", False, 1)
    assert worker["image"] == "registry.example/worker@sha256:1"
    assert answer.body["summary"] == {
        "running": 0,
        "idle": 1,
        "initializing": 0,
        "throttled": 0,
        "unhealthy": 0,
        "total": 1,
    }
    assert (await account.call("GET", "serverless/none/workers")).status == 404


async def test_logs_are_the_past_then_each_new_line(account: Account) -> None:
    cloud = account.cloud
    [worker] = (await account.call("GET", f"serverless/{cloud.endpoint}/workers")).body["workers"]
    path = f"serverless/{cloud.endpoint}/workers/{worker['id']}/logs"
    started = await events(account, f"{path}?source=system", 1)
    assert started[0]["source"] == SYSTEM
    assert "started" in started[0]["line"]
    past = await events(account, f"{path}?source=container&tail=5000", 1)
    assert past[0]["source"] == CONTAINER

    live = asyncio.create_task(events(account, f"{path}?source=container&tail=0", 1))
    await cloud.eventually(
        lambda: account.control("GET", "requests"),
        lambda journal: any(entry["query"].get("tail") == "0" for entry in journal["requests"]),
    )
    await cloud.ended(await cloud.run({"do": "print", "text": "two"}))
    [new] = await live
    assert new["source"] == CONTAINER
    again = await events(account, path, 1, **{"Last-Event-ID": new["ts"]})
    assert again == [new]

    await account.control("PUT", "faults", ["cut-logs=2:1"])
    assert (await events(account, path, 10))[-1] == {"line": "(cut)"}
    assert (await account.call("GET", f"{path}?tail=9999&source=x&since=y")).body["errors"] == [
        "source: must be container or system",
        "tail: must be from 0 to 5000",
        "since: must be a date and time",
    ]
    assert (await account.call("GET", f"serverless/{cloud.endpoint}/workers/none/logs")).status == 404


async def test_a_log_keeps_the_latest_lines_and_ends_with_its_worker() -> None:
    log = WorkerLog()
    for number in range(worker_log.MOST_LINES + 10):
        log.add(CONTAINER, str(number))
    log.end()
    whole = [line.text async for line in log.follow()]
    assert (whole[0], whole[-1], len(whole)) == ("10", "5009", 5000)
    assert [line.text async for line in log.follow(tail=2)] == ["5008", "5009"]
    assert [line.text async for line in log.follow(since=datetime.now(UTC))] == []
