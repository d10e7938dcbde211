"""Bytes of files into tensors, in parallel: through pinned buffers onto a GPU, or straight into memory."""

# torch is ComfyUI's: it is no dependency of the workspace.
# pyright: reportMissingImports=false

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

from .chunks import Chunk, Segment, plan_chunks
from .reading import CHUNK_BYTES, in_parallel, read_exactly, thread_count
from .torch_mapped import MappedFile, Place


@dataclass(frozen=True, slots=True)
class Transfer:
    """The bytes at `place` are to become the content of `target`: contiguous, the same number of bytes."""

    place: Place
    target: torch.Tensor


def transfer(
    transfers: Sequence[Transfer], *, threads: int | None = None, chunk_bytes: int = CHUNK_BYTES
) -> int:
    """Fills every target, all on one device, and returns the bytes read.

    Raises ValueError for a device that is neither memory nor a CUDA GPU, EOFError and OSError from reading, and
    torch's errors; some targets are then filled and some are not.
    """
    if not transfers:
        return 0
    device = transfers[0].target.device
    targets = [_as_bytes(one.target) for one in transfers]
    count = threads or thread_count()
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.current_stream().synchronize()  # the targets' memory may still be in use by work before
            lanes = _Lanes(chunk_bytes, device)
            in_parallel(
                _work(transfers, chunk_bytes, lambda chunk, file: lanes.copy(chunk, file, targets)), count
            )
            lanes.finish()
    elif device.type != "cpu":
        raise ValueError(f"cannot read to {device}")
    else:
        in_parallel(_work(transfers, chunk_bytes, lambda chunk, file: _fill(chunk, file, targets)), count)
    return sum(one.place.nbytes for one in transfers)


def _work(
    transfers: Sequence[Transfer], chunk_bytes: int, run: Callable[[Chunk, MappedFile], None]
) -> Iterator[Callable[[], None]]:
    files = {one.place.file.base: one.place.file for one in transfers}
    for base, file in files.items():
        segments = (
            Segment(one.place.offset, one.place.nbytes, number)
            for number, one in enumerate(transfers)
            if one.place.file.base == base
        )
        for chunk in plan_chunks(segments, chunk_bytes):
            yield functools.partial(run, chunk, file)


def _as_bytes(tensor: torch.Tensor) -> torch.Tensor:
    # Through `detach`, not `data`: the version counter keeps noticing writes.
    return tensor.detach().reshape(-1).view(torch.uint8)


def _memory(tensor: torch.Tensor, offset: int, nbytes: int) -> memoryview:
    return memoryview((ctypes.c_char * nbytes).from_address(tensor.data_ptr() + offset)).cast("B")


def _fill(chunk: Chunk, file: MappedFile, targets: Sequence[torch.Tensor]) -> None:
    for piece in chunk.pieces:
        view = _memory(targets[piece.target], piece.target_offset, piece.nbytes)
        read_exactly(file.fd, view, chunk.offset + piece.chunk_offset)


class _Lane:
    """One thread's stream, and two pinned buffers: one is filled while the other is copied."""

    def __init__(self, chunk_bytes: int, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)
        self._chunk_bytes = chunk_bytes
        self._buffers: list[tuple[torch.Tensor, torch.cuda.Event]] = []
        self._turn = 0

    def buffer(self) -> tuple[torch.Tensor, torch.cuda.Event]:
        """The buffer whose turn it is, free to be filled, and the event to record after its copies."""
        if len(self._buffers) < 2:  # pinning costs time: a second one only for who needs it
            self._buffers.append(
                (torch.empty(self._chunk_bytes, dtype=torch.uint8, pin_memory=True), torch.cuda.Event())
            )
            return self._buffers[-1]
        buffer, copied = self._buffers[self._turn]
        self._turn = 1 - self._turn
        copied.synchronize()
        return buffer, copied


class _Lanes:
    """A lane for each thread that asks."""

    def __init__(self, chunk_bytes: int, device: torch.device) -> None:
        self._chunk_bytes, self._device = chunk_bytes, device
        self._local = threading.local()
        self._lanes: list[_Lane] = []
        self._lock = threading.Lock()

    def copy(self, chunk: Chunk, file: MappedFile, targets: Sequence[torch.Tensor]) -> None:
        lane = self._lane()
        buffer, copied = lane.buffer()
        read_exactly(file.fd, _memory(buffer, 0, chunk.nbytes), chunk.offset)
        # ComfyUI loads in inference mode, which is a thread's own; normal tensors may be written in it, too.
        with torch.cuda.stream(lane.stream), torch.inference_mode():
            for piece in chunk.pieces:
                target = targets[piece.target].narrow(0, piece.target_offset, piece.nbytes)
                target.copy_(buffer.narrow(0, piece.chunk_offset, piece.nbytes), non_blocking=True)
            copied.record(lane.stream)

    def finish(self) -> None:
        for lane in self._lanes:
            lane.stream.synchronize()

    def _lane(self) -> _Lane:
        lane: _Lane | None = getattr(self._local, "lane", None)
        if lane is None:
            lane = self._local.lane = _Lane(self._chunk_bytes, self._device)
            with self._lock:
                self._lanes.append(lane)
        return lane


def free_device_memory(device: torch.device) -> int:
    """Bytes that a tensor on this GPU may still take."""
    free, _ = torch.cuda.mem_get_info(device)
    stats = torch.cuda.memory_stats(device)
    reserved = stats.get("reserved_bytes.all.current", 0)
    return free + max(0, reserved - stats.get("active_bytes.all.current", 0))


def total_bytes(places: Iterable[Place]) -> int:
    """Bytes of these places together."""
    return sum(place.nbytes for place in places)
