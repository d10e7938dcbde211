"""The volume over several runs: killed, concurrent, shared, checked, pruned."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ryla_modal.models import (
    ConflictingModels,
    InvalidModel,
    Ledger,
    Limits,
    ModelFile,
    ModelStore,
    merge,
    read_endpoints,
    select,
)
from ryla_modal.models.part_file import PartFile
from ryla_modal.models.sources import checked_url

KB, MB = 1 << 10, 1 << 20
ENDPOINTS = Path(__file__).resolve().parents[4] / "apps/endpoints"
SHA = "0" * 64


def content(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def command(volume: Path, manifest: Path, *more: str) -> list[str]:
    limits = ["--connections", "4", "--segment", str(256 * KB), "--backoff", "0.001"]
    return [
        sys.executable,
        "-m",
        "ryla_modal.models",
        "--volume",
        str(volume),
        "--manifest",
        str(manifest),
        *limits,
        *more,
    ]


def write_manifest(folder: Path, models: list[ModelFile]) -> Path:
    file = folder / "manifest.json"
    file.write_text(json.dumps([asdict(model) for model in models]), encoding="utf-8")
    return file


def test_killed_at_random_moments_it_fetches_only_what_is_missing(
    server: Any, volume: Path, tmp_path: Path
) -> None:
    """Twelve SIGKILLs, each after a random number of bytes: together little more than the files is sent."""
    dice = random.Random(3)
    models = [server.model(f"m{n}", content((10 + 5 * n) * MB, n)) for n in range(3)]
    total = sum(model.size for model in models)
    manifest = write_manifest(tmp_path, models)
    kills, killed = 12, 0
    for _ in range(kills):
        moment = threading.Event()
        threshold = server.sent + dice.randrange(64 * KB, total // kills)
        for file in server.files.values():
            file.on_piece = lambda moment=moment, threshold=threshold: (
                moment.set() if server.sent >= threshold else None
            )
        child = subprocess.Popen(command(volume, manifest), stdout=subprocess.DEVNULL)
        moment.wait(20)
        child.kill()
        killed += child.wait() == -signal.SIGKILL
    assert killed > kills / 2
    last = subprocess.run(command(volume, manifest), capture_output=True, text=True, check=False)
    assert last.returncode == 0, last.stdout + last.stderr
    for model in models:
        assert (volume / model.path).read_bytes() == server.files[f"/{model.filename}"].content
    # Of a killed process only what was under way is fetched again: a segment of each connection, and what lay in its socket.
    assert server.sent <= total + kills * 4 * 512 * KB
    again = subprocess.run(command(volume, manifest), capture_output=True, text=True, check=True)
    assert "3 verified before" in again.stdout


def test_concurrent_runs_wait_for_each_other(server: Any, volume: Path, tmp_path: Path) -> None:
    models = [server.model(f"m{n}", content(4 * MB, n), drops=0.3) for n in range(3)]
    manifest = write_manifest(tmp_path, models)
    children = [
        subprocess.Popen(command(volume, manifest), stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    said = [child.communicate(timeout=60)[0] for child in children]
    assert [child.returncode for child in children] == [0] * 4, said
    assert sum("3 fetched" in text for text in said) == 1
    assert sum("3 verified before" in text for text in said) == 3
    for model in models:
        assert (volume / model.path).read_bytes() == server.files[f"/{model.filename}"].content


async def test_one_content_is_fetched_once_for_all_its_places(
    server: Any, store: ModelStore, volume: Path
) -> None:
    first = server.model("a", content(MB))
    second = replace(first, directory="checkpoints", filename="same", endpoints=("other",))
    upload = await store.upload([first, second])
    assert (upload.fetched, upload.shared) == ([first.path], [second.path])
    third = replace(first, directory="loras/deep/er")
    assert (await store.upload([third])).shared == [third.path]
    assert os.stat(volume / third.path).st_ino == os.stat(volume / first.path).st_ino
    assert server.sent == MB


async def test_without_hard_links_the_copy_is_verified(
    server: Any, store: ModelStore, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(1, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    first = server.model("a", content(MB))
    second = replace(first, directory="loras")
    await store.upload([first, second])
    assert os.stat(volume / second.path).st_ino != os.stat(volume / first.path).st_ino
    assert (volume / second.path).read_bytes() == server.files["/a"].content


async def test_a_second_source_of_the_same_content_helps_the_first(server: Any, store: ModelStore) -> None:
    good = server.model("good", content(MB))
    bad = replace(good, url=f"{server.url}/nowhere", filename="bad")
    upload = await store.upload([bad, good])
    assert (upload.fetched, upload.shared, dict(upload.failed)) == ([good.path], [bad.path], {})


async def test_files_that_are_there_are_adopted_and_wrong_ones_replaced(
    server: Any, store: ModelStore, volume: Path
) -> None:
    models = [server.model(name, content(MB, n)) for n, name in enumerate(("right", "wrong", "short"))]
    (volume / "vae").mkdir()
    (volume / "vae/right").write_bytes(server.files["/right"].content)
    (volume / "vae/wrong").write_bytes(content(MB, 9))
    (volume / "vae/short").write_bytes(b"SIMULATED")
    upload = await store.upload(models)
    assert upload.adopted == ["vae/right"]
    assert sorted(upload.fetched) == ["vae/short", "vae/wrong"]
    assert (await store.check(models)).complete


async def test_check_reports_and_prune_removes_only_what_nobody_wants(
    server: Any, store: ModelStore, volume: Path
) -> None:
    here, gone, changed, other = (server.model(name, content(MB, n)) for n, name in enumerate("abcd"))
    await store.upload([here, gone, changed, other])
    (volume / gone.path).unlink()
    (volume / changed.path).write_bytes(content(MB, 9))
    os.utime(volume / changed.path, (1, 1))
    (volume / "loras").mkdir()
    (volume / "loras/mine").write_bytes(b"x" * 10)
    (volume / ".ryla/parts" / f"{'f' * 64}.part").write_bytes(b"y")
    found = await store.check([here, gone, changed], [here, gone, changed, other])
    assert not found.complete
    assert (list(found.verified), list(found.missing)) == ([here.path], [gone.path])
    assert [entry.path for entry in found.different] == [changed.path]
    assert set(found.extra) == {"loras/mine", f".ryla/parts/{'f' * 64}.part"}
    removed = await store.prune([*found.extra, here.path, "../outside"], [here, gone, changed, other])
    assert set(removed) == set(found.extra)
    assert (volume / here.path).exists()


async def test_rehash_finds_what_size_and_time_do_not_show(
    server: Any, store: ModelStore, volume: Path
) -> None:
    model = server.model("a", content(MB))
    await store.upload([model])
    place = volume / model.path
    before = place.stat()
    place.write_bytes(content(MB, 2))
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (await store.check([model])).complete
    assert not (await store.check([model], rehash=True)).complete
    assert (await store.upload([model])).fetched == [model.path]


def test_prune_asks_and_removes_nothing_without_an_answer(server: Any, volume: Path, tmp_path: Path) -> None:
    (volume / "mine").write_bytes(b"x")
    manifest = write_manifest(tmp_path, [server.model("a", content(KB))])
    for answer, kept in (("", True), ("n\n", True), ("y\n", False)):
        run = subprocess.run(
            command(volume, manifest, "--prune"), input=answer, capture_output=True, text=True, check=False
        )
        assert "extra      mine, 1 B" in run.stdout
        assert (volume / "mine").exists() is kept


async def test_a_ledger_that_cannot_be_read_costs_a_look_and_no_download(
    server: Any, store: ModelStore, volume: Path
) -> None:
    model = server.model("a", content(MB))
    await store.upload([model])
    for text in ("{", "[]", '{"files": {"vae/a": {}}}', '{"files": 3}'):
        (volume / ".ryla/models.json").write_text(text)
        assert (await store.upload([model])).adopted == [model.path]
    entry = Ledger(volume).entries[model.path]
    assert (entry.size, entry.sha256) == (model.size, model.sha256)
    assert server.sent == MB


async def test_a_journal_that_was_torn_or_is_of_another_file_is_not_believed(
    server: Any, store: ModelStore, volume: Path
) -> None:
    model = server.model("a", content(MB))
    parts = volume / ".ryla/parts"
    parts.mkdir(parents=True)
    header = json.dumps({"sha256": model.sha256, "size": model.size})
    for journal in (
        header + "\n[0, 1048576",
        header + "\n[-5, 10]\n[0, 99999999]\n[true, 7]\n{}\n",
        "nonsense\n",
        json.dumps({"sha256": SHA, "size": 1}) + "\n[0, 1]\n",
    ):
        (volume / model.path).unlink(missing_ok=True)
        (volume / ".ryla/models.json").unlink(missing_ok=True)
        (parts / f"{model.sha256}.journal").write_text(journal)
        (parts / f"{model.sha256}.part").write_bytes(bytes(MB))
        assert (await store.upload([model])).fetched == [model.path]
        assert (volume / model.path).read_bytes() == server.files["/a"].content


async def test_bytes_that_a_crash_took_are_found_by_the_hash(
    server: Any, store: ModelStore, volume: Path
) -> None:
    model = server.model("a", content(MB))
    with PartFile(volume / ".ryla/parts", model.sha256, model.size) as part:
        part.note(0, MB // 2)  # zeros, which the journal calls written
    assert (await store.upload([model])).fetched == [model.path]
    assert (volume / model.path).read_bytes() == server.files["/a"].content


async def test_a_full_volume_is_told(server: Any, volume: Path, quick: Limits) -> None:
    model = server.model("a", content(MB))
    (volume / ".ryla").mkdir()
    (volume / ".ryla/parts").write_text("a file where a folder should be")
    upload = await ModelStore(volume, limits=quick, say=lambda _: None).upload([model])
    assert upload.failed[model.path].code == "not_written"


HOSTILE = [
    {"directory": "../outside"},
    {"directory": "vae/../../outside"},
    {"directory": "/etc"},
    {"directory": ""},
    {"directory": "vae/"},
    {"directory": ".ryla"},
    {"directory": "vae/.."},
    {"directory": "vae\n"},
    {"directory": "v" * 300},
    {"filename": ".."},
    {"filename": "."},
    {"filename": "a/b"},
    {"filename": "a\\b"},
    {"filename": "a\0b"},
    {"filename": "a\n"},
    {"filename": ""},
    {"filename": ".hidden"},
    {"filename": "é" * 200},
    {"filename": "\ud800"},
    {"filename": 7},
    {"size": 0},
    {"size": -1},
    {"size": True},
    {"size": "12"},
    {"sha256": "0" * 63},
    {"sha256": "0" * 64 + "\n"},
    {"sha256": "G" * 64},
    {"secret": "a b"},
    {"secret": 5},
]


@pytest.mark.parametrize("change", HOSTILE, ids=repr)
def test_hostile_models_are_refused(change: dict[str, Any]) -> None:
    model = {"url": "https://x.example/a", "directory": "vae", "filename": "a", "size": 1, "sha256": SHA}
    assert ModelFile.from_json(model).path == "vae/a"
    with pytest.raises(InvalidModel):
        ModelFile.from_json(model | change)


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_model_that_is_accepted_lies_below_the_volume(directory: str, filename: str) -> None:
    try:
        model = ModelFile.from_json(
            {
                "url": "https://x.example/a",
                "directory": directory,
                "filename": filename,
                "size": 1,
                "sha256": SHA,
            }
        )
    except InvalidModel:
        return
    place = os.path.normpath(f"/volume/{model.path}")
    assert place == f"/volume/{model.path}"
    assert not model.path.startswith(".")


@pytest.mark.parametrize(
    "url",
    [
        "http://models.example/a",
        "ftp://models.example/a",
        "https://user:password@models.example/a",
        "s3://bucket/key",
        "https://",
        "nonsense",
        "https://[",
    ],
)
def test_addresses_without_protection_are_refused(url: str) -> None:
    with pytest.raises(InvalidModel) as error:
        checked_url(url)
    assert "password" not in str(error.value)


async def test_links_on_the_volume_are_not_followed(
    server: Any, store: ModelStore, volume: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (volume / "vae").symlink_to(outside)
    model = server.model("a", content(KB))
    (volume / "loras").mkdir()
    target = tmp_path / "target"
    target.write_text("mine")
    (volume / "loras/a").symlink_to(target)
    linked = replace(model, directory="loras", sha256=model.sha256)
    upload = await store.upload([model, linked])
    assert upload.failed[model.path].code == "invalid_model"
    assert list(outside.iterdir()) == []
    assert target.read_text() == "mine"
    assert (volume / linked.path).read_bytes() == server.files["/a"].content


def test_two_endpoints_cannot_want_different_files_at_one_place() -> None:
    first = ModelFile("https://x.example/a", "vae", "a", 1, SHA, endpoints=("one",))
    assert merge([first, replace(first, endpoints=("two",))])[0].endpoints == ("one", "two")
    with pytest.raises(ConflictingModels, match="one and two"):
        merge([first, replace(first, sha256="1" * 64, endpoints=("two",))])


def test_the_shipped_endpoints_can_be_read() -> None:
    endpoints = read_endpoints(ENDPOINTS)
    assert len(select(endpoints, "flux-schnell")) == 4
    assert select(endpoints, "photo-finish") == []
    with pytest.raises(InvalidModel, match="photo-finish"):
        select(endpoints, "nope")


async def test_what_was_put_up_by_hand_is_verified(server: Any, store: ModelStore, volume: Path) -> None:
    right, wrong = server.model("a", content(MB, 1)), server.model("b", content(MB, 2))
    incoming = volume / ".ryla/incoming"
    incoming.mkdir(parents=True)
    (incoming / right.sha256).write_bytes(server.files["/a"].content)
    (incoming / wrong.sha256).write_bytes(content(MB, 3))
    assert len((await store.upload([right, wrong])).fetched) == 2
    assert not server.files["/a"].requests
    assert (volume / wrong.path).read_bytes() == server.files["/b"].content
    assert list(incoming.iterdir()) == []
