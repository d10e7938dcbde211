"""Whole copies of a local network volume: what is there in the end, what is listed, what was asked of the source."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from local_volume import KB, KEYS, MB, QUICK, Source, bytes_of
from ryla_modal.models import ModelFile
from ryla_modal.models.connections import Connections, Reading
from ryla_modal.volume_copy import ChangedDuringCopy, CopyOptions, InvalidSource, Keys, VolumeCopy
from ryla_modal.volume_copy.address import address_of
from ryla_modal.volume_copy.bucket import Bucket
from ryla_modal.volume_copy.manifest import MANIFEST_FILE
from ryla_modal.volume_copy.report import print_copy
from ryla_modal.volume_copy.verification import MD5, OFFERED, PINNED, REREAD, SAMPLED

MakeCopy = Callable[..., VolumeCopy]
MakeSource = Callable[..., Source]


def pin(path: str, content: bytes) -> ModelFile:
    directory, _, name = path.rpartition("/")
    sha256 = hashlib.sha256(content).hexdigest()
    return ModelFile("https://x.test/y", directory, name, len(content), sha256, endpoints=("flux",))


def proofs(document: dict[str, Any]) -> dict[str, str]:
    return {file["path"]: file.get("proof", file["state"]) for file in document["files"]}


def files_of(volume: Path) -> dict[str, bytes]:
    return {
        file.relative_to(volume).as_posix(): file.read_bytes()
        for file in volume.rglob("*")
        if file.is_file() and ".ryla" not in file.parts
    }


async def test_a_volume_is_copied_verified_and_then_left_alone(
    source: Source, make_copy: MakeCopy, volume: Path, lines: list[str]
) -> None:
    content = {
        "vae/a.safetensors": source.put("models/vae/a.safetensors", bytes_of(1, 3 * MB)),
        "loras/b b+c%ü.safetensors": source.put("models/loras/b b+c%ü.safetensors", bytes_of(2, 70 * KB)),
        "unet/deep/er/c": source.put("ComfyUI/models/unet/deep/er/c", b"c"),
        "empty": source.put("models/empty", b""),
    }
    source.put("venv/lib/big.so", bytes_of(3, KB))
    document = await make_copy(source).copy()
    assert files_of(volume) == content
    assert (document["complete"], sorted(document["copied"])) == (True, sorted(content))
    assert set(proofs(document).values()) == {MD5}
    assert document["beside"] == ["venv/"]
    before = source.operations["get"], source.operations["head"]
    again = await make_copy(source).copy()
    assert (again["copied"], again["complete"], len(again["kept"])) == ([], True, 4)
    assert (source.operations["get"], source.operations["head"]) == before
    assert not list((volume / ".ryla/volume-copy/parts").iterdir())
    assert any("MB/s" in line or "kB/s" in line for line in lines)


async def test_what_a_kill_left_of_a_whole_file_is_removed(
    source: Source, make_copy: MakeCopy, volume: Path
) -> None:
    """It came between the file's move to its place and the end of its journal."""
    source.put("models/a", bytes_of(1, 300 * KB))
    parts = volume / ".ryla/volume-copy/parts"
    seen: set[str] = set()
    source.s3.on_request = lambda operation, _: seen.update(
        file.name for file in parts.glob("*.journal") if operation == "get"
    )
    await make_copy(source).copy()
    assert len(seen) == 1
    (parts / seen.pop()).write_text("left")
    await make_copy(source).copy()
    assert not list(parts.iterdir())


async def test_only_what_differs_is_copied_again(source: Source, make_copy: MakeCopy, volume: Path) -> None:
    source.put("models/a", b"a" * 1000)
    source.put("models/b", b"b" * 1000)
    await make_copy(source).copy()
    os.utime(source.folder / "models/a", (5, 5))  # another time, the same MD5
    source.put("models/b", b"B" * 1000)
    (source.folder / "models/c").write_bytes(b"c")
    document = await make_copy(source).copy()
    assert (sorted(document["copied"]), document["adopted"]) == (["b", "c"], ["a"])
    assert files_of(volume) == {"a": b"a" * 1000, "b": b"B" * 1000, "c": b"c"}
    (source.folder / "models/c").unlink()
    assert (await make_copy(source).copy())["gone"] == ["c"]
    assert (volume / "c").exists()


async def test_what_the_endpoints_pin_comes_first_and_decides(
    source: Source, make_copy: MakeCopy, volume: Path
) -> None:
    wanted = source.put("models/unet/flux", bytes_of(1, 600 * KB))
    source.put("models/big-and-unused", bytes_of(2, MB))
    source.put("models/vae/ae", b"another vae")
    source.put("models/vae/cut", b"short")
    models = (
        pin("diffusion_models/flux", wanted),
        pin("vae/ae", b"the right v"),
        pin("vae/cut", b"longer"),
        pin("vae/nowhere", b"x"),
    )
    document = await make_copy(source, models).copy()
    assert proofs(document)["diffusion_models/flux"] == PINNED
    assert document["failed"]["vae/ae"]["code"] == "wrong_bytes"
    assert not (volume / "vae/ae").exists()
    assert "pins 6 bytes" in document["refused"][0]["reason"]
    assert document["notThere"] == ["vae/nowhere"]
    assert not document["complete"]
    order = [key for key, _ in source.s3.traffic.gets]
    assert order.index("models/unet/flux") < order.index("models/big-and-unused") - 1
    ledger = json.loads((volume / ".ryla/models.json").read_text())["files"]
    assert ledger["diffusion_models/flux"]["source"] == "local-volume/models/unet/flux"
    used = await make_copy(source, models, used_only=True).plan()
    assert (used["leftOut"], [file["path"] for file in used["files"]]) == (
        1,
        ["diffusion_models/flux", "vae/ae"],
    )


@pytest.mark.parametrize(
    ("how", "options", "size", "proof"),
    [
        ({"etags": "opaque"}, {}, 5 * MB, SAMPLED),
        ({"etags": "multipart"}, {}, 5 * MB, SAMPLED),
        ({"etags": "multipart"}, {}, 50 * KB, REREAD),
        ({"etags": "opaque"}, {"reread": True}, 5 * MB, REREAD),
        ({"etags": "opaque", "checksums": True}, {}, 5 * MB, OFFERED),
        ({"etags": "md5"}, {}, 5 * MB, MD5),
    ],
)
async def test_each_file_says_what_proves_it(
    make_source: MakeSource, make_copy: MakeCopy, how: Any, options: Any, size: int, proof: str
) -> None:
    source = make_source(**how)
    source.put("models/m", bytes_of(1, size))
    document = await make_copy(source, **options).copy()
    assert (proofs(document), document["complete"]) == ({"m": proof}, True)


@pytest.mark.parametrize("size", [100 * KB, 2 * MB])
async def test_a_sha256_that_proves_nothing_is_left_out_when_there_is_no_time_and_noted_later(
    source: Source, make_copy: MakeCopy, volume: Path, lines: list[str], size: int
) -> None:
    content = source.put("models/loras/l", bytes_of(1, size))
    pinned = source.put("models/vae/p", bytes_of(2, size))
    models = (pin("vae/p", pinned),)
    sha256 = {"loras/l": hashlib.sha256(content).hexdigest(), "vae/p": hashlib.sha256(pinned).hexdigest()}

    def noted(document: dict[str, Any]) -> dict[str, str | None]:
        return {file["path"]: file["sha256"] for file in document["files"] if file["path"] in sha256}

    source.put("models/first", b"by this one it is found out that ETags are MD5s")
    document = await make_copy(source, models, spare=lambda: False).copy()
    assert (document["complete"], proofs(document)) == (
        True,
        {"loras/l": MD5, "vae/p": PINNED, "first": MD5},
    )
    assert noted(document) == {**sha256, "loras/l": None}
    print_copy(document, lines.append)
    assert any("The sha256 of 2 files is not noted" in line for line in lines)
    again = await make_copy(source, models).copy()
    assert (again["copied"], noted(again)) == ([], {**sha256, "loras/l": None})
    checked = await make_copy(source, models).check(rehash=True)
    assert (checked["complete"], noted(checked)) == (True, sha256)
    assert noted(await make_copy(source, models).check()) == sha256


async def test_a_file_that_is_pinned_after_its_copy_is_read_and_not_fetched(
    source: Source, make_copy: MakeCopy
) -> None:
    content = source.put("models/loras/l", bytes_of(1, 100 * KB))
    await make_copy(source, spare=lambda: False).copy()
    gets = source.operations["get"]
    document = await make_copy(source, (pin("loras/l", content),)).copy()
    assert (document["adopted"], proofs(document)) == (["loras/l"], {"loras/l": PINNED})
    assert source.operations["get"] == gets


async def test_a_damaged_file_without_a_sha256_is_found_by_its_md5(
    source: Source, make_copy: MakeCopy, volume: Path
) -> None:
    source.put("models/a", b"a" * 1000)
    await make_copy(source, spare=lambda: False).copy()
    mtime = (volume / "a").stat().st_mtime
    (volume / "a").write_bytes(b"b" * 1000)
    os.utime(volume / "a", (mtime, mtime))
    checked = await make_copy(source).check(rehash=True)
    assert proofs(checked) == {"a": "its bytes are no longer the copied ones"}
    assert not [
        line for line in (volume / MANIFEST_FILE).read_text().splitlines() if '"sha256": ""' not in line
    ]


@pytest.mark.parametrize("etags", ["opaque", "multipart"])
async def test_a_sha256_is_kept_where_there_is_no_md5(
    make_source: MakeSource, make_copy: MakeCopy, etags: str
) -> None:
    source = make_source(etags=etags)
    content = source.put("models/a", bytes_of(1, 5 * MB))
    document = await make_copy(source, spare=lambda: False).copy()
    assert document["files"][0]["sha256"] == hashlib.sha256(content).hexdigest()


FAULTS = {
    "resets": ["reset=0.3"],
    "truncated": ["truncate=0.3"],
    "busy": ["rate-limit=get/0:5", "http-error=503:5"],
    "busy listing": ["http-error=list/500:3"],
    "repeated token": ["repeat-token:5"],
    "no If-Match, no ranges": ["ignore-if-match", "ignore-range"],
    "ranges with status 200": ["range-as-200"],
    "slow": ["slow=8000000"],
    "wrong bytes": ["wrong-byte=1:2"],
    "all": ["reset=0.1", "truncate=0.1", "rate-limit=head/0:3", "repeat-token:2", "wrong-byte=0.02:1"],
}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS.keys())
async def test_faults_of_the_source_are_borne(
    source: Source, make_copy: MakeCopy, volume: Path, faults: list[str]
) -> None:
    content = {f"f{n}": source.put(f"models/f{n}", bytes_of(n, n * 150 * KB + n)) for n in range(6)}
    for n in range(1200):
        (source.folder / f"models/loras/{n}").parent.mkdir(exist_ok=True)
        (source.folder / f"models/loras/{n}").touch()
    source.fault(*faults)
    document = await make_copy(source, only="f*", limits={"failures": 20, "attempts": 4}).copy()
    assert document["complete"], document["failed"]
    assert files_of(volume) == content


@pytest.mark.parametrize("pinned", [True, False])
async def test_bytes_that_stay_wrong_are_listed_and_not_kept(
    source: Source, make_copy: MakeCopy, volume: Path, pinned: bool
) -> None:
    good, bad = source.put("models/good", b"g" * 1000), source.put("models/z/bad", bytes_of(1, MB))
    await make_copy(source, only="good").copy()
    source.fault("wrong-byte")
    models = (pin("z/bad", bad),) if pinned else ()
    source.put("models/tiny", b"t")  # always the same wrong byte: only its MD5 shows it
    document = await make_copy(source, models).copy()
    assert set(document["failed"]) == {"z/bad", "tiny"}
    assert document["failed"]["z/bad"]["code"] == "wrong_bytes"
    assert files_of(volume) == {"good": good}
    source.fault()
    assert (await make_copy(source, models).copy())["complete"]
    assert (volume / "z/bad").read_bytes() == bad


@pytest.mark.parametrize("faults", [[], ["ignore-if-match"]])
async def test_a_file_that_changes_while_it_is_copied_is_copied_again(
    source: Source, make_copy: MakeCopy, volume: Path, faults: list[str], lines: list[str]
) -> None:
    source.fault(*faults)
    source.put("models/m", bytes_of(1, 2 * MB))
    source.put("models/n", bytes_of(2, MB))
    seen: Counter[str] = Counter()

    def change(operation: str, key: str) -> None:
        seen[f"{operation} {key}"] += 1
        if (operation, key, seen[f"{operation} {key}"]) == ("get", "models/m", 4):
            source.put("models/m", bytes_of(3, 2 * MB))

    source.s3.on_request = change
    document = await make_copy(source).copy()
    assert document["complete"], document
    assert files_of(volume) == {"m": bytes_of(3, 2 * MB), "n": bytes_of(2, MB)}
    # Seen at once, and not by the MD5 of a mixture.
    assert [line for line in lines if "another version at the source" in line]
    assert not [line for line in lines if "it is fetched again" in line]


async def test_a_file_that_changes_before_it_is_looked_at_ends_no_run(
    source: Source, make_copy: MakeCopy, volume: Path
) -> None:
    """The smallest files are read to find out what ETags are, the largest to measure the rate."""
    source.put("models/small", b"1")
    source.put("models/large", bytes_of(1, 5 * MB))
    changed: set[str] = set()

    def change(operation: str, key: str) -> None:
        if operation != "list" and key not in changed:
            changed.add(key)
            source.put(key, bytes_of(9, 6 * MB) if key == "models/large" else b"22")

    source.s3.on_request = change
    assert {file["state"] for file in (await make_copy(source).plan())["files"]} == {"missing"}
    changed.clear()
    assert (await make_copy(source).copy())["complete"]
    assert files_of(volume) == {"small": b"22", "large": bytes_of(9, 6 * MB)}


async def test_if_match_is_sent(source: Source) -> None:
    source.put("models/m", b"m")
    address = source.options().address
    connections = Connections(1, QUICK.stall)
    bucket = Bucket(connections, address, KEYS, QUICK)

    def read(reading: Reading) -> None:
        with bucket.get("models/m", 0, 1, "0" * 32, reading):
            pass

    with pytest.raises(ChangedDuringCopy):
        await connections.run(read)
    connections.close()


async def test_a_change_that_no_answer_shows_is_seen_at_the_end(
    make_source: MakeSource, make_copy: MakeCopy, volume: Path
) -> None:
    """The file changes after its last range was read."""
    source = make_source()
    source.put("models/m", bytes_of(1, 100 * KB))
    listed: list[str] = []

    def change(operation: str, key: str) -> None:
        if operation == "list":
            listed.append(key)
        if (
            operation == "list"
            and source.operations.get("get")
            and not (source.folder / "models/done").exists()
        ):
            source.put("models/done", b"")
            source.put("models/m", bytes_of(2, 100 * KB))

    source.s3.on_request = change
    document = await make_copy(source).copy()
    assert document["complete"]
    assert (volume / "m").read_bytes() == bytes_of(2, 100 * KB)


async def test_a_file_that_never_rests_is_listed(source: Source, make_copy: MakeCopy, volume: Path) -> None:
    source.put("models/log", b"0" * 1000)
    rest = source.put("models/rest", b"r")
    count = iter(range(1, 1000))

    def change(operation: str, key: str) -> None:
        if (operation, key) == ("get", "models/log"):
            source.put("models/log", b"%d" % next(count) * 500)

    source.s3.on_request = change
    document = await make_copy(source).copy()
    assert (document["changing"], document["complete"]) == (["log"], False)
    assert files_of(volume)["rest"] == rest
    source.s3.on_request = lambda _operation, _key: None
    assert (await make_copy(source).copy())["complete"]


async def test_other_files_of_the_volume_are_not_replaced_unasked(
    source: Source, make_copy: MakeCopy, volume: Path
) -> None:
    source.put("models/same", bytes_of(1, 9 * KB))
    source.put("models/other", b"source's")
    source.put("models/vae/pinned", b"pinned!")
    (volume / "vae").mkdir()
    (volume / "same").write_bytes(bytes_of(1, 9 * KB))
    (volume / "other").write_bytes(b"volume's")
    (volume / "vae/pinned").write_bytes(b"pinned!")
    (volume / "mine").write_bytes(b"mine")
    models = (pin("vae/pinned", b"pinned!"),)
    document = await make_copy(source, models).copy()
    assert sorted(document["adopted"]) == ["same", "vae/pinned"]
    assert document["failed"]["other"]["code"] == "other_file_there"
    assert (volume / "other").read_bytes() == b"volume's"
    assert not [key for key, _ in source.s3.traffic.gets if key == "models/vae/pinned"]
    replaced = await make_copy(source, models, overwrite=True).copy()
    assert (replaced["copied"], replaced["complete"]) == (["other"], True)
    assert files_of(volume)["mine"] == b"mine"
    # A copied file that someone has changed since is someone's.
    (volume / "other").write_bytes(b"edited!!")
    os.utime(volume / "other", (7, 7))
    assert "other" in (await make_copy(source, models).copy())["failed"]


async def test_links_in_the_way_are_not_followed(source: Source, make_copy: MakeCopy, volume: Path) -> None:
    elsewhere = volume.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_bytes(b"keep")
    (volume / "vae").symlink_to(elsewhere)
    (volume / "top").symlink_to(elsewhere / "file")
    source.put("models/vae/x", b"x")
    source.put("models/top", b"evil")
    document = await make_copy(source, overwrite=False).copy()
    assert set(document["failed"]) == {"vae/x", "top"}
    assert {file.name: file.read_bytes() for file in elsewhere.iterdir()} == {"file": b"keep"}


async def test_hostile_keys_are_listed_and_nothing_of_them_is_asked_for(
    source: Source, make_copy: MakeCopy, volume: Path
) -> None:
    keys = [
        "models/../../evil",
        "models//etc/x",
        "models/a\0b",
        "models/" + "n" * 300,
        "models/.ryla/models.json",
    ]
    keys += [
        "/models/abs",
        "../up",
        "models/\x1b[2J",
        "ComfyUI/models/twice",
        "models/twice",
        "models/f",
        "models/f/g",
    ]
    for key in keys:
        source.s3.store.hold(key, key.encode())
    source.s3.store.hold("models/Good", b"1")
    source.s3.store.hold("models/good", b"2")
    document = await make_copy(source).copy()
    refused = {entry["key"] for entry in document["refused"]}
    assert refused == {*keys} - {"/models/abs", "../up", "models/f/g"}
    assert set(document["beside"]) == {"/", "../"}
    assert document["case"] == [["Good", "good"]]
    assert files_of(volume) == {"Good": b"1", "good": b"2", "f/g": b"models/f/g"}
    assert {key for key, _ in source.s3.traffic.gets} <= {"models/Good", "models/good", "models/f/g"}
    assert not (volume.parent / "evil").exists()
    assert not document["complete"]


async def test_plan_and_check_change_nothing(source: Source, make_copy: MakeCopy, volume: Path) -> None:
    source.put("models/vae/a", bytes_of(1, 5 * MB))
    source.put("models/b", b"b")
    plan = await make_copy(source).plan()
    assert {file["state"] for file in plan["files"]} == {"missing"}
    assert plan["bytesPerSecond"] > 0
    assert plan["folders"] == {
        "models/": {"files": 1, "bytes": 1},
        "models/vae/": {"files": 1, "bytes": 5 * MB},
    }
    assert not list(volume.iterdir())
    gets = source.operations["get"]
    assert not (await make_copy(source).check())["complete"]
    assert (source.operations["get"], list(volume.iterdir())) == (gets, [])
    await make_copy(source).copy()
    assert (await make_copy(source).check(rehash=True))["complete"]
    mtime = (volume / "b").stat().st_mtime
    (volume / "b").write_bytes(b"B")
    os.utime(volume / "b", (mtime, mtime))
    assert (
        proofs(await make_copy(source).check(rehash=True))["b"] == "its bytes are no longer the copied ones"
    )
    assert proofs(await make_copy(source).check())["b"] == MD5
    source.put("models/b", b"new")
    assert proofs(await make_copy(source).check())["b"] == "the source has another version"


async def test_only_takes_paths_and_keys(source: Source, make_copy: MakeCopy, volume: Path) -> None:
    for key in ("models/vae/a", "models/loras/b", "ComfyUI/models/loras/c", "other/models/d"):
        source.put(key, key.encode())
    await make_copy(source, only="loras/*").copy()
    assert set(files_of(volume)) == {"loras/b", "loras/c"}
    document = await make_copy(source, only="models/vae/*").copy()
    assert (set(files_of(volume)), document["leftOut"]) == ({"loras/b", "loras/c", "vae/a"}, 2)
    await make_copy(source, roots="other/models").copy()
    assert "d" in files_of(volume)


async def test_the_rate_is_capped(source: Source, make_copy: MakeCopy) -> None:
    source.put("models/a", bytes_of(1, 600 * KB))
    began = time.monotonic()
    await make_copy(source, bandwidth=2).copy()
    assert time.monotonic() - began >= 600 * KB / 2e6 * 0.8


async def test_credentials_are_refused_with_advice_and_never_said(
    source: Source, make_copy: MakeCopy, volume: Path, lines: list[str]
) -> None:
    source.put("models/a", b"a")
    for keys in (Keys("user_local", "rps_wrong-secret"), Keys("user_wrong-key", "rps_local")):
        with pytest.raises(Exception, match="Check both S3 API keys") as caught:
            await make_copy(source, keys=keys).copy()
        said = f"{caught.value!r} {caught.value} {keys!r} {lines}"
        assert "wrong-" not in said
    with pytest.raises(Exception, match="Check --volume-id"):
        await make_copy(source, volume_id="nope").copy()
    await make_copy(source).copy()
    everything = b"".join(file.read_bytes() for file in volume.rglob("*") if file.is_file())
    assert b"rps_local" not in everything
    assert "rps_local" not in json.dumps(source.options().to_json())


def test_addresses() -> None:
    assert address_of("eu-ro-1", "abc").url == "https://s3api-eu-ro-1.runpod.io"
    local = "http://127.0.0.1:1234"
    assert address_of("EU-RO-1", "abc", runpod_url=local).url == local
    with pytest.raises(InvalidSource, match="no S3 API"):
        address_of("EU-SE-1", "abc", runpod_url=local)
    for data_center, volume_id, url in [
        ("EU-SE-1", "abc", ""),
        ("US-TX-3", "abc", ""),
        ("x/..", "abc", ""),
        ("EU-RO-1", "../abc", ""),
        ("EU-RO-1", "abc", "http://example.com"),
        ("EU-RO-1", "abc", "https://user:secret@example.com"),
        ("EU-RO-1", "abc", "ftp://127.0.0.1"),
    ]:
        with pytest.raises(InvalidSource) as caught:
            address_of(data_center, volume_id, url)
        assert "secret" not in str(caught.value)
    for wrong in ({"roots": "../x"}, {"bandwidth": -1}, {"connections": 1000}, {"bandwidth": float("nan")}):
        with pytest.raises(InvalidSource):
            CopyOptions.make(data_center="EU-RO-1", volume_id="abc", **wrong)  # pyright: ignore
    options = CopyOptions.make(data_center="EU-RO-1", volume_id="abc", roots="a,/b/", bandwidth=5, only="*")
    assert CopyOptions.from_json(json.loads(json.dumps(options.to_json()))) == options
    with pytest.raises(InvalidSource, match="AWS_SECRET_ACCESS_KEY"):
        Keys.from_environment({"AWS_ACCESS_KEY_ID": "x"})
