"""Tensors that lie in a mapped file: they cost nothing until they are used, and know where their bytes are.

A mapping is private: who writes to such a tensor gets pages of its own, and the file stays as it is. So a tensor may
only be read from its file again while no page of the mapping was written: `unwritten` asks the kernel.
"""

# torch is ComfyUI's: it is no dependency of the workspace.
# pyright: reportMissingImports=false

from __future__ import annotations

import ctypes
import mmap
import os
import threading
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from .header import Header, WeightsUnsupported, read_header
from .written_pages import unwritten_spans

TORCH_DTYPES: dict[str, Any] = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "F8_E4M3": getattr(torch, "float8_e4m3fn", None),
    "F8_E5M2": getattr(torch, "float8_e5m2", None),
    "F8_E8M0": getattr(torch, "float8_e8m0fnu", None),
    "U16": getattr(torch, "uint16", None),
    "I16": torch.int16,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "U32": getattr(torch, "uint32", None),
    "I32": torch.int32,
    "F32": torch.float32,
    "U64": getattr(torch, "uint64", None),
    "I64": torch.int64,
    "F64": torch.float64,
    "C64": torch.complex64,
}


class MappedFile(mmap.mmap):
    """A private, writable mapping of a whole file, with a descriptor of the very file that is mapped."""

    path: str
    fd: int
    base: int

    def __del__(self) -> None:
        # Before the memory is unmapped, so that no later mapping at the same address is taken for this one.
        with _LOCK:
            _FILES.pop(getattr(self, "base", -1), None)
        if (fd := getattr(self, "fd", -1)) >= 0:
            os.close(fd)


_FILES: dict[int, weakref.ref[MappedFile]] = {}
_LOCK = threading.RLock()


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bytes of a tensor lie in a file."""

    file: MappedFile
    offset: int
    nbytes: int


def map_file(path: str) -> MappedFile:
    """Maps the file at `path`. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        file = MappedFile(fd, 0, access=mmap.ACCESS_COPY)
    except BaseException:
        os.close(fd)
        raise
    file.path, file.fd = os.fspath(path), fd
    file.base = ctypes.addressof(ctypes.c_char.from_buffer(file))
    with _LOCK:
        _FILES[file.base] = weakref.ref(file)
    return file


def open_tensors(path: str) -> tuple[dict[str, torch.Tensor], dict[str, str] | None]:
    """The tensors of a safetensors file, mapped, and its metadata.

    Raises WeightsInvalid, WeightsUnsupported and OSError.
    """
    header: Header = read_header(path)
    dtypes: dict[str, Any] = {info.name: TORCH_DTYPES.get(info.dtype) for info in header.tensors}
    for info in header.tensors:
        if dtypes[info.name] is None:
            raise WeightsUnsupported(
                f"{path}: this torch has no type for {info.dtype} (tensor {info.name!r})"
            )
        if info.nbytes and info.offset % dtypes[info.name].itemsize:
            raise WeightsUnsupported(f"{path}: tensor {info.name!r} is not aligned")
    file = map_file(path)
    if len(file) != header.file_size:
        raise WeightsUnsupported(f"{path}: the file changed while it was read")
    tensors = {}
    for info in header.tensors:
        if info.nbytes == 0:
            tensors[info.name] = torch.empty(info.shape, dtype=dtypes[info.name])
            continue
        dtype = dtypes[info.name]
        flat = torch.frombuffer(file, dtype=dtype, count=info.nbytes // dtype.itemsize, offset=info.offset)
        tensors[info.name] = flat.reshape(info.shape)
    return tensors, header.metadata


def any_mapped() -> bool:
    """Whether any mapped file is still in use."""
    return bool(_FILES)


def place_of(tensor: torch.Tensor) -> Place | None:
    """Where the bytes of `tensor` lie, or None when it is no contiguous CPU tensor in a mapped file."""
    if tensor.device.type != "cpu" or tensor.layout is not torch.strided or not tensor.is_contiguous():
        return None
    address, nbytes = tensor.data_ptr(), tensor.numel() * tensor.element_size()
    with _LOCK:
        for base, reference in _FILES.items():
            file = reference()
            if file is not None and base <= address and address + nbytes <= base + len(file):
                return Place(file, address - base, nbytes)
    return None


def unwritten(files: Iterable[MappedFile], proc: str = "/proc/self") -> set[int]:
    """Bases of those mappings that hold no page of their own: what is in memory is what is in the file.

    Empty where the kernel does not tell.
    """
    return unwritten_spans([(file.base, file.base + len(file)) for file in files], proc)
