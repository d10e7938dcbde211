"""Loads the GPU's libraries while ComfyUI still imports: its first picture would wait for them otherwise.

CUDA loads a kernel when it is first used, cuBLAS and cuDNN load libraries and choose kernels by size. On an H200 that
was about 2 s of the first picture (docs/benchmarks.md). It is work of other cores, mostly without Python's lock.
"""

# torch is ComfyUI's: it is no dependency of the workspace.
# pyright: reportMissingImports=false

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from .header import TensorInfo, WeightsInvalid, WeightsUnsupported, read_header
from .reading import CHUNK_BYTES, thread_count

PATIENCE = 30.0
"""Seconds that the first model waits for the warm-up at most; it takes 1 to 3 s."""

TOKENS, WIDTH = 1024, 768
"""Of the layers: as large as in a small picture, because small ones have kernels of their own."""

HEADS = (40, 64, 128)
"""Channels of an attention head in SD 1.5's first blocks, in SDXL and CLIP, in Flux."""

ROWS = (77, 256, 4096)
"""Rows that the layers of a model are given: CLIP's tokens, T5's, and a picture of 1024 by 1024."""

LARGE_LAYER = 1 << 20
"""Elements from which a layer of a model is tried at its size."""

DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16}

Attention = Callable[..., torch.Tensor]


class WarmUp:
    """One warm-up."""

    def __init__(self, say: Callable[[str], None], *, files: Sequence[str] = (), pin: bool = True) -> None:
        """`say` gets a line at the end. The layers of `files`, models, are tried at their sizes. `pin` makes the
        buffers of the first read, too.
        """
        self._say, self._files, self._pin = say, files, pin
        self._attention: Attention | None = None
        self._given, self._attended = threading.Event(), threading.Event()

    def attend_with(self, attention: Attention) -> None:
        """Gives ComfyUI's scaled_dot_product_attention."""
        self._attention = attention
        self._given.set()

    def wait(self) -> None:
        """Returns when attention is done: ComfyUI's sets global switches, which two threads must not do at once.

        The rest may go on beside the first model.
        """
        self._attended.wait(PATIENCE)

    def end(self) -> None:
        """Nobody waits any more."""
        self._attended.set()

    def run(self, device: torch.device) -> None:
        """Loads everything; does not end before `attend_with`."""
        started = time.monotonic()
        with torch.cuda.device(device), torch.inference_mode():
            for step in self._steps(device):
                step()
                if self._given.is_set():
                    self._attend(device)
            self._given.wait(PATIENCE)
            self._attend(device)
            torch.cuda.current_stream().synchronize()
        self._say(f"the GPU's libraries were loaded in {time.monotonic() - started:.3f} s")

    def _steps(self, device: torch.device) -> Iterator[Callable[[], None]]:
        for dtype in (torch.bfloat16, torch.float16, torch.float32):
            yield lambda dtype=dtype: _layers(dtype, device)
        if self._pin:
            yield _pin
        yield lambda: _positions(device)
        for file in self._files:
            yield lambda file=file: _sizes(file, device)

    def _attend(self, device: torch.device) -> None:
        if self._attended.is_set() or self._attention is None:
            return
        for dtype in (torch.float16, torch.bfloat16):
            for channels in HEADS:
                heads = torch.ones(1, 8, TOKENS, channels, dtype=dtype, device=device)
                self._attention(heads, heads, heads)
        self._attended.set()


def _layers(dtype: Any, device: torch.device) -> None:
    functional = torch.nn.functional
    tokens = torch.ones(1, TOKENS, WIDTH, dtype=dtype, device=device)
    bias = torch.ones(WIDTH, dtype=dtype, device=device)
    functional.linear(tokens, tokens[0, :WIDTH], bias)
    functional.linear(tokens, tokens[0, :WIDTH])
    torch.bmm(tokens, tokens.transpose(1, 2))
    functional.layer_norm(tokens, (WIDTH,))
    functional.layer_norm(tokens, (WIDTH,), bias, bias)
    functional.rms_norm(tokens, (WIDTH,), bias)
    functional.gelu(functional.silu(tokens), approximate="tanh")
    functional.gelu(tokens)
    functional.softmax(torch.cat((tokens, tokens), dim=1), dim=-1)
    picture = torch.ones(1, 64, 32, 32, dtype=dtype, device=device)
    kernel = torch.ones(64, 64, 3, 3, dtype=dtype, device=device)
    functional.conv2d(picture, kernel, bias[:64], padding=1)
    functional.group_norm(functional.interpolate(picture, scale_factor=2.0), 32)
    _elements(tokens[:, :8], bias)


def _sizes(file: str, device: torch.device) -> None:
    """cuBLAS chooses among its kernels by size: those of a model's own layers."""
    for dtype, (outputs, inputs), has_bias in _large_layers(file):
        weight = torch.empty(outputs, inputs, dtype=dtype, device=device)
        bias = torch.empty(outputs, dtype=dtype, device=device) if has_bias else None
        for rows in ROWS:
            tokens = torch.empty(rows, inputs, dtype=dtype, device=device)
            torch.nn.functional.linear(tokens, weight, bias)


def _large_layers(file: str) -> list[tuple[Any, tuple[int, ...], bool]]:
    """Type, shape and whether there is a bias, of the layers of a safetensors file: each only once."""
    try:
        tensors = read_header(file).tensors
    except (OSError, WeightsInvalid, WeightsUnsupported):
        return []
    names = {one.name for one in tensors}
    layers = {
        (DTYPES[one.dtype], one.shape, one.name.removesuffix("weight") + "bias" in names): None
        for one in tensors
        if _is_large_layer(one)
    }
    return list(layers)


def _is_large_layer(one: TensorInfo) -> bool:
    # An embedding is no layer, and has more rows than any.
    large = len(one.shape) == 2 and one.shape[0] * one.shape[1] >= LARGE_LAYER and one.shape[0] <= 1 << 15
    return large and one.dtype in DTYPES and one.name.endswith("weight")


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


def _positions(device: torch.device) -> None:
    """What models do with the places of tokens: T5's buckets, CLIP's mask and last token, Flux's angles."""
    places = torch.arange(32, device=device)
    apart = places[None, :] - places[:, None]
    buckets = torch.log(torch.abs(apart).float() / 8 + 1).to(torch.long)
    buckets = torch.min(buckets, torch.full_like(buckets, 15))
    torch.where(apart < 8, apart, buckets + (apart > 0).to(torch.long) * 16)
    torch.full((32, 32), -1.0, device=device).triu_(1)
    (apart == 3).to(torch.int).argmax(dim=-1)
    angles = 1.0 / (10_000 ** torch.linspace(0, 1, steps=16, dtype=torch.float64, device=device))
    turned = torch.einsum("...n,d->...nd", places[None, :].to(torch.float64), angles)
    torch.stack((torch.cos(turned), -torch.sin(turned)), dim=-1).to(torch.float32)


def _pin() -> None:
    """The buffers of the first read; torch keeps pinned memory for whoever asks next."""
    kept = [torch.empty(CHUNK_BYTES, dtype=torch.uint8, pin_memory=True) for _ in range(thread_count())]
    kept.clear()
