"""GET /api/v2/jobs: pages that new jobs do not move, labels, states; and a gateway that is started again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from ryla_modal import jobs as jobs_module
from ryla_modal.dispatcher import CallOutcome
from ryla_modal.gateway import Gateway
from ryla_modal.job_index import JobIndex
from ryla_modal.jobs import Jobs
from ryla_modal.stores import MemoryStore

Bench = Any


async def post(bench: Bench, workflow: Any, **labels: str) -> str:
    body = {"workflow": workflow, "metadata": labels}
    return (await bench.client.post("/api/v2/jobs", json=body)).json()["id"]


async def listed(client: httpx.AsyncClient, **query: Any) -> tuple[list[str], str | None]:
    answer = (await client.get("/api/v2/jobs", params=query)).json()
    return [job["id"] for job in answer["jobs"]], answer.get("next_cursor")


async def test_pages_go_from_the_newest_on_and_new_jobs_do_not_move_them(
    bench: Bench, picture: dict[str, Any]
) -> None:
    ids = [await post(bench, picture) for _ in range(5)]
    first, cursor = await listed(bench.client, limit=2)
    assert first == [ids[4], ids[3]]
    ids.append(await post(bench, picture))
    second, cursor = await listed(bench.client, limit=2, cursor=cursor)
    assert second == [ids[2], ids[1]]
    third, cursor = await listed(bench.client, limit=2, cursor=cursor)
    assert (third, cursor) == ([ids[0]], None)


async def test_an_item_has_the_shape_that_the_sdks_read(bench: Bench, picture: dict[str, Any]) -> None:
    job_id = await post(bench, picture, client="acme")
    ((job,), _) = [(await bench.client.get("/api/v2/jobs")).json()["jobs"], None]
    assert (job["id"], job["status"], job["deployment_id"]) == (job_id, "queued", None)
    assert job["metadata"] == {"client": "acme"}
    assert job["create_time"] == job["update_time"]


async def test_labels_and_states_filter(bench: Bench, picture: dict[str, Any]) -> None:
    red = await post(bench, picture, color="red", size="1")
    blue = await post(bench, picture, color="blue", size="1")
    bench.dispatcher.outcomes[f"call-{blue}"] = CallOutcome("lost", "gone")
    assert await listed(bench.client, **{"metadata[color]": "red"}) == ([red], None)
    assert await listed(bench.client, **{"metadata[color]": "red", "metadata[size]": "2"}) == ([], None)
    assert await listed(bench.client, **{"metadata[size]": "1"}) == ([blue, red], None)
    assert await listed(bench.client, status="failed") == ([blue], None)
    assert await listed(bench.client, status="failed,queued") == ([blue, red], None)


async def test_a_filter_that_finds_little_answers_in_bounded_time_with_a_cursor(
    bench: Bench, picture: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = await post(bench, picture, rare="yes")
    for _ in range(7):
        await post(bench, picture)
    monkeypatch.setattr(jobs_module, "SCANNED_PER_PAGE", 5)
    found, cursor = await listed(bench.client, **{"metadata[rare]": "yes"})
    assert (found, cursor is None) == ([], False)
    assert await listed(bench.client, **{"metadata[rare]": "yes", "cursor": cursor}) == ([wanted], None)


async def test_jobs_past_their_retention_are_not_listed(bench: Bench, picture: dict[str, Any]) -> None:
    await post(bench, picture)
    bench.advance(7 * 24 * 3600 + 1)
    young = await post(bench, picture)
    assert await listed(bench.client) == ([young], None)


class DistantStore(MemoryStore):
    """Lets others run before each answer, as a store over the network does."""

    async def get(self, key: str) -> Any:
        await asyncio.sleep(0)
        return await super().get(key)

    async def put(self, key: str, value: Any) -> None:
        await asyncio.sleep(0)
        await super().put(key, value)

    async def put_if_absent(self, key: str, value: Any) -> bool:
        await asyncio.sleep(0)
        return await super().put_if_absent(key, value)


async def test_two_gateways_never_lose_or_share_an_entry() -> None:
    store = DistantStore()
    indexes = [JobIndex(store), JobIndex(store)]
    await asyncio.gather(*(indexes[n % 2].append({"id": str(n)}) for n in range(100)))
    entries = [entry["id"] async for _, entry in JobIndex(store).newest_first(None, 500)]
    assert sorted(entries, key=int) == [str(n) for n in range(100)]


async def test_a_hint_that_is_behind_hides_nothing(bench: Bench, picture: dict[str, Any]) -> None:
    ids = [await post(bench, picture) for _ in range(3)]
    await bench.store.put("jobs_next", 1)
    again = Jobs(bench.store, bench.dispatcher)
    assert [job["id"] for job in (await again.page(limit=10))[0]] == ids[::-1]


async def test_jobs_keys_and_assets_survive_a_gateway(
    bench: Bench, picture: dict[str, Any], open_client: Callable[..., httpx.AsyncClient]
) -> None:
    job = (
        await bench.client.post(
            "/api/v2/jobs",
            json={"workflow": picture, "metadata": {"a": "b"}},
            headers={"Idempotency-Key": "k"},
        )
    ).json()
    form = {"content_type": "image/png", "file_path": "photo.png"}
    asset = (
        await bench.client.post("/api/v2/assets", data=form, files={"file": ("photo.png", b"bytes")})
    ).json()
    await bench.client.aclose()
    # Another container: nothing but the store and the files is the same.
    jobs = Jobs(bench.store, bench.dispatcher, clock=lambda: bench.now[0])
    async with open_client(Gateway(jobs, bench.store, bench.files).application()) as client:
        assert (await client.get(job["urls"]["self"])).json() == job
        assert (await client.get(f"/api/ryla/jobs/{job['id']}")).json()["job"] == job
        assert (await client.get(f"{job['urls']['self']}/workflow")).json()["workflow"] == picture
        assert await listed(client) == ([job["id"]], None)
        assert (await client.get(f"/api/v2/assets/{asset['id']}/content")).content == b"bytes"
        reused = await client.post(
            "/api/v2/jobs", json={"workflow": picture}, headers={"Idempotency-Key": "k"}
        )
        assert reused.json()["error"]["code"] == "idempotency_key_reuse"
        assert (await client.post(job["urls"]["cancel"])).json()["status"] == "canceled"
    assert bench.dispatcher.calls == [job["id"]]


async def test_one_key_at_once_is_taken_once(bench: Bench, picture: dict[str, Any]) -> None:
    store = DistantStore()
    jobs = [Jobs(store, bench.dispatcher) for _ in range(2)]
    results = await asyncio.gather(
        *(jobs[n % 2].submit(picture, idempotency_key="k") for n in range(20)), return_exceptions=True
    )
    assert sum(isinstance(result, dict) for result in results) == 1
    assert len(bench.dispatcher.calls) == 1


async def test_jobs_of_an_earlier_version_of_the_gateway_are_shown(
    bench: Bench, picture: dict[str, Any]
) -> None:
    job_id = await post(bench, picture)
    stored = await bench.store.get(f"job:{job_id}")
    await bench.store.put(f"job:{job_id}", {k: v for k, v in stored.items() if k != "metadata"})
    assert (await bench.client.get(f"/api/v2/jobs/{job_id}")).json()["metadata"] == {}
