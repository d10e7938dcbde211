"""Comfy API v2 as the gateway speaks it, without a worker."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from blake3 import blake3
from ryla_modal import event_stream, limits
from ryla_modal.access import Access
from ryla_modal.dispatcher import CallOutcome
from ryla_modal.gateway import Gateway
from ryla_modal.job_claims import JobClaims

Bench = Any
"""conftest's: pytest gives no way to import its type."""


async def post(bench: Bench, workflow: Any, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await bench.client.post("/api/v2/jobs", json={"workflow": workflow}, headers=named)


async def upload(bench: Bench, content: bytes, **fields: str) -> Any:
    data = {"content_type": "image/png", "file_path": "photo.png", **fields}
    return await bench.client.post("/api/v2/assets", data=data, files={"file": ("photo.png", content)})


def code(response: Any) -> str:
    return response.json()["error"]["code"]


async def test_a_job_keeps_the_id_that_its_caller_minted(bench: Bench, picture: dict[str, Any]) -> None:
    job_id = str(uuid.uuid4())
    response = await post(bench, picture, ryla_job_id=job_id)
    job = response.json()
    assert response.status_code == 201
    assert (job["id"], job["status"]) == (job_id, "queued")
    assert bench.dispatcher.calls == [job_id]
    assert (await bench.client.get(job["urls"]["self"])).json() == job
    found = (await bench.client.get(f"/api/ryla/jobs/{job_id}")).json()
    assert found["job"] == job
    assert len(found["payloadSha256"]) == 64


async def test_a_second_submission_of_a_job_is_refused_and_never_dispatched(
    bench: Bench, picture: dict[str, Any]
) -> None:
    job_id = str(uuid.uuid4())
    await post(bench, picture, ryla_job_id=job_id)
    again = await post(bench, picture, ryla_job_id=job_id, idempotency_key="fresh")
    assert (again.status_code, code(again)) == (422, "idempotency_key_reuse")
    assert bench.dispatcher.calls == [job_id]
    # The refusal was definite: its key is free again.
    assert (await post(bench, picture, idempotency_key="fresh")).status_code == 201


async def test_an_idempotency_key_counts_once_for_a_day(bench: Bench, picture: dict[str, Any]) -> None:
    assert (await post(bench, picture, idempotency_key="k")).status_code == 201
    assert code(await post(bench, picture, idempotency_key="k")) == "idempotency_key_reuse"
    bench.advance(24 * 3600 + 1)
    assert (await post(bench, picture, idempotency_key="k")).status_code == 201


async def test_a_refused_workflow_leaves_its_key_free(bench: Bench, picture: dict[str, Any]) -> None:
    broken = {**picture, "9": {"class_type": "NoSuchNode", "inputs": {}}}
    refused = await post(bench, broken, idempotency_key="k")
    assert (refused.status_code, refused.json()["error"]["details"]["node_id"]) == (422, "9")
    assert bench.dispatcher.calls == []
    assert (await post(bench, picture, idempotency_key="k")).status_code == 201


@pytest.mark.parametrize(
    ("content", "status", "expected"),
    [
        (b"{", 400, "invalid_request"),
        (b"[]", 400, "invalid_request"),
        (b'{"workflow": NaN}', 400, "invalid_request"),
        (b"[" * 100_000, 400, "invalid_request"),
        (b"{}", 422, "invalid_workflow"),
        (b'{"workflow": {"nodes": []}}', 422, "workflow_format_ui"),
        (b'{"workflow": {}, "webhook_url": "x"}', 422, "invalid_request"),
        (b'{"workflow": {}, "extra_data": {"other": 1}}', 422, "invalid_request"),
    ],
)
async def test_bad_bodies_are_answered_in_the_envelope(
    bench: Bench, content: bytes, status: int, expected: str
) -> None:
    response = await bench.client.post("/api/v2/jobs", content=content)
    assert (response.status_code, code(response)) == (status, expected)


async def test_unknown_things_are_not_found(bench: Bench) -> None:
    for path in ("/api/v2/jobs/x", "/api/v2/jobs/x/events", "/api/ryla/jobs/x", "/api/v2/assets/x", "/nope"):
        response = await bench.client.get(path)
        assert (response.status_code, code(response)) == (404, "not_found")


async def test_a_worker_that_is_lost_is_told_as_failed_with_its_cause(
    bench: Bench, picture: dict[str, Any]
) -> None:
    job = (await post(bench, picture)).json()
    bench.dispatcher.outcomes[f"call-{job['id']}"] = CallOutcome("lost", "container was killed")
    found = (await bench.client.get(job["urls"]["self"])).json()
    assert (found["status"], found["error"]["code"]) == ("failed", "worker_lost")
    assert "container was killed" in found["error"]["message"]
    assert found == (await bench.client.get(job["urls"]["self"])).json()


async def test_a_job_that_never_reached_a_worker_ends_and_can_never_run(
    bench: Bench, picture: dict[str, Any]
) -> None:
    bench.dispatcher.failure = RuntimeError("secret address of the control plane")
    job_id = str(uuid.uuid4())
    response = await post(bench, picture, ryla_job_id=job_id)
    assert (response.status_code, code(response)) == (500, "upstream_error")
    assert "secret" not in response.text
    assert (await bench.client.get(f"/api/v2/jobs/{job_id}")).json()["status"] == "queued"
    bench.advance(61)
    found = (await bench.client.get(f"/api/v2/jobs/{job_id}")).json()
    assert (found["status"], found["error"]["code"]) == ("failed", "worker_lost")
    assert await JobClaims(bench.store, "a late worker").take(job_id, "call") is None


async def test_cancel_is_idempotent(bench: Bench, picture: dict[str, Any]) -> None:
    job = (await post(bench, picture)).json()
    for _ in range(2):
        answer = await bench.client.post(job["urls"]["cancel"])
        assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
    assert bench.dispatcher.canceled == [f"call-{job['id']}"]


async def test_jobs_are_forgotten_after_their_retention(bench: Bench, picture: dict[str, Any]) -> None:
    job = (await post(bench, picture)).json()
    bench.advance(7 * 24 * 3600 + 1)
    assert (await bench.client.get(job["urls"]["self"])).status_code == 404


async def test_a_published_catalogue_counts_for_the_same_nodes_only(
    tmp_path: Path, make_bench: Callable[..., Bench], picture: dict[str, Any]
) -> None:
    bench = make_bench(tmp_path, known_classes=None, catalogue_key="new")
    workflow = {**picture, "9": {"class_type": "FromACustomNode", "inputs": {}}}
    await bench.store.put("node_classes:old", ["EmptyImage", "SaveImage"])
    assert (await post(bench, workflow)).status_code == 201
    await bench.store.put("node_classes:new", ["EmptyImage", "SaveImage"])
    assert (await post(bench, workflow)).status_code == 422


async def test_assets_are_known_by_content(bench: Bench) -> None:
    content = b"not really a picture" * 1000
    digest = f"blake3:{blake3(content).hexdigest()}"
    assert (await bench.client.head(f"/api/v2/assets/by-hash/{digest}")).status_code == 404
    first, second = await upload(bench, content), await upload(bench, content, expected_hash=digest)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["hash"] == second.json()["hash"] == digest
    assert first.json()["id"] != second.json()["id"]
    assert (await bench.client.head(f"/api/v2/assets/by-hash/{digest}")).status_code == 200
    third = await bench.client.post("/api/v2/assets/from-hash", json={"hash": digest, "file_path": "a.png"})
    assert third.json()["url"].startswith("http://gateway/api/v2/assets/")  # the SDKs refuse relative ones
    assert (third.status_code, third.json()["content_type"]) == (201, "image/png")
    assert (await bench.client.delete(f"/api/v2/assets/{third.json()['id']}")).status_code == 204
    assert (await bench.client.delete(f"/api/v2/assets/{third.json()['id']}")).status_code == 404
    assert (await bench.client.get(first.json()["url"])).content == content


@pytest.mark.parametrize(
    ("header", "status", "expected"),
    [
        ("bytes=0-3", 206, b"0123"),
        ("bytes=7-", 206, b"789"),
        ("bytes=-2", 206, b"89"),
        ("bytes=5-100", 206, b"56789"),
        ("bytes=10-", 416, b""),
        ("nonsense", 200, b"0123456789"),
    ],
)
async def test_content_can_be_read_in_ranges(bench: Bench, header: str, status: int, expected: bytes) -> None:
    asset = (await upload(bench, b"0123456789")).json()
    response = await bench.client.get(asset["url"], headers={"Range": header})
    assert response.status_code == status
    if status == 416:
        assert (code(response), response.headers["content-range"]) == ("range_not_satisfiable", "bytes */10")
    else:
        assert response.content == expected


async def test_bad_uploads_are_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert code(await upload(bench, b"x", expected_hash="blake3:00")) == "hash_mismatch"
    assert (await upload(bench, b"x", expires_in="5")).status_code == 422
    assert (await upload(bench, b"x", content_type="image/png\r\nX: y")).status_code == 422
    assert (await upload(bench, b"x", file_path="../x.png")).status_code == 422
    assert (await bench.client.post("/api/v2/assets", json={})).status_code == 415
    monkeypatch.setattr(limits, "UPLOAD_BYTES", 1000)
    large = await upload(bench, b"x" * 100_000)
    assert (large.status_code, code(large)) == (413, "payload_too_large")


async def test_assets_in_a_workflow_become_staged_files(bench: Bench) -> None:
    asset = (await upload(bench, b"png", file_path="a/odd name.PNG")).json()
    reference: dict[str, Any] = {"__type": "core/ASSET", "info": {"id": asset["id"]}}
    job = (await post(bench, {"1": {"class_type": "LoadImage", "inputs": {"image": reference}}})).json()
    stored = await bench.store.get(f"job:{job['id']}")
    name = stored["workflow"]["1"]["inputs"]["image"]
    assert name == f"{asset['id']}.png"
    assert stored["files"] == {name: asset["hash"]}
    reference["info"]["id"] = str(uuid.uuid4())
    missing = await post(bench, {"1": {"class_type": "LoadImage", "inputs": {"image": reference}}})
    assert (missing.status_code, code(missing)) == (422, "missing_asset")


async def test_the_stream_ends_before_modal_cuts_it(
    bench: Bench, picture: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "STREAM_SECONDS", 0.3)
    monkeypatch.setattr(event_stream, "EVENT_INTERVAL", 0.05)
    monkeypatch.setattr(event_stream, "KEEPALIVE", 0.1)
    job = (await post(bench, picture)).json()
    text = (await bench.client.get(job["urls"]["events"])).text
    assert text.startswith('event: status\ndata: {"status": "queued"')
    assert ": keepalive" in text


async def test_bearer_lets_nobody_else_in(
    bench: Bench, open_client: Callable[..., httpx.AsyncClient], picture: dict[str, Any]
) -> None:
    app = Gateway(bench.jobs, bench.store, bench.files).application(Access("right"))
    async with open_client(app) as client:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "right"}):
            response = await client.post("/api/v2/jobs", json={"workflow": picture}, headers=headers)
            assert (response.status_code, code(response)) == (401, "unauthorized")
        assert bench.dispatcher.calls == []
        allowed = await client.post(
            "/api/v2/jobs", json={"workflow": picture}, headers={"Authorization": "Bearer right"}
        )
        assert allowed.status_code == 201
