"""Typed inputs: POST /api/ryla/run on the app of one endpoint."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from comfy_worker import EngineConfig
from ryla_modal.endpoint_inputs import Endpoint
from ryla_modal.gateway import Gateway
from ryla_modal.serve import application

Bench = Any
ENDPOINTS = Path(__file__).resolve().parents[2] / "endpoints"


def endpoint(name: str) -> Endpoint:
    loaded = Endpoint.load(ENDPOINTS / name)
    assert loaded is not None
    return loaded


@pytest.fixture
async def photo(
    bench: Bench, open_client: Callable[..., httpx.AsyncClient]
) -> AsyncIterator[httpx.AsyncClient]:
    gateway = Gateway(bench.jobs, bench.store, bench.files, endpoint=endpoint("photo-finish"))
    async with open_client(gateway.application()) as client:
        yield client


async def test_inputs_are_set_in_the_workflow_and_defaults_are_staged(
    bench: Bench, photo: httpx.AsyncClient
) -> None:
    answer = await photo.post("/api/ryla/run", json={"inputs": {"width": 128.0}, "metadata": {"a": "b"}})
    job = answer.json()
    assert (answer.status_code, job["metadata"]) == (201, {"a": "b"})
    stored = await bench.store.get(f"job:{job['id']}")
    assert stored["workflow"]["2"]["inputs"]["width"] == 128
    assert isinstance(stored["workflow"]["2"]["inputs"]["width"], int)
    assert stored["workflow"]["3"]["inputs"]["alpha"] == 0.25
    assert stored["workflow"]["1"]["inputs"]["image"] == "image.jpg"
    path = await bench.files.path(stored["files"]["image.jpg"])
    assert path.read_bytes() == (ENDPOINTS / "photo-finish/photo.jpg").read_bytes()


async def test_a_file_is_an_asset(bench: Bench, photo: httpx.AsyncClient) -> None:
    form = {"content_type": "image/png", "file_path": "in.png"}
    asset = (await photo.post("/api/v2/assets", data=form, files={"file": ("in.png", b"x")})).json()
    image = {"__type": "core/ASSET", "info": {"id": asset["id"]}}
    job = (await photo.post("/api/ryla/run", json={"inputs": {"image": image}})).json()
    stored = await bench.store.get(f"job:{job['id']}")
    assert stored["files"] == {f"{asset['id']}.png": asset["hash"]}


@pytest.mark.parametrize(
    ("inputs", "code", "message"),
    [
        (
            {"size": 1},
            "unknown_input",
            'Endpoint photo-finish has no input "size". It has: image, width, sharpness, vignette.',
        ),
        (
            {"width": "1"},
            "invalid_input",
            'Input "width" of endpoint photo-finish must be a number, not "1".',
        ),
        (
            {"width": 64.5},
            "invalid_input",
            'Input "width" of endpoint photo-finish must be a whole number, not 64.5.',
        ),
        (
            {"width": True},
            "invalid_input",
            'Input "width" of endpoint photo-finish must be a number, not true.',
        ),
        (
            {"width": 9000},
            "invalid_input",
            'Input "width" of endpoint photo-finish must be at most 4096, not 9000.',
        ),
        ({"width": 1}, "invalid_input", 'Input "width" of endpoint photo-finish must be at least 64, not 1.'),
        ({"image": "../../etc/passwd"}, "invalid_input", None),
        ({"image": {"url": "http://169.254.169.254"}}, "invalid_input", None),
    ],
)
async def test_wrong_inputs_are_refused_in_the_words_of_libs_workflow(
    bench: Bench, photo: httpx.AsyncClient, inputs: dict[str, Any], code: str, message: str | None
) -> None:
    response = await photo.post("/api/ryla/run", json={"inputs": inputs})
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (422, code)
    assert error["details"]["input"] == next(iter(inputs))
    if message is not None:
        assert error["message"] == message
    assert bench.dispatcher.calls == []


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": []},
        {"webhook": "https://example.com"},
        {"webhook": {"url": None}},
        {"webhook": {"url": "https://a.example", "x": 1}},
    ],
)
async def test_bodies_of_another_shape_are_refused(photo: httpx.AsyncClient, body: dict[str, Any]) -> None:
    response = await photo.post("/api/ryla/run", json=body)
    assert (response.status_code, response.json()["error"]["code"]) == (422, "invalid_request")


def test_every_kind_of_input_is_checked() -> None:
    places = {"node": "1", "field": "x"}
    document = {
        "name": "kinds",
        "inputs": {
            "text": {"type": "text", **places, "maxLength": 3, "also": [{"node": "1", "field": "y"}]},
            "flag": {"type": "boolean", **places},
            "choice": {"type": "enum", "values": ["a", "b"], **places},
            "needed": {"type": "string", "required": True, "node": "1", "field": "z"},
        },
    }
    made = Endpoint(document, {"1": {"class_type": "A", "inputs": {}}}, Path())
    workflow, _ = made.apply({"text": "abc", "needed": "n"})
    assert workflow["1"]["inputs"] == {"x": "abc", "y": "abc", "z": "n"}
    refused = [
        ({}, "needs the input"),
        ({"needed": None}, "needs the input"),
        ({"needed": 1}, "must be a text, not 1"),
        ({"needed": "n", "text": "ab\N{GRINNING FACE}"}, "at most 3 characters long"),
        ({"needed": "n", "flag": 1}, "must be true or false, not 1"),
        ({"needed": "n", "choice": "c"}, 'must be one of a, b, not "c"'),
    ]
    for values, words in refused:
        with pytest.raises(Exception, match="ndpoint kinds") as caught:
            made.apply(values)
        assert words in str(caught.value)


async def test_the_document_has_the_types_of_the_inputs(photo: httpx.AsyncClient) -> None:
    document = (await photo.get("/openapi.json")).json()
    body = document["paths"]["/api/ryla/run"]["post"]["requestBody"]["content"]["application/json"]
    width = body["schema"]["properties"]["inputs"]["properties"]["width"]
    assert (width["type"], width["minimum"], width["maximum"], width["default"]) == ("integer", 64, 4096, 960)


async def test_the_shipped_endpoint_runs_by_its_inputs(
    engine: EngineConfig, tmp_path: Path, open_client: Callable[..., httpx.AsyncClient]
) -> None:
    app = application(engine, tmp_path, endpoint=endpoint("photo-finish"))
    async with app.router.lifespan_context(app), open_client(app) as client:
        job = (await client.post("/api/ryla/run", json={"inputs": {"width": 64}})).json()
        await client.get(job["urls"]["events"])
        done = (await client.get(job["urls"]["self"])).json()
        assert done["status"] == "succeeded", done["error"]
        assert (await client.get(done["outputs"][0]["url"])).content.startswith(b"\x89PNG")
