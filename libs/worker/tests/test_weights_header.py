"""A safetensors header is believed only when it fits its file."""

from __future__ import annotations

import contextlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from comfy_worker.weights.header import (
    DTYPE_BITS,
    WeightsInvalid,
    WeightsUnsupported,
    parse_header,
    read_header,
)
from hypothesis import given
from hypothesis import strategies as st

GOOD = {
    "__metadata__": {"format": "pt"},
    "a": {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]},
    "b": {"dtype": "U8", "shape": [], "data_offsets": [12, 13]},
    "empty": {"dtype": "F32", "shape": [0, 4], "data_offsets": [13, 13]},
}


def safetensors(path: Path, header: Any, data: bytes) -> Path:
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(content)) + content + data)
    return path


def test_a_header_says_where_each_tensor_lies(tmp_path: Path) -> None:
    path = safetensors(tmp_path / "good.safetensors", GOOD, bytes(13))
    header = read_header(path)
    start = path.stat().st_size - 13
    assert [(one.name, one.dtype, one.shape, one.offset, one.nbytes) for one in header.tensors] == [
        ("a", "F16", (2, 3), start, 12),
        ("b", "U8", (), start + 12, 1),
        ("empty", "F32", (0, 4), start + 13, 0),
    ]
    assert header.metadata == {"format": "pt"}


def one(**changed: Any) -> dict[str, Any]:
    return {"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4], **changed}}


@pytest.mark.parametrize(
    ("header", "data", "says"),
    [
        (one(), bytes(3), "has"),
        (one(), bytes(5), "has"),
        (one(data_offsets=[1, 5]), bytes(5), "gap"),
        (one() | {"b": {"dtype": "U8", "shape": [2], "data_offsets": [3, 5]}}, bytes(5), "overlaps"),
        (one(data_offsets=[0, 8]), bytes(8), "needs 4 bytes"),
        (one(data_offsets=[4, 0]), bytes(4), "needs 4 bytes"),
        (one(data_offsets=[-1, 3]), bytes(4), "another kind"),
        (one(data_offsets=[0, True]), bytes(4), "another kind"),
        (one(data_offsets=[0]), bytes(4), "another kind"),
        (one(shape=[4.0]), bytes(4), "another kind"),
        (one(shape=[1 << 70]), bytes(4), "another kind"),
        (one(dtype=7), bytes(4), "another kind"),
        (one(more=1), bytes(4), "alone"),
        ({"a": []}, bytes(4), "alone"),
        ([], b"", "not a JSON object"),
        (b"{", b"", "not JSON"),
        (b"[" * 100_000, b"", "not JSON"),
        (b"\xff\xfe", b"", "not JSON"),
        (b'{"a":1,"a":2}', b"", "twice"),
        ({"__metadata__": {"format": 1}}, b"", "__metadata__"),
    ],
)
def test_a_header_that_does_not_fit_is_refused_with_the_file_and_the_reason(
    tmp_path: Path, header: Any, data: bytes, says: str
) -> None:
    path = safetensors(tmp_path / "bad.safetensors", header, data)
    with pytest.raises(WeightsInvalid) as caught:
        read_header(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"1234567", struct.pack("<Q", 1 << 40) + b"{}", struct.pack("<Q", 99) + b"{}"]
)
def test_a_file_that_ends_in_its_header_or_is_another_format_is_refused(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsInvalid):
        read_header(path)


def test_a_type_that_is_not_known_is_left_to_others(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnsupported, match="F4"):
        read_header(safetensors(tmp_path / "new.safetensors", one(dtype="F4"), bytes(4)))


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(DTYPE_BITS)), st.lists(st.integers(0, 5), max_size=3)), max_size=6
    ),
    st.randoms(use_true_random=False),
)
def test_every_layout_without_gaps_is_read_in_any_order(
    layout: list[tuple[str, list[int]]], random: Any
) -> None:
    entries: list[tuple[str, dict[str, Any]]] = []
    place = 0
    for number, (dtype, shape) in enumerate(layout):
        nbytes = DTYPE_BITS[dtype] // 8
        for size in shape:
            nbytes *= size
        entries.append(
            (str(number), {"dtype": dtype, "shape": shape, "data_offsets": [place, place + nbytes]})
        )
        place += nbytes
    random.shuffle(entries)
    content = json.dumps(dict(entries)).encode()
    header = parse_header(content, 8 + len(content) + place)
    assert sum(tensor.nbytes for tensor in header.tensors) == place
    with pytest.raises(WeightsInvalid):
        parse_header(content, 8 + len(content) + place - 1)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(content: bytes) -> None:
    with contextlib.suppress(WeightsInvalid, WeightsUnsupported):
        parse_header(content, 8 + len(content))
