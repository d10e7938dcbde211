"""Copies onto a GPU through CUDA's own functions, which ctypes calls without Python's lock.

torch's streams and events hold that lock while the driver loads a kernel for somebody else; a dozen threads that copy
then stop the imports (docs/benchmarks.md).
"""

# torch is ComfyUI's: it is no dependency of the workspace.
# pyright: reportMissingImports=false

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from .chunks import Chunk

HOST_TO_DEVICE = 1
"""cudaMemcpyHostToDevice (driver_types.h)."""


class CudaError(RuntimeError):
    """A function of CUDA's failed."""


def runtime(maps: Path = Path("/proc/self/maps")) -> Any:
    """The CUDA runtime that torch uses. Raises CudaError where none is loaded."""
    for line in maps.read_text(encoding="utf-8", errors="replace").splitlines():
        if "/libcudart.so" in line:
            library = ctypes.CDLL(line.split(maxsplit=5)[5])
            pointer = ctypes.c_void_p
            library.cudaSetDevice.argtypes = [ctypes.c_int]
            library.cudaMemcpyAsync.argtypes = [pointer, pointer, ctypes.c_size_t, ctypes.c_int, pointer]
            library.cudaStreamSynchronize.argtypes = [pointer]
            return library
    raise CudaError("the CUDA runtime of this torch was not found")


class CudaCopies:
    """Each thread that copies has a stream and a pinned buffer."""

    def __init__(self, device: torch.device, chunk_bytes: int) -> None:
        """`chunk_bytes` of the largest chunk. Raises CudaError."""
        self._device, self._chunk_bytes = device, chunk_bytes
        self._runtime = runtime()
        self._local = threading.local()

    def copy(
        self, chunk: Chunk, fill: Callable[[memoryview, int], bool], targets: Sequence[torch.Tensor]
    ) -> bool:
        """`fill` gets a buffer of the chunk's bytes and its offset; what it filled is in `targets`, flat tensors of
        bytes, on return. False when `fill` says that it filled nothing. Raises CudaError.
        """
        stream, buffer = self._lane()
        host: int = buffer.data_ptr()
        view = memoryview((ctypes.c_char * chunk.nbytes).from_address(host)).cast("B")
        if not fill(view, chunk.offset):
            return False
        for piece in chunk.pieces:
            target: int = targets[piece.target].data_ptr() + piece.target_offset
            _check(
                self._runtime.cudaMemcpyAsync(
                    target, host + piece.chunk_offset, piece.nbytes, HOST_TO_DEVICE, stream.cuda_stream
                )
            )
        _check(self._runtime.cudaStreamSynchronize(stream.cuda_stream))
        return True

    def _lane(self) -> tuple[torch.cuda.Stream, torch.Tensor]:
        lane: tuple[torch.cuda.Stream, torch.Tensor] | None = getattr(self._local, "lane", None)
        if lane is None:
            _check(self._runtime.cudaSetDevice(self._device.index or 0))
            buffer = torch.empty(self._chunk_bytes, dtype=torch.uint8, pin_memory=True)
            lane = self._local.lane = (torch.cuda.Stream(self._device), buffer)
        return lane


def _check(code: int) -> None:
    if code != 0:
        raise CudaError(f"CUDA error {code}")
