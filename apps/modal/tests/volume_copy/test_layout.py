"""Where keys go: every one somewhere, none of them out of the volume."""

from __future__ import annotations

import posixpath
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ryla_modal.volume_copy.layout import DEFAULT_ROOTS, Layout, SourceObject, lay_out, refusal_of, shown

segment = st.one_of(
    st.sampled_from(
        [
            "",
            ".",
            "..",
            "models",
            "vae",
            "VAE",
            "a",
            "A",
            ".ryla",
            "é",
            "e\u0301",
            "x" * 256,
            "\0",
            "a\nb",
            "\\",
        ]
    ),
    st.text(max_size=8),
)
key = st.builds("/".join, st.lists(segment, min_size=1, max_size=5))
rooted = st.builds(lambda root, rest: root + rest, st.sampled_from(["", "/", "../", *DEFAULT_ROOTS]), key)
objects = st.lists(
    st.builds(SourceObject, rooted, st.integers(0, 3), st.sampled_from(["", "e", "f"])), max_size=30
)


@given(objects)
def test_every_key_is_in_exactly_one_place_and_no_path_leaves_the_volume(found: list[SourceObject]) -> None:
    layout = lay_out(found)
    assert sorted(accounted(layout)) == sorted({item.key for item in found})
    for path in layout.placed:
        assert posixpath.normpath(path) == path
        assert not path.startswith(("/", ".."))
        assert PurePosixPath("/root/models") in PurePosixPath(f"/root/models/{path}").parents
        assert "\0" not in path
        assert path.split("/")[0] != ".ryla"
    # As files and folders all of them can exist at once.
    folders = {
        path.rsplit("/", count)[0] for path in layout.placed for count in range(1, path.count("/") + 1)
    }
    assert not folders & layout.placed.keys()


@given(objects)
def test_the_order_of_the_listing_does_not_matter(found: list[SourceObject]) -> None:
    unique = list({item.key: item for item in found}.values())
    one, other = lay_out(unique), lay_out(list(reversed(unique)))
    assert one.placed.keys() == other.placed.keys()
    assert {entry.key for entry in one.refused} == {entry.key for entry in other.refused}


@given(st.text(max_size=50))
def test_what_is_shown_of_a_key_moves_no_cursor(text: str) -> None:
    assert shown(text).isprintable()


def accounted(layout: Layout) -> list[str]:
    return [
        *(item.key for item in layout.placed.values()),
        *(entry.key for entry in layout.refused),
        *layout.duplicates,
        *layout.folders,
        *(item.key for item in layout.outside),
    ]


@pytest.mark.parametrize(
    ("given_key", "path"),
    [
        ("models/vae/ae.safetensors", "vae/ae.safetensors"),
        ("ComfyUI/models/loras/deep/er/x.pt", "loras/deep/er/x.pt"),
        ("models/a b+c%20ü.bin", "a b+c%20ü.bin"),
    ],
)
def test_the_roots_become_the_volume(given_key: str, path: str) -> None:
    assert list(lay_out([SourceObject(given_key, 1)]).placed) == [path]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("../x", "leads elsewhere"),
        ("a/../../x", "leads elsewhere"),
        ("/etc/passwd", "absolute"),
        ("a//b", "empty"),
        ("a/", "empty"),
        ("a\0b", "control"),
        ("a\x1b[2Jb", "control"),
        ("a\\..\\b", "backslash"),
        ("n" * 256, "255 bytes"),
        ("ü" * 128, "255 bytes"),
        ("/".join(["n" * 200] * 20), "3800 bytes"),
        (".ryla/models.json", "own files"),
    ],
)
def test_hostile_paths_are_refused_and_say_why(path: str, reason: str) -> None:
    assert reason in (refusal_of(path) or "")


def test_two_keys_for_one_place() -> None:
    one, other = SourceObject("models/vae/a", 5, "e1"), SourceObject("ComfyUI/models/vae/a", 5, "e1")
    same = lay_out([one, other])
    assert (same.placed, same.duplicates) == ({"vae/a": one}, {other.key: one.key})
    different = lay_out([one, SourceObject(other.key, 5, "e2")])
    assert not different.placed
    assert [entry.key for entry in different.refused] == [one.key, other.key]
    assert "--roots" in different.refused[0].reason
    # Without ETags nothing says that they are the same.
    assert not lay_out([SourceObject("models/vae/a", 5), SourceObject("ComfyUI/models/vae/a", 5)]).placed


def test_files_in_the_way_of_folders_and_names_that_differ_in_case() -> None:
    layout = lay_out(
        [SourceObject("models/vae", 1), SourceObject("models/vae/a", 1), SourceObject("models/vae/A", 1)]
    )
    assert [entry.key for entry in layout.refused] == ["models/vae"]
    assert list(layout.placed) == ["vae/a", "vae/A"]
    assert layout.case == [("vae/A", "vae/a")]


def test_a_legacy_folder_is_renamed_only_where_an_endpoint_wants_it() -> None:
    found = [
        SourceObject("models/unet/flux.safetensors", 1),
        SourceObject("models/unet/other.safetensors", 1),
    ]
    layout = lay_out(found, pinned=["diffusion_models/flux.safetensors"])
    assert list(layout.placed) == ["diffusion_models/flux.safetensors", "unet/other.safetensors"]
    assert "unet/flux.safetensors" in lay_out(found, pinned=["unet/flux.safetensors"]).placed
