"""Loads the GPU's libraries while ComfyUI still imports: its first picture would wait for them otherwise.

CUDA loads a kernel when it is first used, cuBLAS and cuDNN load libraries and build plans. On an H200 that was
about 2 s of the first picture (docs/benchmarks.md). It is work of other cores, without Python's lock.
"""

# torch is ComfyUI's: it is no dependency of the workspace.
# pyright: reportMissingImports=false

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import torch

from .reading import CHUNK_BYTES, thread_count

PATIENCE = 30.0
"""Seconds that the first model waits for the warm-up at most; it takes 1 to 3 s."""

TOKENS, WIDTH = 1024, 768
"""Of the layers: as large as in a small picture, because small ones have kernels of their own."""

HEADS = (40, 64, 128)
"""Channels of an attention head in SD 1.5's first blocks, in SDXL and CLIP, in Flux."""


class WarmUp:
    """One warm-up, in a thread of its own."""

    def __init__(
        self, device: torch.device, attention: Callable[..., torch.Tensor], say: Callable[[str], None]
    ) -> None:
        """`attention` is ComfyUI's scaled_dot_product_attention; `say` gets a line at the end. Starts at once."""
        self._device, self._attention, self._say = device, attention, say
        self._thread = threading.Thread(target=self._run, name="gpu-warm-up", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Returns when it is over: ComfyUI's attention sets global switches, which two threads must not do at once."""
        if self._thread.is_alive():
            self._thread.join(PATIENCE)

    def _run(self) -> None:
        started = time.monotonic()
        try:
            with torch.cuda.device(self._device), torch.inference_mode():
                for dtype in (torch.bfloat16, torch.float16, torch.float32):
                    self._layers(dtype)
                _pin()
                torch.cuda.current_stream().synchronize()
        except Exception as error:
            self._say(f"no warm-up: {type(error).__name__}: {error}")
        else:
            self._say(f"the GPU's libraries were loaded in {time.monotonic() - started:.3f} s")

    def _layers(self, dtype: Any) -> None:
        functional = torch.nn.functional
        tokens = torch.ones(1, TOKENS, WIDTH, dtype=dtype, device=self._device)
        bias = torch.ones(WIDTH, dtype=dtype, device=self._device)
        functional.linear(tokens, tokens[0, :WIDTH], bias)
        functional.linear(tokens, tokens[0, :WIDTH])
        torch.bmm(tokens, tokens.transpose(1, 2))
        functional.layer_norm(tokens, (WIDTH,))
        functional.layer_norm(tokens, (WIDTH,), bias, bias)
        functional.rms_norm(tokens, (WIDTH,), bias)
        functional.gelu(functional.silu(tokens), approximate="tanh")
        functional.gelu(tokens)
        functional.softmax(torch.cat((tokens, tokens), dim=1), dim=-1)
        picture = torch.ones(1, 64, 32, 32, dtype=dtype, device=self._device)
        kernel = torch.ones(64, 64, 3, 3, dtype=dtype, device=self._device)
        functional.conv2d(picture, kernel, bias[:64], padding=1)
        functional.group_norm(functional.interpolate(picture, scale_factor=2.0), 32)
        _elements(tokens[:, :8], bias)
        if dtype is torch.float32:
            return
        for channels in HEADS:
            heads = torch.ones(1, 8, TOKENS, channels, dtype=dtype, device=self._device)
            self._attention(heads, heads, heads)


def _elements(one: torch.Tensor, bias: torch.Tensor) -> None:
    """What models do between layers: each of these is a kernel that is loaded from a compressed library."""
    changed = (one * bias + 1 - one / 2).clamp(-1, 1)
    torch.addcmul(changed, one, bias)
    for function in (torch.sigmoid, torch.exp, torch.sin, torch.cos, torch.rsqrt, torch.neg):
        function(one)
    one.pow(2).mean(-1, keepdim=True)
    torch.stack((one, one), dim=-1).flatten(2).contiguous()
    torch.nn.functional.embedding(torch.zeros(4, dtype=torch.long, device=one.device), one[0])
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        one.to(dtype)
        torch.ones(64, dtype=dtype).to(one.device, one.dtype)
    one.cpu()


def _pin() -> None:
    """The buffers of the first read; torch keeps pinned memory for whoever asks next."""
    kept = [torch.empty(CHUNK_BYTES, dtype=torch.uint8, pin_memory=True) for _ in range(thread_count())]
    kept.clear()
