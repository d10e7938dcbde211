"""The header of a safetensors file: read, and checked against the file before any tensor is."""

from __future__ import annotations

import json
import os
import struct
from dataclasses import dataclass
from typing import Any

HEADER_LIMIT = 100_000_000
"""Bytes of the longest header that the safetensors library takes."""

DTYPE_BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "U16": 16,
    "I16": 16,
    "F16": 16,
    "BF16": 16,
    "U32": 32,
    "I32": 32,
    "F32": 32,
    "U64": 64,
    "I64": 64,
    "F64": 64,
    "C64": 64,
}
"""The types whose elements fill whole bytes, and their bits."""


class WeightsInvalid(ValueError):
    """A file that is no safetensors file, or a broken one; the message names the file and what to do."""


class WeightsUnsupported(Exception):
    """A file that only ComfyUI's own loader may understand."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor: its type by the format's name, its shape, its first byte in the file and its bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Header:
    """All tensors of a file in the order of the header, and the file's own metadata (None without)."""

    tensors: tuple[TensorInfo, ...]
    metadata: dict[str, str] | None
    data_offset: int
    file_size: int


def read_header(path: str | os.PathLike[str]) -> Header:
    """Reads and checks the header of the file at `path`.

    Raises WeightsInvalid, WeightsUnsupported for a type that is not in DTYPE_BITS, and OSError.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(8)
        if len(start) < 8:
            raise _broken(path, f"it has {size} bytes, too few for a header")
        (length,) = struct.unpack("<Q", start)
        if length > HEADER_LIMIT:
            raise _broken(
                path,
                f"its header would have {length} bytes, which is more than {HEADER_LIMIT}; it is another format",
            )
        if 8 + length > size:
            raise _broken(path, f"its header should have {length} bytes, and the file ends at {size}")
        return parse_header(file.read(length), size, path)


def parse_header(content: bytes, file_size: int, path: str | os.PathLike[str] = "the file") -> Header:
    """Checks a header's JSON against the size of its file in bytes; `path` is only for the message.

    Tensors must fill the rest of the file without gap or overlap, as the format demands.
    """
    document = _json_object(content, path)
    metadata = document.pop("__metadata__", None)
    if metadata is not None and not _is_metadata(metadata):
        raise _broken(path, "its __metadata__ is not an object of strings")
    data_offset = 8 + len(content)
    tensors = tuple(_tensor(name, entry, data_offset, path) for name, entry in document.items())
    _check_layout(tensors, data_offset, file_size, path)
    return Header(tensors, metadata, data_offset, file_size)


def _json_object(content: bytes, path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        document: Any = json.loads(content.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise _broken(path, f"its header is not JSON ({error})") from error
    if not isinstance(document, dict):
        raise _broken(path, "its header is not a JSON object")
    return document


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name appears twice")
    return result


def _is_metadata(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def _tensor(name: str, entry: Any, data_offset: int, path: str | os.PathLike[str]) -> TensorInfo:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _broken(path, f"its header describes {name!r} without dtype, shape and data_offsets alone")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        raise _broken(path, f"its header describes {name!r} with values of another kind")
    bits = DTYPE_BITS.get(dtype)
    if bits is None:
        raise WeightsUnsupported(f"{os.fspath(path)}: tensor {name!r} has the type {dtype}")
    begin, end = offsets
    elements = 1
    for size in shape:
        elements *= size
    if end - begin != elements * bits // 8:
        raise _broken(
            path,
            f"{name!r} of {dtype} {shape} needs {elements * bits // 8} bytes, and its place has {end - begin}",
        )
    return TensorInfo(name, dtype, tuple(shape), data_offset + begin, end - begin)


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 1 << 63 for item in value)


def _check_layout(
    tensors: tuple[TensorInfo, ...], data_offset: int, file_size: int, path: str | os.PathLike[str]
) -> None:
    place = data_offset
    for tensor in sorted(tensors, key=lambda one: (one.offset, one.nbytes)):
        if tensor.offset != place:
            what = "overlaps the tensor before it" if tensor.offset < place else "leaves a gap before it"
            raise _broken(path, f"{tensor.name!r} {what}, at byte {tensor.offset}")
        place += tensor.nbytes
    if place > file_size:
        raise _broken(path, f"it should have {place} bytes and has {file_size}: it was not copied to its end")
    if place < file_size:
        raise _broken(path, f"it should have {place} bytes and has {file_size}")


def _broken(path: str | os.PathLike[str], what: str) -> WeightsInvalid:
    return WeightsInvalid(
        f"{os.fspath(path)} cannot be loaded: {what}. Fetch the file again and compare its SHA-256 with its source."
    )
