"""Requests of somebody who means harm: each gets its documented error, never a 5xx, and never a GPU."""

from __future__ import annotations

import gzip
import json
import uuid
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from ryla_modal import limits
from ryla_modal.openapi import CODES, openapi_document
from ryla_modal.openapi_schemas import SCHEMAS

Bench = Any
JSON = {"content-type": "application/json"}
PICTURE: dict[str, Any] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 32, "height": 16, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "blue"}},
}
JOB = "7f3d2c1b-9a8e-4d6f-b012-3c4d5e6f7a8b"


def workflow(**inputs: Any) -> dict[str, Any]:
    """The picture with other inputs of its SaveImage."""
    return {**PICTURE, "2": {"class_type": "SaveImage", "inputs": {**PICTURE["2"]["inputs"], **inputs}}}


def body(value: Any, **more: Any) -> dict[str, Any]:
    return {"content": json.dumps({"workflow": value, **more}).encode(), "headers": JSON}


def raw(content: bytes, **headers: str) -> dict[str, Any]:
    return {"content": content, "headers": {**JSON, **{k.replace("_", "-"): v for k, v in headers.items()}}}


def form(content: bytes = b"x", **fields: str) -> dict[str, Any]:
    data = {"content_type": "image/png", "file_path": "photo.png", **fields}
    return {"data": data, "files": {"file": ("photo.png", content)}}


def multipart(content: bytes, boundary: str = "b") -> dict[str, Any]:
    return {"content": content, "headers": {"content-type": f"multipart/form-data; boundary={boundary}"}}


def nested(levels: int, kind: str = "list") -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value] if kind == "list" else {"a": value}
    return value


def chain(count: int) -> dict[str, Any]:
    """A ring of `count` nodes."""
    return {
        str(n): {"class_type": "ImageInvert", "inputs": {"image": [str((n + 1) % count), 0]}}
        for n in range(count)
    }


def asset(asset_id: Any) -> dict[str, Any]:
    reference = {"__type": "core/ASSET", "info": {"id": asset_id}}
    return {"1": {"class_type": "LoadImage", "inputs": {"image": reference}}}


def load(name: str, class_type: str = "LoadImage", field: str = "image") -> dict[str, Any]:
    return {"1": {"class_type": class_type, "inputs": {field: name}}}


def submit(**request: Any) -> tuple[str, str, dict[str, Any]]:
    return ("POST", "/api/v2/jobs", request)


def upload(**request: Any) -> tuple[str, str, dict[str, Any]]:
    return ("POST", "/api/v2/assets", request)


def from_hash(value: Any) -> tuple[str, str, dict[str, Any]]:
    return ("POST", "/api/v2/assets/from-hash", {"json": value})


def get(path: str, **headers: str) -> tuple[str, str, dict[str, Any]]:
    return ("GET", path, {"headers": {name.replace("_", "-"): value for name, value in headers.items()}})


Request = tuple[str, str, dict[str, Any]]
BOMB = gzip.compress(json.dumps({"workflow": {"1": {"x": "a" * 10_000_000}}}).encode())

REFUSED: dict[str, tuple[Callable[[], Request], int, str]] = {
    # -- graphs
    "more nodes than the limit": (
        lambda: submit(**body({str(n): PICTURE["1"] for n in range(limits.NODES + 1)})),
        422,
        "invalid_workflow",
    ),
    "a workflow of 9 MB": (
        lambda: submit(**body(workflow(filename_prefix="a" * 9_000_000))),
        413,
        "payload_too_large",
    ),
    "a body of 17 MB": (
        lambda: submit(**raw(b'{"workflow": "' + b"a" * 17 * 2**20)),
        413,
        "payload_too_large",
    ),
    "lists nested 100 deep": (lambda: submit(**body(workflow(x=nested(100)))), 422, "invalid_workflow"),
    "objects nested 300 deep": (
        lambda: submit(**body(workflow(x=nested(300, "o")))),
        422,
        "invalid_workflow",
    ),
    "a million open brackets": (lambda: submit(**raw(b"[" * 1_000_000)), 400, "invalid_request"),
    "a million open objects": (lambda: submit(**raw(b'{"a":' * 200_000)), 400, "invalid_request"),
    "a node linked to itself": (
        lambda: submit(**body({"1": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}}})),
        422,
        "invalid_workflow",
    ),
    "a ring of two nodes": (lambda: submit(**body(chain(2))), 422, "invalid_workflow"),
    "a ring of 20,000 nodes": (lambda: submit(**body(chain(20_000))), 422, "invalid_workflow"),
    "a link to nowhere": (lambda: submit(**body(workflow(images=["9", 0]))), 422, "invalid_workflow"),
    "a link to a negative output": (
        lambda: submit(**body(workflow(images=["1", -1]))),
        422,
        "invalid_workflow",
    ),
    "a node class that is not there": (
        lambda: submit(**body({"1": {"class_type": "__import__('os')", "inputs": {}}})),
        422,
        "invalid_workflow",
    ),
    "a node that is no object": (lambda: submit(**body({"1": ["EmptyImage"]})), 422, "invalid_workflow"),
    "a workflow that is a list": (lambda: submit(**body([PICTURE])), 422, "invalid_workflow"),
    "the page's format": (lambda: submit(**body({"nodes": [], "links": []})), 422, "workflow_format_ui"),
    # -- JSON that parsers read differently
    "NaN": (lambda: submit(**raw(b'{"workflow": {"1": NaN}}')), 400, "invalid_request"),
    "-Infinity": (lambda: submit(**raw(b'{"workflow": {"1": -Infinity}}')), 400, "invalid_request"),
    "1e999": (lambda: submit(**raw(b'{"workflow": {"1": 1e999}}')), 400, "invalid_request"),
    "a whole number of 4,000 digits": (
        lambda: submit(**raw(b'{"workflow": {"1": ' + b"9" * 4000 + b"}}")),
        400,
        "invalid_request",
    ),
    "a whole number of 65 bits": (
        lambda: submit(**raw(b'{"workflow": {"1": 36893488147419103232}}')),
        400,
        "invalid_request",
    ),
    "a key twice": (lambda: submit(**raw(b'{"workflow": {}, "workflow": {}}')), 400, "invalid_request"),
    "a node id twice": (lambda: submit(**raw(b'{"workflow": {"1": {}, "1": {}}}')), 400, "invalid_request"),
    "invalid UTF-8": (lambda: submit(**raw(b'{"workflow": "\xff\xfe"}')), 400, "invalid_request"),
    "UTF-16": (lambda: submit(**raw('{"workflow": {}}'.encode("utf-16"))), 400, "invalid_request"),
    "half a surrogate pair": (lambda: submit(**raw(b'{"workflow": {"\\ud800": 1}}')), 400, "invalid_request"),
    "nothing": (lambda: submit(**raw(b"")), 400, "invalid_request"),
    "two documents": (lambda: submit(**raw(b"{}{}")), 400, "invalid_request"),
    # -- encodings and types
    "a gzip bomb": (lambda: submit(**raw(BOMB, content_encoding="gzip")), 415, "unsupported_media_type"),
    "brotli": (lambda: submit(**raw(b"{}", content_encoding="br")), 415, "unsupported_media_type"),
    "a gzip bomb without its header": (lambda: submit(**raw(BOMB)), 400, "invalid_request"),
    "a form for a job": (lambda: submit(data={"workflow": "{}"}), 415, "unsupported_media_type"),
    "XML": (
        lambda: submit(**raw(b"<!DOCTYPE a []>", content_type="text/xml")),
        415,
        "unsupported_media_type",
    ),
    "JSON for an upload": (lambda: upload(json={}), 415, "unsupported_media_type"),
    "a gzipped upload": (
        lambda: upload(
            content=BOMB,
            headers={"content-type": "multipart/form-data; boundary=b", "content-encoding": "gzip"},
        ),
        415,
        "unsupported_media_type",
    ),
    # -- file names
    "a prefix that leads out": (
        lambda: submit(**body(workflow(filename_prefix="../../etc/cron.d/x"))),
        422,
        "invalid_workflow",
    ),
    "an absolute prefix": (
        lambda: submit(**body(workflow(filename_prefix="/etc/x"))),
        422,
        "invalid_workflow",
    ),
    "a prefix with backslashes": (
        lambda: submit(**body(workflow(filename_prefix="..\\..\\x"))),
        422,
        "invalid_workflow",
    ),
    "a prefix with NUL": (lambda: submit(**body(workflow(filename_prefix="a\0b"))), 422, "invalid_workflow"),
    "a subfolder that leads out": (
        lambda: submit(**body(workflow(subfolder="a/../.."))),
        422,
        "invalid_workflow",
    ),
    "an image outside the input folder": (
        lambda: submit(**body(load("../../../etc/passwd [input]"))),
        422,
        "invalid_workflow",
    ),
    "an image at an absolute path": (
        lambda: submit(**body(load("/proc/self/environ"))),
        422,
        "invalid_workflow",
    ),
    "a checkpoint outside its folder": (
        lambda: submit(**body(load("../secrets.safetensors", "CheckpointLoaderSimple", "ckpt_name"))),
        422,
        "invalid_workflow",
    ),
    "an upload that leads out": (lambda: upload(**form(file_path="../../x.png")), 422, "invalid_request"),
    "an upload to an absolute path": (
        lambda: upload(**form(file_path="/etc/passwd")),
        422,
        "invalid_request",
    ),
    "an upload to a drive": (lambda: upload(**form(file_path="C:\\x.png")), 422, "invalid_request"),
    "an upload with control characters": (
        lambda: upload(**form(file_path="a\nb.png")),
        422,
        "invalid_request",
    ),
    "an upload of a long name": (lambda: upload(**form(file_path="a" * 5000)), 422, "invalid_request"),
    # -- assets
    "somebody else's asset": (lambda: submit(**body(asset(str(uuid.uuid4())))), 422, "missing_asset"),
    "an asset id that is a path": (lambda: submit(**body(asset("../job:x"))), 422, "missing_asset"),
    "an asset id that is a list": (lambda: submit(**body(asset([1]))), 422, "missing_asset"),
    "an asset without info": (
        lambda: submit(
            **body({"1": {"class_type": "LoadImage", "inputs": {"image": {"__type": "core/ASSET"}}}})
        ),
        422,
        "missing_asset",
    ),
    "another hash than announced": (
        lambda: upload(**form(expected_hash="blake3:" + "0" * 64)),
        409,
        "hash_mismatch",
    ),
    "an empty hash": (lambda: upload(**form(expected_hash="")), 409, "hash_mismatch"),
    "an empty life": (lambda: upload(**form(expires_in="")), 422, "invalid_request"),
    "a media type with a line break": (
        lambda: upload(**form(content_type="image/png\r\nSet-Cookie: a=b")),
        422,
        "invalid_request",
    ),
    "a life of a second": (lambda: upload(**form(expires_in="1")), 422, "invalid_request"),
    "a life without end": (lambda: upload(**form(expires_in="9" * 500)), 422, "invalid_request"),
    "twenty tags": (lambda: upload(**form(tags=["a"] * 20)), 422, "invalid_request"),  # type: ignore[arg-type]
    "a form without a file": (
        lambda: upload(data={"content_type": "a/b"}, files={"x": b""}),
        422,
        "invalid_request",
    ),
    "a form that ends early": (
        lambda: upload(**multipart(b"--b\r\nContent-Disposition: form-data")),
        422,
        "invalid_request",
    ),
    "a form with 5,000 fields": (
        lambda: upload(
            **multipart(
                b"".join(b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n' for _ in range(5000))
                + b"--b--"
            )
        ),
        400,
        "invalid_request",
    ),
    "a form without a boundary": (
        lambda: upload(content=b"x", headers={"content-type": "multipart/form-data"}),
        400,
        "invalid_request",
    ),
    "a hash that is a path": (
        lambda: from_hash({"hash": "blake3:../../../etc/passwd"}),
        404,
        "blob_not_found",
    ),
    "a hash that nothing has": (lambda: from_hash({"hash": "blake3:" + "0" * 64}), 404, "blob_not_found"),
    "a hash that is a number": (lambda: from_hash({"hash": 1}), 422, "invalid_request"),
    "tags that are a text": (lambda: from_hash({"hash": "x", "tags": "abc"}), 422, "invalid_request"),
    # -- headers
    "a job id that is none": (
        lambda: submit(**raw(b'{"workflow": {}}', ryla_job_id="../x")),
        400,
        "invalid_request",
    ),
    "a key with a line break": (
        lambda: submit(**raw(json.dumps({"workflow": PICTURE}).encode(), idempotency_key="a\r\nX: y")),
        400,
        "invalid_request",
    ),
    "a key of 10,000 characters": (
        lambda: submit(**raw(json.dumps({"workflow": PICTURE}).encode(), idempotency_key="a" * 10_000)),
        400,
        "invalid_request",
    ),
    "an empty key": (
        lambda: submit(**raw(json.dumps({"workflow": PICTURE}).encode(), idempotency_key="")),
        400,
        "invalid_request",
    ),
    "a Host that is none": (
        lambda: submit(**raw(json.dumps({"workflow": PICTURE}).encode(), host="a/@evil.example?")),
        400,
        "invalid_request",
    ),
    "a webhook where none are sent": (
        lambda: submit(
            **raw(json.dumps({"workflow": PICTURE}).encode(), ryla_webhook_url="https://example.com")
        ),
        422,
        "webhooks_not_configured",
    ),
    "a webhook in the body": (
        lambda: submit(**body(PICTURE, webhook_url="http://10.0.0.1")),
        422,
        "invalid_request",
    ),
    # -- labels and other fields
    "17 labels": (
        lambda: submit(**body(PICTURE, metadata={str(n): "a" for n in range(17)})),
        422,
        "metadata_invalid",
    ),
    "a label with a line break": (
        lambda: submit(**body(PICTURE, metadata={"a": "b\nc"})),
        422,
        "metadata_invalid",
    ),
    "a label that turns text around": (
        lambda: submit(**body(PICTURE, metadata={"a": "\u202egnp.exe"})),
        422,
        "metadata_invalid",
    ),
    "a label that is an object": (
        lambda: submit(**body(PICTURE, metadata={"a": {}})),
        422,
        "metadata_invalid",
    ),
    "other secrets": (lambda: submit(**body(PICTURE, extra_data={"client_id": "x"})), 422, "invalid_request"),
    "a secret that is an object": (
        lambda: submit(**body(PICTURE, extra_data={"api_key_comfy_org": {}})),
        422,
        "invalid_request",
    ),
    # -- questions
    "a cursor of one's own": (lambda: get("/api/v2/jobs?cursor=jobs:1"), 400, "invalid_cursor"),
    "a cursor of 10,000 characters": (
        lambda: get(f"/api/v2/jobs?cursor={'A' * 10_000}"),
        400,
        "invalid_cursor",
    ),
    "a negative limit": (lambda: get("/api/v2/jobs?limit=-1"), 400, "invalid_request"),
    "a limit of 10^30": (lambda: get(f"/api/v2/jobs?limit=1{'0' * 30}"), 400, "invalid_request"),
    "a limit in other digits": (lambda: get("/api/v2/jobs?limit=%D9%A5"), 400, "invalid_request"),
    "four filters": (
        lambda: get("/api/v2/jobs?" + "&".join(f"metadata[{n}]=a" for n in range(4))),
        400,
        "invalid_metadata_filter",
    ),
    "a filter that is none": (lambda: get("/api/v2/jobs?metadata=a"), 400, "invalid_metadata_filter"),
    "a state that is none": (lambda: get("/api/v2/jobs?status=drop"), 400, "invalid_request"),
    "a job id with a path in it": (lambda: get("/api/v2/jobs/..%2F..%2Fetc"), 404, "not_found"),
    "a job id of 60,000 characters": (lambda: get(f"/api/v2/jobs/{'a' * 60_000}"), 404, "not_found"),
    "a job id in invalid UTF-8": (lambda: get("/api/v2/jobs/%ff%fe"), 404, "not_found"),
    "a key of the store": (lambda: get("/api/ryla/jobs/claim:x"), 404, "not_found"),
    "the events of no job": (lambda: get(f"/api/v2/jobs/{JOB}/events"), 404, "not_found"),
    "cancel no job": (lambda: ("POST", f"/api/v2/jobs/{JOB}/cancel", {}), 404, "not_found"),
    "the content of no asset": (lambda: get(f"/api/v2/assets/{JOB}/content"), 404, "not_found"),
    "another method": (lambda: ("PUT", "/api/v2/jobs", {}), 405, "method_not_allowed"),
    "typed inputs where there are none": (
        lambda: ("POST", "/api/ryla/run", {"json": {"inputs": {}}}),
        404,
        "not_found",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_hostile_requests_are_refused_as_documented(bench: Bench, name: str) -> None:
    make, status, code = REFUSED[name]
    method, path, arguments = make()
    response = await bench.client.request(method, path, **arguments)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code), response.text
    assert len(response.content) < 2000
    jsonschema.validate(response.json(), SCHEMAS["Error"])
    assert f"`{code}`" in CODES[status]
    assert bench.dispatcher.calls == []
    assert (await bench.client.get("/api/v2/jobs")).json() == {"jobs": []}


def test_there_are_enough_of_them_and_the_document_has_their_errors() -> None:
    assert len(REFUSED) >= 40
    responses = openapi_document(None)["paths"]["/api/v2/jobs"]["post"]["responses"]
    assert {str(status) for _, status, code in REFUSED.values() if code == "invalid_workflow"} <= set(
        responses
    )


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("bytes=0-99999999999999999999", 200),
        ("bytes=99999999999999999999-", 416),
        (f"bytes=0-{'9' * 5000}", 200),
        ("bytes=-0", 416),
        ("bytes=-99999999999999999999", 200),
        ("bytes=5-1", 200),
        ("bytes=0-0,1-1,2-2", 200),
        ("bytes=" + ",".join("0-1" for _ in range(10_000)), 200),
        ("bytes=\u0660-\u0663", 200),
        ("items=0-1", 200),
        ("bytes=--1", 200),
        ("bytes=10-", 416),
    ],
)
async def test_absurd_ranges_are_ignored_or_refused(bench: Bench, value: str, status: int) -> None:
    stored = (await bench.client.post("/api/v2/assets", **form(b"0123456789"))).json()
    response = await bench.client.get(stored["url"], headers={"Range": value.encode()})
    assert response.status_code == status
    if status == 200:
        assert response.content == b"0123456789"
    else:
        assert response.headers["content-range"] == "bytes */10"
        assert response.json()["error"]["code"] == "range_not_satisfiable"


async def test_the_store_is_asked_for_ids_only(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    get_value = bench.store.get

    async def noted(key: str) -> Any:
        asked.append(key)
        return await get_value(key)

    monkeypatch.setattr(bench.store, "get", noted)
    for path in ("/api/v2/jobs/{}", "/api/v2/jobs/{}/events", "/api/ryla/jobs/{}", "/api/v2/assets/{}"):
        for strange in ("a" * 60_000, "x:y", JOB.replace("-", ""), f"{JOB}%0A"):
            assert (await bench.client.get(path.format(strange))).status_code == 404
    await bench.client.post("/api/v2/jobs", **body(asset("x" * 10_000)))
    assert all(key.startswith("node_classes:") for key in asked)


async def test_bytes_of_strangers_cannot_act_in_our_name(bench: Bench) -> None:
    page = form(b"<script>", content_type="text/html", file_path="a.html")
    stored = (await bench.client.post("/api/v2/assets", **page)).json()
    headers = (await bench.client.get(stored["url"])).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in headers["content-security-policy"]


async def test_forwarded_headers_do_not_lead_content_elsewhere(bench: Bench) -> None:
    headers = {"X-Forwarded-Proto": "javascript", "X-Forwarded-Prefix": "@evil.example/"}
    stored = (await bench.client.post("/api/v2/assets", **form(), headers=headers)).json()
    assert stored["url"].startswith("http://gateway/api/v2/assets/")


async def test_keys_count_once_and_are_free_again_after_their_day(bench: Bench) -> None:
    async def post(key: str) -> int:
        request = raw(json.dumps({"workflow": PICTURE}).encode(), idempotency_key=key)
        return (await bench.client.post("/api/v2/jobs", **request)).status_code

    bench.now[0] = 20_000 * 86_400.0 + 86_399  # a second before midnight
    assert [await post("k"), await post("k")] == [201, 422]
    bench.advance(2)
    assert await post("k") == 422
    bench.advance(86_397)
    assert await post("k") == 422
    bench.advance(2)
    assert [await post("k"), await post("k")] == [201, 422]
    assert len(bench.dispatcher.calls) == 2


async def test_a_key_of_an_upload_counts_once_unless_it_was_refused(bench: Bench) -> None:
    async def post(**fields: str) -> Any:
        return await bench.client.post("/api/v2/assets", **form(**fields), headers={"Idempotency-Key": "k"})

    assert (await post(expected_hash="blake3:" + "0" * 64)).status_code == 409
    assert (await post()).status_code in (200, 201)
    again = await post()
    assert (again.status_code, again.json()["error"]["code"]) == (422, "idempotency_key_reuse")


async def test_prompts_may_say_what_file_names_may_not(bench: Bench) -> None:
    graph = {"1": {"class_type": "CLIPTextEncode", "inputs": {"text": "a/../b, ../../etc, C:\\", "clip": 1}}}
    assert (await bench.client.post("/api/v2/jobs", **body(graph))).status_code == 201
