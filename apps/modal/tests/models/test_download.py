"""Downloads from a source that fails: verified in the end or refused, never silently wrong."""

from __future__ import annotations

import asyncio
import random
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ryla_modal.models import Limits, ModelStore
from ryla_modal.models.extents import Extents
from ryla_modal.models.sources import retry_after

KB, MB = 1 << 10, 1 << 20


def content(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def asked_bytes(requests: list[dict[str, str]]) -> int:
    """Sum of the ranges that were asked for."""
    ranges = [headers["Range"].removeprefix("bytes=").split("-") for headers in requests]
    return sum(int(end) + 1 - int(start) for start, end in ranges)


def leftovers(volume: Path) -> list[str]:
    return sorted(path.name for path in (volume / ".ryla/parts").glob("*"))


async def test_a_set_of_40_mb_over_dropping_connections_is_verified(
    server: Any, store: ModelStore, volume: Path
) -> None:
    how: dict[str, Any] = {"drops": 0.5}
    models = [
        server.model("a.safetensors", content(24 * MB, 1), **how),
        server.model("b.safetensors", content(12 * MB, 2), "loras", resets=True, **how),
        server.model(
            "c.safetensors", content(4 * MB + 12_345, 3), "checkpoints", ignores_range=True, drops=0.7
        ),
    ]
    upload = await store.upload(models)
    assert not upload.failed
    assert sorted(upload.fetched) == sorted(model.path for model in models)
    for model in models:
        assert (volume / model.path).read_bytes() == server.files[f"/{model.filename}"].content
    # What had arrived before a drop is not asked for again, where the source knows ranges.
    for name in ("a", "b"):
        file = server.files[f"/{name}.safetensors"]
        assert file.sent < 1.3 * len(file.content)
    assert leftovers(volume) == []


async def test_a_second_run_asks_for_nothing(server: Any, store: ModelStore) -> None:
    model = server.model("a", content(2 * MB))
    await store.upload([model])
    asked = len(server.files["/a"].requests)
    upload = await store.upload([model])
    assert (upload.kept, len(server.files["/a"].requests)) == ([model.path], asked)


async def test_a_wrong_byte_is_noticed_and_the_file_fetched_again(
    server: Any, store: ModelStore, volume: Path
) -> None:
    model = server.model("a", content(3 * MB), wrong_byte=lambda number: 1_000_000 if number <= 6 else None)
    upload = await store.upload([model])
    assert upload.fetched == [model.path]
    assert (volume / model.path).read_bytes() == server.files["/a"].content


async def test_a_source_with_other_bytes_is_refused_and_nothing_is_kept(
    server: Any, store: ModelStore, volume: Path
) -> None:
    model = server.model("a", content(3 * MB), wrong_byte=lambda _: 1_000_000)
    upload = await store.upload([model])
    assert upload.failed[model.path].code == "hash_mismatch"
    assert not (volume / model.path).exists()
    assert leftovers(volume) == []


@pytest.mark.parametrize("ignores_range", [False, True])
async def test_a_truncated_file_is_refused_with_both_sizes(
    server: Any, store: ModelStore, volume: Path, ignores_range: bool
) -> None:
    whole = content(2 * MB)
    model = server.model("a", whole, ignores_range=ignores_range)
    server.files["/a"].content = whole[:-1000]
    upload = await store.upload([model])
    error = upload.failed[model.path]
    assert error.code == "source_mismatch"
    assert str(2 * MB) in error.message
    assert str(2 * MB - 1000) in error.message
    # One that claims the whole size and ends early never ends well, and never for ever.
    server.files["/a"].said_size = len(whole)
    upload = await store.upload([model])
    assert upload.failed[model.path].code == "source_unavailable"
    assert not (volume / model.path).exists()


async def test_bytes_of_two_versions_are_not_mixed(server: Any, store: ModelStore, volume: Path) -> None:
    old, new = content(3 * MB, 1), content(3 * MB, 2)
    model = server.model("a", new)
    file = server.files["/a"]
    file.content = old

    def change(number: int) -> None:
        if number == 5:
            file.content = new

    file.on_request = change
    file.etag = lambda number: '"old"' if number < 5 else '"new"'
    upload = await store.upload([model])
    assert upload.fetched == [model.path]
    assert (volume / model.path).read_bytes() == new


async def test_a_source_with_a_new_etag_each_time_is_judged_by_the_hash(
    server: Any, store: ModelStore, volume: Path
) -> None:
    model = server.model("a", content(3 * MB), etag=lambda number: f'"{number}"')
    assert (await store.upload([model])).fetched == [model.path]
    wrong = server.model(
        "b", content(3 * MB, 2), etag=lambda number: f'"{number}"', wrong_byte=lambda _: 2 * MB
    )
    assert (await store.upload([wrong])).failed[wrong.path].code == "hash_mismatch"
    assert not (volume / wrong.path).exists()


async def test_busy_sources_are_waited_for_as_they_ask(server: Any, volume: Path, quick: Limits) -> None:
    said: list[str] = []
    store = ModelStore(volume, limits=replace(quick, longest_wait=0.2), say=said.append)
    busy = [(429, {"Retry-After": "1"}), (503, {}), (500, {})]
    model = server.model("a", content(100 * KB), statuses=busy)
    assert (await store.upload([model])).fetched == [model.path]
    assert any("as the source asked" in line for line in said)


@pytest.mark.parametrize(
    ("status", "code"), [(404, "source_refused"), (403, "source_refused"), (503, "source_unavailable")]
)
async def test_a_source_that_refuses_is_told_and_the_others_come(
    server: Any, store: ModelStore, status: int, code: str
) -> None:
    bad = server.model("bad", content(KB), statuses=[(status, {})] * 50)
    good = server.model("good", content(MB))
    upload = await store.upload([bad, good])
    assert upload.fetched == [good.path]
    assert upload.failed[bad.path].code == code


async def test_a_compressed_answer_and_a_foreign_range_are_refused(server: Any, store: ModelStore) -> None:
    zipped = server.model("a", content(KB, 1), headers={"Content-Encoding": "gzip"})
    shifted = server.model("b", content(KB, 2), headers={"Content-Range": "bytes 5-9/1024"})
    upload = await store.upload([zipped, shifted])
    assert {path: error.code for path, error in upload.failed.items()} == {
        zipped.path: "source_mismatch",
        shifted.path: "source_unavailable",
    }


async def test_a_token_goes_to_its_own_origin_only(server: Any, volume: Path, quick: Limits) -> None:
    other = type(server)()
    try:
        stored = other.model("stored", content(2 * MB))
        gated = server.model("gated", stored and other.files["/stored"].content, token="hf_x")
        server.files["/gated"].redirect = f"{other.url}/stored?X-Signature=sig-1"
        model = replace(gated, secret="hf")
        said: list[str] = []
        without = await ModelStore(volume, limits=quick, say=said.append).upload([model])
        error = without.failed[model.path]
        assert error.code == "source_refused"
        assert "modal secret create hf HF_TOKEN" in str(error)
        store = ModelStore(volume, tokens={"hf": "hf_x"}, limits=quick, say=said.append)
        assert (await store.upload([model])).fetched == [model.path]
        asked = other.files["/stored"].requests
        assert asked
        assert not any("Authorization" in headers for headers in asked)
        ledger = (volume / ".ryla/models.json").read_text()
        for secret in ("hf_x", "sig-1"):
            assert secret not in ledger
            assert not any(secret in line for line in said)
    finally:
        other.close()


async def test_a_signed_address_that_expires_is_asked_for_again(server: Any, store: ModelStore) -> None:
    stored = server.model("stored", content(4 * MB))
    expired = [(403, {})]

    def expire(number: int) -> None:
        if number == 8:
            server.files["/stored"].statuses += expired

    server.files["/stored"].on_request = expire
    entry = server.model("entry", server.files["/stored"].content)
    server.files["/entry"].redirect = f"{server.url.replace('127.0.0.1', 'localhost')}/stored"
    assert (await store.upload([replace(entry, sha256=stored.sha256)])).fetched == [entry.path]


@pytest.mark.parametrize("target", ["http://192.0.2.1/x", "file:///etc/passwd", "//[", "ftp://x/y"])
async def test_redirects_lead_to_https_only(server: Any, store: ModelStore, target: str) -> None:
    model = server.model("a", content(KB))
    server.files["/a"].redirect = target
    assert (await store.upload([model])).failed[model.path].code == "source_refused"


async def test_endless_redirects_end(server: Any, store: ModelStore) -> None:
    model = server.model("a", content(KB))
    server.files["/a"].redirect = "/a"
    assert (await store.upload([model])).failed[model.path].code == "source_refused"


async def test_local_files_are_sources(volume: Path, store: ModelStore, server: Any, tmp_path: Path) -> None:
    model = server.model("a", content(3 * MB))
    file = tmp_path / "a.bin"
    file.write_bytes(server.files["/a"].content)
    upload = await store.upload([replace(model, url=f"file://{file}")])
    assert upload.fetched == [model.path]
    assert (volume / model.path).read_bytes() == file.read_bytes()
    assert not server.files["/a"].requests


async def test_a_cancelled_run_goes_on_where_it_stopped(server: Any, store: ModelStore, volume: Path) -> None:
    gate = threading.Event()
    model = server.model("a", content(8 * MB), slow=gate)
    run = asyncio.create_task(store.upload([model]))
    journal = volume / f".ryla/parts/{model.sha256}.journal"
    while not journal.exists() or journal.read_bytes().count(b"[") < 6:
        await asyncio.sleep(0.005)
    run.cancel()
    await asyncio.wait([run])
    gate.set()
    before = len(server.files["/a"].requests)
    assert (await store.upload([model])).fetched == [model.path]
    assert asked_bytes(server.files["/a"].requests[before:]) <= 8 * MB - 6 * 64 * KB


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_goes_wrong_a_file_is_right_or_absent(
    data: st.DataObject, tmp_path_factory: Any, server: Any
) -> None:
    size = data.draw(st.integers(1, 700 * KB))
    body = content(size, data.draw(st.integers(0, 5)))
    wrong = data.draw(st.none() | st.tuples(st.integers(0, size - 1), st.integers(1, 40)))
    model = server.model(
        "any",
        body,
        drops=data.draw(st.sampled_from([0.0, 0.3, 0.8])),
        resets=data.draw(st.booleans()),
        ignores_range=data.draw(st.booleans()),
        wrong_byte=lambda number: wrong[0] if wrong is not None and number <= wrong[1] else None,
        etag=data.draw(st.sampled_from([lambda _: None, lambda _: '"1"', lambda n: f'"{n % 3}"'])),
        said_size=data.draw(st.none() | st.just(size) | st.integers(1, 800 * KB)),
    )
    volume = tmp_path_factory.mktemp("volume")
    limits = Limits(segment=64 * KB, backoff=0.0001, longest_wait=0.001, stall=2, connections=4)
    upload = asyncio.run(ModelStore(volume, limits=limits, say=lambda _: None).upload([model]))
    place = volume / model.path
    if model.path in upload.failed:
        assert not place.exists()
    else:
        assert place.read_bytes() == body


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300))), st.integers(1, 300), st.integers(1, 50))
def test_extents_are_a_set_of_bytes(pairs: list[tuple[int, int]], size: int, piece: int) -> None:
    extents, there = Extents(pairs), {byte for start, end in pairs for byte in range(start, end)}
    assert {byte for start, end in extents for byte in range(start, end)} == there
    assert extents.length == len(there)
    assert extents.frontier == next(byte for byte in range(302) if byte not in there)
    missing = list(extents.missing(size, piece))
    assert all(0 < end - start <= piece for start, end in missing)
    assert [byte for start, end in missing for byte in range(start, end)] == sorted(set(range(size)) - there)
    for at in range(0, 302, 7):
        assert extents.next_gap(at) == next(byte for byte in range(at, 603) if byte not in there)


def test_retry_after_is_a_number_or_a_date() -> None:
    assert retry_after("7", 0) == 7
    assert retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 20) == 40
    assert retry_after("soon", 0) is None
    assert retry_after(None, 0) is None
