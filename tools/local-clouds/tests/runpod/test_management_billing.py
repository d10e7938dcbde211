"""Bills of the local RunPod: the seconds of its workers, the size of its volumes, in whole buckets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from cloud import Cloud
from hypothesis import given
from hypothesis import strategies as st
from local_clouds.runpod.management_billing import (
    BUCKETS,
    USD_PER_WORKER_SECOND,
    Life,
    serverless_records,
    window,
    worker_life,
)

NOW = datetime(2026, 11, 25, 21, 47, tzinfo=UTC)


async def management(cloud: Cloud, method: str, path: str, body: Any = None) -> Any:
    """One call of the management API."""
    headers = {"Authorization": "Bearer rk-local"}
    url = f"{cloud.server.management_url}/{path}"
    async with cloud.session.request(method, url, headers=headers, json=body) as response:
        assert response.status < 300, await response.text()
        return await response.json() if response.status != 204 else None


async def test_workers_are_billed_from_their_start_to_their_end(cloud: Cloud) -> None:
    await cloud.register()
    assert (await cloud.ended(await cloud.run({"do": "echo"})))["status"] == "COMPLETED"
    bill = await management(cloud, "GET", "billing/serverless?lastN=2&bucketSize=hour")
    assert {record["serverlessId"] for record in bill["records"]} == {"ep"}
    totals = bill["metadata"]["totals"]
    assert 0 < totals["totalAmount"] == totals["gpuAmount"] < 600 * USD_PER_WORKER_SECOND
    await cloud.control("DELETE", "/endpoints/ep")
    later = await management(cloud, "GET", "billing/serverless?bucketSize=year")
    assert later["metadata"]["totals"]["totalAmount"] >= totals["totalAmount"]
    again = await management(cloud, "GET", "billing/serverless?bucketSize=year")
    assert again["metadata"]["totals"] == later["metadata"]["totals"], "nothing runs any more"
    elsewhere = "startTime=2026-01-01T00:00:00Z&endTime=2026-01-02T00:00:00Z&bucketSize=hour"
    assert (await management(cloud, "GET", f"billing/serverless?{elsewhere}"))["records"] == []


async def test_volumes_are_billed_by_size_while_they_are_there(cloud: Cloud) -> None:
    request = {"name": "models", "size": 200, "dataCenter": "EU-RO-1"}
    volume = await management(cloud, "POST", "network-volumes", request)
    query = f"billing/network-volumes?bucketSize=year&networkVolumeId={volume['id']}"
    assert (await management(cloud, "GET", query))["metadata"]["totals"]["standardAmount"] > 0
    await management(cloud, "DELETE", f"network-volumes/{volume['id']}")
    ended = (await management(cloud, "GET", query))["metadata"]["totals"]
    assert ended["totalAmount"] > 0
    assert ended == (await management(cloud, "GET", query))["metadata"]["totals"]


def test_windows_are_whole_buckets() -> None:
    for bucket, start, end in (
        ("hour", "2026-11-25T21:00:00+00:00", "2026-11-25T22:00:00+00:00"),
        ("day", "2026-11-25T00:00:00+00:00", "2026-11-26T00:00:00+00:00"),
        ("week", "2026-11-23T00:00:00+00:00", "2026-11-30T00:00:00+00:00"),
        ("month", "2026-11-01T00:00:00+00:00", "2026-12-01T00:00:00+00:00"),
        ("year", "2026-01-01T00:00:00+00:00", "2027-01-01T00:00:00+00:00"),
    ):
        asked = window({"bucketSize": bucket, "lastN": "1"}, NOW)
        assert (asked.start.isoformat(), asked.end.isoformat()) == (start, end), bucket
        assert len(list(window({"bucketSize": bucket, "lastN": "30"}, NOW).buckets())) == 30
    asked_for = {"startTime": "2026-11-25T20:10:00Z", "endTime": "2026-11-25T21:00:00Z", "bucketSize": "hour"}
    assert len(list(window(asked_for, NOW).buckets())) == 1


@given(
    st.sampled_from(BUCKETS),
    st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 5_000)), max_size=8),
)
def test_every_bucket_size_bills_the_same_seconds(bucket: str, minutes: list[tuple[int, int]]) -> None:
    lives = [
        Life("ep", NOW - timedelta(minutes=ago), NOW - timedelta(minutes=max(0, ago - long)), 1.8)
        for ago, long in minutes
    ]
    asked = window({"bucketSize": bucket, "startTime": "2026-01-01T00:00:00Z"}, NOW)
    billed = sum(record["totalAmount"] for record in serverless_records(lives, asked))
    lived = sum((life.end - life.begin).total_seconds() for life in lives)
    assert abs(billed - lived / 3600 * 1.8) < 1e-4


def test_a_worker_costs_by_the_second() -> None:
    life = worker_life("ep", datetime.now(UTC) - timedelta(hours=1))
    assert abs(life.usd_per_hour - 3600 * USD_PER_WORKER_SECOND) < 1e-9
    assert (life.end - life.begin).total_seconds() >= 3600
