"""What stands around the jobs: health, our OpenAPI document, CORS, the rate limit, the log."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import httpx
import jsonschema
import pytest
from ryla_modal import event_stream
from ryla_modal.access import Access, RateLimit
from ryla_modal.dispatcher import CallOutcome
from ryla_modal.gateway import Gateway
from ryla_modal.generate_image import GenerateImage
from ryla_modal.openapi import openapi_document
from ryla_modal.openapi_schemas import SCHEMAS
from ryla_modal.stores import MemoryStore
from starlette.routing import Route

Bench = Any


def gateway(bench: Bench, access: Access) -> Any:
    return Gateway(bench.jobs, bench.store, bench.files).application(access)


async def test_health_and_readiness_need_no_credentials(
    bench: Bench, open_client: Callable[..., httpx.AsyncClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_client(gateway(bench, Access("secret", 0.001))) as client:
        for _ in range(5):
            assert (await client.get("/health")).json() == {"status": "ok"}
            assert (await client.get("/ready")).json() == {"status": "ready"}
        assert (await client.get("/openapi.json")).status_code == 401

        async def broken(_: MemoryStore, key: str) -> Any:
            raise ConnectionError(f"secret address, {key}")

        monkeypatch.setattr(MemoryStore, "get", broken)
        response = await client.get("/ready")
        assert (response.status_code, response.json()["error"]["code"]) == (503, "upstream_unreachable")
        assert "secret" not in response.text


async def test_the_open_paths_take_no_jobs_from_strangers(
    bench: Bench, picture: dict[str, Any], open_client: Callable[..., httpx.AsyncClient]
) -> None:
    bench.dispatcher.failure = RuntimeError("a job of a stranger")
    generate = GenerateImage(bench.jobs, bench.store, bench.files).application(Access("secret"))
    async with open_client(generate) as client:
        for path in ("/", "/health", "/ready"):
            response = await client.post(path, json={"workflow_json": picture})
            assert (response.status_code, response.json()["error"]["code"]) == (401, "unauthorized")
    assert bench.dispatcher.calls == []


async def test_the_document_has_every_route_and_no_other(bench: Bench) -> None:
    served = (await bench.client.get("/openapi.json")).json()
    assert served == json.loads(json.dumps(openapi_document(None)))
    documented = {(method.upper(), path) for path, methods in served["paths"].items() for method in methods}
    routes = [
        route for route in gateway(bench, Access()).routes if isinstance(route, Route) and route.methods
    ]
    wanted = {
        (method, route.path)
        for route in routes
        for method in route.methods or ()
        if method != "HEAD" or route.methods == {"HEAD"}
    }
    assert documented == wanted


def inlined(schema: Any) -> Any:
    """The schema for jsonschema, which knows neither OpenAPI's `nullable` nor its places."""
    if isinstance(schema, list):
        return [inlined(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return inlined(SCHEMAS[schema["$ref"].split("/")[-1]])
    plain = {name: inlined(value) for name, value in schema.items() if name != "nullable"}
    return {"anyOf": [plain, {"type": "null"}]} if schema.get("nullable") else plain


async def test_answers_have_the_shapes_of_the_document(bench: Bench, picture: dict[str, Any]) -> None:
    job = (await bench.client.post("/api/v2/jobs", json={"workflow": picture})).json()
    jsonschema.validate(job, inlined(SCHEMAS["Job"]))
    bench.dispatcher.outcomes[f"call-{job['id']}"] = CallOutcome("lost", "gone")
    form = {"content_type": "image/png", "file_path": "a.png"}
    asset = (await bench.client.post("/api/v2/assets", data=form, files={"file": ("a.png", b"x")})).json()
    for path, name in (
        (job["urls"]["self"], "Job"),
        ("/api/v2/jobs", "JobPage"),
        (f"{job['urls']['self']}/workflow", "JobWorkflow"),
        (f"/api/ryla/jobs/{job['id']}", "JobDetails"),
        (f"/api/v2/assets/{asset['id']}", "Asset"),
        ("/api/v2/jobs/x", "Error"),
    ):
        jsonschema.validate((await bench.client.get(path)).json(), inlined(SCHEMAS[name]))


async def test_pages_may_not_call_unless_their_origin_is_configured(
    bench: Bench, open_client: Callable[..., httpx.AsyncClient]
) -> None:
    preflight = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    assert (
        "access-control-allow-origin"
        not in (await bench.client.options("/api/v2/jobs", headers=preflight)).headers
    )
    access = Access.from_environ({"RYLA_CORS_ORIGINS": "https://app.example, https://b.example"}, "secret")
    async with open_client(gateway(bench, access)) as client:
        allowed = await client.options("/api/v2/jobs", headers=preflight)
        assert allowed.headers["access-control-allow-origin"] == "https://app.example"
        preflight["Origin"] = "https://evil.example"
        assert (
            "access-control-allow-origin"
            not in (await client.options("/api/v2/jobs", headers=preflight)).headers
        )
    for wrong in ("*", "app.example", "https://app.example/path"):
        with pytest.raises(ValueError, match="RYLA_CORS_ORIGINS"):
            Access.from_environ({"RYLA_CORS_ORIGINS": wrong}, None)


async def test_a_key_that_asks_too_often_is_told_when_to_come_again(
    bench: Bench, open_client: Callable[..., httpx.AsyncClient]
) -> None:
    now = [0.0]
    app = RateLimit(gateway(bench, Access()), per_second=2, clock=lambda: now[0])
    async with open_client(app) as client:

        async def ask(key: str) -> httpx.Response:
            return await client.get("/api/v2/jobs", headers={"Authorization": f"Bearer {key}"})

        assert [(await ask("a")).status_code for _ in range(5)] == [200, 200, 200, 200, 429]
        refused = await ask("a")
        assert (refused.json()["error"]["code"], refused.headers["retry-after"]) == ("rate_limited", "1")
        assert (await ask("b")).status_code == 200
        now[0] += 0.5
        assert [(await ask("a")).status_code for _ in range(2)] == [200, 429]


def test_the_rate_limit_is_configured_by_a_number() -> None:
    assert Access.from_environ({}, None, 200).requests_per_second == 200
    assert Access.from_environ({"RYLA_RATE_LIMIT": "0"}, None, 200).requests_per_second is None
    assert Access.from_environ({"RYLA_RATE_LIMIT": "2.5"}, None).requests_per_second == 2.5
    with pytest.raises(ValueError, match="RYLA_RATE_LIMIT"):
        Access.from_environ({"RYLA_RATE_LIMIT": "many"}, None)


async def test_every_request_is_one_line_of_json_without_prompts_and_secrets(
    bench: Bench,
    picture: dict[str, Any],
    open_client: Callable[..., httpx.AsyncClient],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "ryla_modal.requests")
    picture["2"]["inputs"]["filename_prefix"] = "a secret picture"
    async with open_client(gateway(bench, Access("token-of-ours"))) as client:
        headers = {"Authorization": "Bearer token-of-ours"}
        body = {"workflow": picture, "extra_data": {"api_key_comfy_org": "partner-key"}}
        job = (await client.post("/api/v2/jobs", json=body, headers=headers)).json()
        await client.get("/api/v2/jobs?metadata[person]=somebody", headers=headers)
        await client.get("/api/v2/jobs/x%0Ay", headers={"Authorization": "Bearer wrong-token"})
    lines = [record.getMessage() for record in caplog.records if record.name == "ryla_modal.requests"]
    entries = [json.loads(line) for line in lines]
    assert [(entry["method"], entry["path"], entry["status"], entry["job"]) for entry in entries] == [
        ("POST", "/api/v2/jobs", 201, job["id"]),
        ("GET", "/api/v2/jobs", 200, None),
        ("GET", "/api/v2/jobs/x\ny", 401, None),
    ]
    assert all(entry["ms"] >= 0 and "\n" not in line for entry, line in zip(entries, lines, strict=True))
    for hidden in ("secret picture", "partner-key", "token", "somebody"):
        assert hidden not in "".join(lines)


async def test_a_container_keeps_room_beside_its_streams(
    bench: Bench, picture: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "STREAMS", 0)
    job = (await bench.client.post("/api/v2/jobs", json={"workflow": picture})).json()
    response = await bench.client.get(job["urls"]["events"])
    assert (response.status_code, response.json()["error"]["code"]) == (429, "too_many_streams")
    assert response.headers["retry-after"] == "5"


async def test_content_is_resumed_only_while_it_is_the_same(bench: Bench) -> None:
    form = {"content_type": "image/png", "file_path": "a.png"}
    asset = (
        await bench.client.post("/api/v2/assets", data=form, files={"file": ("a.png", b"0123456789")})
    ).json()
    etag = (await bench.client.get(asset["url"])).headers["etag"]
    assert etag == f'"{asset["hash"]}"'
    for given, status, content in ((etag, 206, b"56789"), ('"blake3:other"', 200, b"0123456789")):
        response = await bench.client.get(asset["url"], headers={"Range": "bytes=5-", "If-Range": given})
        assert (response.status_code, response.content) == (status, content)
    cached = await bench.client.get(asset["url"], headers={"If-None-Match": etag})
    assert (cached.status_code, cached.content, cached.headers["etag"]) == (304, b"", etag)
