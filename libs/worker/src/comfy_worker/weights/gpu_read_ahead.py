"""Models are read onto the GPU while ComfyUI imports and builds, and become its parameters when it loads them.

To ComfyUI this memory is in use, and it is given back as soon as ComfyUI could want it: what the workflow does not
name when it starts, everything when ComfyUI asks for more memory than is free, loads a model only in part or begins to
compute (it then asks how much is free), and the rest when the workflow ends.
"""

# torch is ComfyUI's: it is no dependency of the workspace.
# pyright: reportMissingImports=false

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from .chunks import Chunk
from .cuda_copy import CudaCopies
from .reading import CHUNK_BYTES
from .staging import Fill, Staging
from .torch_mapped import Place
from .torch_transfer import free_device_memory

SHARE = 0.5
"""Of the free GPU memory that may be read ahead: everything would fit a second time."""

ENDINGS = (".safetensors", ".sft")

PASSING = ("comfy.model_management", "server")
"""Modules whose questions after free memory begin no computation: they place models, or report."""


class GpuSink:
    """Tensors on one GPU."""

    def __init__(self, device: torch.device, chunk_bytes: int = CHUNK_BYTES) -> None:
        """Raises CudaError."""
        self._device = device
        self._copies = CudaCopies(device, chunk_bytes)

    def fits(self, nbytes: int, held: int) -> bool:
        """Whether it stays below SHARE of what would be free without what is held."""
        return held + nbytes <= SHARE * (free_device_memory(self._device) + held)

    def allocate(self, sizes: Sequence[int]) -> list[torch.Tensor]:
        """Flat tensors of bytes. Raises torch.OutOfMemoryError."""
        # In inference mode, as what ComfyUI's own loading makes.
        with torch.cuda.device(self._device), torch.inference_mode():
            tensors = [torch.empty(size, dtype=torch.uint8, device=self._device) for size in sizes]
            torch.cuda.current_stream().synchronize()  # the memory may still be in use by work before
        return tensors

    def copy(self, chunk: Chunk, fill: Fill, targets: Sequence[torch.Tensor]) -> bool:
        """Through this thread's pinned buffer."""
        return self._copies.copy(chunk, fill, targets)


class ReadAheadModels:
    """What is read ahead for one device, and when it is given back."""

    def __init__(
        self, staging: Staging[torch.Tensor], device: torch.device, say: Callable[[str], None]
    ) -> None:
        self._staging, self._device, self._say = staging, device, say

    def take(self, places: Sequence[Place]) -> dict[int, torch.Tensor]:
        """Flat tensors of bytes with the content of these places, by the places' numbers; those that were read ahead."""
        found: dict[int, torch.Tensor] = {}
        for numbers in _by_file(places):
            fd = places[numbers[0]].file.fd
            parts = [(places[number].offset, places[number].nbytes) for number in numbers]
            taken = self._staging.take(fd, parts)
            found.update({number: one for number, one in zip(numbers, taken, strict=True) if one is not None})
        return found

    def release(self, reason: str) -> None:
        """Gives everything back; `reason` goes to the log when there was anything."""
        nbytes = self._staging.nbytes
        self._staging.release()
        if nbytes:
            self._say(f"{nbytes} bytes that were read ahead are given back: {reason}")

    def keep_named(self, prompt: Any) -> None:
        """Gives back the files that no input of the workflow names."""
        names = {os.path.normpath(text) for text in _strings(prompt) if text.lower().endswith(ENDINGS)}
        unused = [path for path in self._staging.paths if not _is_named(path, names)]
        if unused:
            self._staging.keep(lambda path: path not in unused)
            listed = ", ".join(sorted(os.path.basename(path) for path in unused))
            self._say(f"read ahead and not used by this workflow: {listed}")

    def watch_prompts(self, execution: Any) -> None:
        """Wraps `PromptExecutor.execute` of ComfyUI's module `execution`."""
        own = execution.PromptExecutor.execute

        @functools.wraps(own)
        def execute(executor: Any, prompt: Any, *args: Any, **named: Any) -> Any:
            if self._staging.stopped:
                return own(executor, prompt, *args, **named)
            self.keep_named(prompt)
            try:
                return own(executor, prompt, *args, **named)
            finally:
                self.release("the workflow has ended")

        execution.PromptExecutor.execute = execute

    def watch_memory(self, management: Any) -> None:
        """Wraps `free_memory` and `get_free_memory` of ComfyUI's module `comfy.model_management`."""
        own_free, own_get = management.free_memory, management.get_free_memory

        @functools.wraps(own_free)
        def free_memory(memory_required: Any, device: Any, *args: Any, **named: Any) -> Any:
            if self._holds(device) and own_get(device) < memory_required:
                self.release("ComfyUI needs the memory")
            return own_free(memory_required, device, *args, **named)

        @functools.wraps(own_get)
        def get_free_memory(dev: Any = None, *args: Any, **named: Any) -> Any:
            if self._holds(dev) and sys._getframe(1).f_globals.get("__name__") not in PASSING:  # pyright: ignore[reportPrivateUsage]
                self.release("ComfyUI computes")
            return own_get(dev, *args, **named)

        management.free_memory, management.get_free_memory = free_memory, get_free_memory

    def _holds(self, device: Any) -> bool:
        on_gpu = device is None or torch.device(device).type == self._device.type
        return on_gpu and not self._staging.stopped and self._staging.nbytes > 0


def _by_file(places: Sequence[Place]) -> Iterator[list[int]]:
    files: dict[int, list[int]] = {}
    for number, place in enumerate(places):
        files.setdefault(place.file.base, []).append(number)
    yield from files.values()


def _strings(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            waiting.extend(one.values())
        elif isinstance(one, list | tuple):
            waiting.extend(one)


def _is_named(path: str, names: set[str]) -> bool:
    """Whether a name is the path, or its end from one of its folders on."""
    parts = os.path.normpath(path).split(os.sep)
    return any(os.sep.join(parts[start:]) in names for start in range(len(parts)))


def read_ahead(
    files: Sequence[str],
    device: torch.device,
    *,
    smallest: int,
    hurried: Callable[[], bool],
    say: Callable[[str], None],
) -> ReadAheadModels:
    """Takes memory for `files`, as far as there is enough, and begins to read; `watch_memory` and `watch_prompts` are
    still to be called.

    Raises CudaError.
    """
    staging = Staging(GpuSink(device), hurried=hurried, say=say, smallest=smallest)
    staging.open(name for name in files if name.lower().endswith(ENDINGS))
    try:
        # All threads at once: half of them took more than twice as long, and the imports waited as much.
        staging.start()
    except BaseException:
        staging.release()
        raise
    return ReadAheadModels(staging, device, say)
