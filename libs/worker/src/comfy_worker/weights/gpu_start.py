"""What begins on the GPU before ComfyUI asks for it: its libraries are loaded, and models are read ahead."""

# torch is ComfyUI's: it is no dependency of the workspace.
# pyright: reportMissingImports=false

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch

from .cuda_copy import CudaError
from .gpu_read_ahead import ReadAheadModels, read_ahead
from .gpu_warm_up import WarmUp
from .torch_mapped import Place

SMALLEST = 64 << 10
"""Bytes below which a tensor is copied as ever: a norm's scale is not worth a place of its own."""

KEEPING_STATES = ("NORMAL_VRAM", "HIGH_VRAM")
"""ComfyUI's memory rules (`vram_state`) under which models may be on the GPU ahead of their use."""

CHOICES = (
    "cpu",
    "directml",
    "oneapi_device_selector",
    "cuda_device",
    "default_device",
    "lowvram",
    "novram",
)
"""ComfyUI's arguments (0.3.64) with which only ComfyUI itself can tell the device, or what may be on it."""

PATIENCE = 30.0
"""Seconds that ComfyUI's start waits at most until the GPU's memory was taken; it is some tenths of a second."""


class GpuStart:
    """One start, in a thread of its own; without a GPU of NVIDIA's nothing begins."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._device: torch.device | None = None
        self._models: ReadAheadModels | None = None
        self._warm_up: WarmUp | None = None
        self._known = threading.Event()
        """Set when an early start has found its device and taken its memory, or failed."""
        self._early = False

    def begin_early(self, arguments: Any, files: Sequence[str], serving: Callable[[], bool]) -> None:
        """After a hold: beside what is left of the imports. Not when `arguments` name a device."""
        if torch.version.cuda is None or any(
            getattr(arguments, name, None) not in (None, False) for name in CHOICES
        ):
            return
        self._early = True
        self._warm_up = WarmUp(self._say, files=files, pin=not files)

        def run() -> None:
            if torch.cuda.is_available():
                self._run(torch.device("cuda", torch.cuda.current_device()), files, serving)

        self._in_thread(run)

    def begin(
        self, management: Any, attention: Any, files: Sequence[str], serving: Callable[[], bool]
    ) -> None:
        """With ComfyUI's modules: begins, or goes on with what was begun early.

        `management` is comfy.model_management, `attention` ComfyUI's scaled_dot_product_attention.
        """
        try:
            device = management.get_torch_device()
            keeping = management.vram_state.name in KEEPING_STATES
            if self._early:
                self._adopt(management, device, keeping)
            elif device.type == "cuda" and torch.version.cuda is not None:
                files = files if keeping else ()
                self._warm_up = WarmUp(self._say, files=files, pin=not files)
                self._in_thread(lambda: self._run(device, files, serving, management))
        except Exception as error:
            self._failed(error)
        if self._warm_up is not None:
            self._warm_up.attend_with(attention)

    def watch_prompts(self, execution: Any) -> None:
        """Follows what ComfyUI's module `execution` executes; without that nothing is kept ahead."""
        self._known.wait(PATIENCE if self._warm_up is not None else 0)
        if self._models is not None:
            try:
                self._models.watch_prompts(execution)
            except Exception:
                self.release("this ComfyUI executes workflows in another way")
                raise

    def take(self, places: Sequence[Place]) -> dict[int, torch.Tensor]:
        """What was read ahead of these places, by their numbers: flat tensors of bytes."""
        if self._warm_up is not None and places:
            self._known.wait(PATIENCE)
        return self._models.take(places) if self._models is not None and places else {}

    def release(self, reason: str) -> None:
        """Gives back what was read ahead."""
        if self._warm_up is not None:
            self._known.wait(PATIENCE)
        if self._models is not None:
            self._models.release(reason)

    def wait(self) -> None:
        """Returns when models may compute."""
        if self._warm_up is not None:
            self._warm_up.wait()

    def _adopt(self, management: Any, device: torch.device, keeping: bool) -> None:
        self._known.wait(PATIENCE)
        if self._models is not None:
            self._models.watch_memory(management)
            if not keeping or device != self._device:
                self.release("ComfyUI places models in another way")

    def _failed(self, error: Exception) -> None:
        self._say(f"nothing is prepared on the GPU: {type(error).__name__}: {error}")
        if self._models is not None:
            self._models.release("the start failed")

    def _in_thread(self, run: Callable[[], None]) -> None:
        def attempt() -> None:
            try:
                run()
            except Exception as error:
                self._failed(error)
            finally:
                self._known.set()
                if self._warm_up is not None:
                    self._warm_up.end()

        threading.Thread(target=attempt, name="gpu-start", daemon=True).start()

    def _run(
        self, device: torch.device, files: Sequence[str], serving: Callable[[], bool], management: Any = None
    ) -> None:
        self._device = device
        if files:
            # Before the libraries: each of some thousand allocations would wait for a kernel that is being loaded.
            self._models = self._read_ahead(device, files, serving)
        if self._models is not None and management is not None:
            self._models.watch_memory(management)
        self._known.set()
        if self._warm_up is not None:
            self._warm_up.run(device)

    def _read_ahead(
        self, device: torch.device, files: Sequence[str], serving: Callable[[], bool]
    ) -> ReadAheadModels | None:
        try:
            return read_ahead(files, device, smallest=SMALLEST, hurried=serving, say=self._say)
        except CudaError as error:
            self._say(f"nothing is read ahead onto the GPU: {error}")
            return None
