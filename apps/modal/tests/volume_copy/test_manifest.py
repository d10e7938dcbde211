"""The manifest after any end of the process that wrote it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st
from ryla_modal.volume_copy.layout import SourceObject
from ryla_modal.volume_copy.manifest import MANIFEST_FILE, Copied, Manifest
from ryla_modal.volume_copy.plan import Item

entries = st.builds(
    Copied,
    path=st.sampled_from(["vae/a", "b", "loras/ü\u2028x", "d"]),
    bucket=st.just("v"),
    key=st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    size=st.integers(0, 2**50),
    etag=st.text("0123456789abcdef-", max_size=4),
    modified=st.just("2026-11-24T08:00:00.000Z"),
    sha256=st.sampled_from(["0" * 64, "1" * 64]),
    proof=st.just("md5 of the source"),
    verified_at=st.just("2026-11-24T08:00:01+00:00"),
    mtime=st.integers(0, 2**40),
)


@given(
    first=st.lists(entries, max_size=8),
    line=st.integers(0, 8),
    offset=st.one_of(st.integers(-1, 1), st.integers(2, 300)),
    garbage=st.one_of(st.just(b""), st.binary(max_size=20)),
    second=st.lists(entries, max_size=3),
)
def test_a_torn_manifest_has_what_was_written_before_the_tear(
    first: list[Copied], line: int, offset: int, garbage: bytes, second: list[Copied]
) -> None:
    """Torn near the end of a line or within one; what follows may be anything, as after a machine's crash."""
    with TemporaryDirectory() as name:
        volume = Path(name)
        with Manifest(volume) as manifest:
            for entry in first:
                manifest.put(entry)
        file = volume / MANIFEST_FILE
        whole = file.read_bytes()
        ends = [at + 1 for at, byte in enumerate(whole) if byte == ord("\n")]
        cut = max(0, ([0, *ends][min(line, len(ends))]) + offset)
        file.write_bytes(whole[:cut] + garbage)
        complete = whole[:cut].count(b"\n")
        expected = {entry.path: entry for entry in first[:complete]}
        if b"\n" not in garbage:
            assert Manifest(volume).entries == expected
        with Manifest(volume) as manifest:
            before = dict(manifest.entries)
            for entry in second:
                manifest.put(entry)
        assert Manifest(volume).entries == {**before, **{entry.path: entry for entry in second}}


def test_lines_that_are_no_entries_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / MANIFEST_FILE
    file.parent.mkdir(parents=True)
    file.write_bytes(b'nonsense\n[1]\n{"path": 3}\n"text"\nnull\n\xff\xfe\n')
    assert not Manifest(tmp_path).entries
    assert not Manifest(tmp_path / "nowhere").entries


def test_an_entry_holds_while_source_and_file_are_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"123")
    mtime = int((tmp_path / "a").stat().st_mtime)
    item = Item("a", SourceObject("models/a", 3, "e", "then"))
    with Manifest(tmp_path) as manifest:
        manifest.put(Copied("a", "v", "models/a", 3, "e", "then", "f" * 64, "md5", "now", mtime))
        assert manifest.holds(item, "v")
        assert not manifest.holds(item, "another volume")
        for other in (
            SourceObject("models/a", 3, "e2", "then"),
            SourceObject("models/a", 3, "e", "later"),
            SourceObject("ComfyUI/models/a", 3, "e", "then"),
        ):
            assert not manifest.holds(replace(item, source=other), "v")
        assert not manifest.holds(replace(item, sha256="0" * 64), "v")
        os.utime(tmp_path / "a", (1, 1))
        assert not manifest.holds(item, "v")
        (tmp_path / "a").unlink()
        assert not manifest.holds(item, "v")
