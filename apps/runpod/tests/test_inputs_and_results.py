"""Files by their address, models that are missing, and results that RunPod does not deliver."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from comfy_worker import InputFileRejected, JobMetrics, Output
from comfy_worker.job import JobTimings
from comfy_worker.remote_input import RemoteInput, fetch_inputs
from ryla_runpod import result as result_module
from ryla_runpod.model_check import InvalidModels, ModelCheck
from ryla_runpod.payload import parse_payload
from ryla_runpod.result import ResultTooLarge, to_result
from ryla_runpod.result_bucket import ResultBucket

CONTENT = b"picture" * 100_000
MODEL = {
    "directory": "checkpoints",
    "filename": "a model.safetensors",
    "size": 4,
    "sha256": hashlib.sha256(b"good").hexdigest(),
    "url": "https://example.com/a?b=1&c=2",
}


@dataclass
class Files:
    """A web server with a file, a bucket, and what goes wrong."""

    url: str = ""
    asked: list[str] = field(default_factory=list[str])
    stored: dict[str, bytes] = field(default_factory=dict[str, bytes])
    failures: int = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        match request.path:
            case "/redirect":
                raise web.HTTPFound("/photo.png")
            case "/outside":
                raise web.HTTPFound("ftp://example.com/photo.png")
            case "/circle":
                raise web.HTTPFound("/circle")
            case "/busy" if self.failures > 0:
                self.failures -= 1
                return web.Response(status=503)
            case "/gone":
                return web.Response(status=404)
            case "/cut":
                response = web.StreamResponse(headers={"Content-Length": str(len(CONTENT))})
                await response.prepare(request)
                await response.write(CONTENT[:1000])
                assert request.transport is not None
                request.transport.close()
                return response
            case "/unknown-length":
                response = web.StreamResponse()
                await response.prepare(request)
                for _ in range(20):
                    await response.write(CONTENT)
                return response
            case _:
                return web.Response(body=CONTENT)

    async def store(self, request: web.Request) -> web.Response:
        self.stored[request.path] = await request.read()
        return web.Response()


@pytest.fixture
async def files() -> AsyncIterator[Files]:
    made = Files()
    app = web.Application(client_max_size=1 << 30)
    app.router.add_get("/{path:.*}", made.answer)
    app.router.add_put("/{path:.*}", made.store)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def fetched(url: str, folder: Path, **options: Any) -> bytes:
    options = {"allow_private": True, **options}
    (file,) = await fetch_inputs([RemoteInput("photo.png", url)], folder, "job", **options)
    assert isinstance(file.content, Path)
    return await asyncio.to_thread(file.content.read_bytes)


@pytest.mark.parametrize("path", ["/photo.png", "/redirect", "/busy"])
async def test_a_file_is_fetched_over_redirects_and_short_outages(
    files: Files, tmp_path: Path, path: str
) -> None:
    files.failures = 1
    assert await fetched(files.url + path, tmp_path) == CONTENT


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/outside", "not https"),
        ("/circle", "redirects"),
        ("/gone", "status 404"),
        ("/cut", "3 times"),
        ("/unknown-length", "more than 1000000 bytes"),
    ],
)
async def test_a_file_that_cannot_be_had_whole_is_refused_without_its_signature(
    files: Files, tmp_path: Path, path: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comfy_worker.remote_input.RETRY_DELAY", 0)
    with pytest.raises(InputFileRejected, match=words) as caught:
        await fetched(f"{files.url}{path}?X-Amz-Signature=secret", tmp_path, most_bytes=1_000_000)
    assert "secret" not in str(caught.value.to_json())


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/a",
        "https://[::1]/a",
        "https://[::ffff:10.0.0.1]/a",
        "https://169.254.169.254/latest/meta-data",
        "https://localhost/a",
        "http://example.com/a",
        "https://user:pass@example.com/a",
        "file:///etc/passwd",
    ],
)
async def test_no_other_than_public_hosts_are_asked(tmp_path: Path, url: str) -> None:
    with pytest.raises(InputFileRejected):
        await fetched(url, tmp_path, allow_private=False)


async def test_a_private_host_gets_no_request(files: Files, tmp_path: Path) -> None:
    port = files.url.rpartition(":")[2]
    for host in ("127.0.0.1", "localhost"):
        with pytest.raises(InputFileRejected):
            await fetched(f"https://{host}:{port}/photo.png", tmp_path, allow_private=False)
    assert files.asked == []


async def test_a_name_that_leads_elsewhere_is_not_fetched(files: Files, tmp_path: Path) -> None:
    with pytest.raises(InputFileRejected, match="not allowed"):
        await fetch_inputs([RemoteInput("../a", files.url)], tmp_path, "job", allow_private=True)
    assert files.asked == []


def test_images_may_be_addresses() -> None:
    workflow = {"1": {"class_type": "A", "inputs": {}}}
    images = [
        {"name": "a.png", "image": "https://x.example/a"},
        {"name": "b.png", "url": "https://x.example/b"},
    ]
    payload = parse_payload({"workflow": workflow, "images": images}, "id")
    assert payload.files == ()
    assert [file.url for file in payload.remote] == ["https://x.example/a", "https://x.example/b"]


def check(folder: Path | None, *models: object) -> ModelCheck:
    environ = {"RYLA_MODELS": json.dumps(models), "RYLA_ENDPOINT": "flux"}
    return ModelCheck.from_env(environ, None if folder is None else str(folder))


def test_a_missing_model_is_named_with_the_command_that_brings_it(tmp_path: Path) -> None:
    for place in (tmp_path, None):
        refusal = check(place, MODEL).refusal()
        assert refusal is not None
        document = refusal.to_json()
        assert document["code"] == "missing_models"
        assert "1 of 1 models of flux are not on the volume" in document["message"]
        assert document["details"] == [{"path": "checkpoints/a model.safetensors", "problem": "missing"}]
        assert "curl --fail --location" in document["hint"]
        assert (
            "'/workspace/models/checkpoints/a model.safetensors' 'https://example.com/a?b=1&c=2'"
            in document["hint"]
        )
        assert f"{MODEL['sha256']}  /workspace" in document["hint"]


def test_a_cut_model_is_missing_and_the_whole_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "a model.safetensors"
    path.parent.mkdir()
    path.write_bytes(b"goo")
    refusal = check(tmp_path, MODEL).refusal()
    assert refusal is not None
    assert "3 bytes instead of 4" in refusal.message
    path.write_bytes(b"good")
    assert check(tmp_path, MODEL).refusal() is None
    assert check(None).refusal() is None


@pytest.mark.parametrize(
    "text",
    ["{", "{}", "[1]", '[{"directory": "a"}]', '[{"directory":"..","filename":"x","size":1,"sha256":"a"}]'],
)
def test_models_that_cannot_be_read_are_told_with_what_to_set(text: str) -> None:
    with pytest.raises(InvalidModels, match=r"jq -c \.models"):
        ModelCheck.from_env({"RYLA_MODELS": text}, None)


class FinishedRun:
    """A run whose outputs are there."""

    job_id = "job"

    def __init__(self, *contents: bytes) -> None:
        self._contents = contents
        self.timings, self.metrics = JobTimings(), JobMetrics(gpu="NVIDIA H200")

    async def outputs(self) -> list[Output]:
        return [self._output(f"{number}.png", content) for number, content in enumerate(self._contents)]

    def _output(self, name: str, content: bytes) -> Output:
        async def pieces(_: Output) -> AsyncIterator[bytes]:
            yield content

        return Output("9", name, "", "image", "image/png", open=pieces)


def bucket(url: str) -> ResultBucket:
    environ = {"BUCKET_ENDPOINT_URL": f"{url}/results"}
    found = ResultBucket.from_env({**environ, "BUCKET_ACCESS_KEY_ID": "k", "BUCKET_SECRET_ACCESS_KEY": "s"})
    assert found is not None
    return found


async def test_what_fits_is_inline_and_what_does_not_goes_to_the_bucket(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_module, "MAXIMUM_RESULT_BYTES", 16)
    given: Callable[..., Any] = FinishedRun
    small = await to_result(given(b"123456", b"123"), "w", bucket(files.url))
    assert [entry["type"] for entry in small["images"]] == ["base64", "base64"]
    assert small["metrics"]["gpu"] == "NVIDIA H200"
    assert small["metrics"]["uploadMs"] >= 0
    assert files.stored == {}
    large = await to_result(given(b"123456", b"1234567", b"1"), "w", bucket(files.url))
    assert [entry["type"] for entry in large["images"]] == ["s3_url"] * 3
    assert large["images"][1]["data"].startswith(f"{files.url}/results/job/9/1.png?")
    assert large["images"][1]["size"] == 7
    assert sorted(files.stored) == [f"/results/job/9/{number}.png" for number in range(3)]
    with pytest.raises(ResultTooLarge, match="RunPod does not deliver"):
        await to_result(given(b"x" * 20), "w")


@pytest.mark.parametrize(
    "environ",
    [
        {"BUCKET_ENDPOINT_URL": "https://s3.example.com/b"},
        {
            "BUCKET_ENDPOINT_URL": "https://s3.example.com",
            "BUCKET_ACCESS_KEY_ID": "k",
            "BUCKET_SECRET_ACCESS_KEY": "s",
        },
    ],
)
def test_a_bucket_that_is_half_configured_is_refused(environ: dict[str, str]) -> None:
    assert ResultBucket.from_env({}) is None
    with pytest.raises(ValueError, match="BUCKET_"):
        ResultBucket.from_env(environ)
