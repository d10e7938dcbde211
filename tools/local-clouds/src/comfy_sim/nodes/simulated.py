"""Nodes that need a model, simulated: what they return is decided by their inputs alone, and pictures say SIMULATED.

A value that only a model could make travels as `Simulated`: enough to draw the same picture for the same
workflow and seed on any machine. Nothing here pretends to be the model's own result.
"""

from __future__ import annotations

import hashlib
import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..resampling import Pictures
from .registry import Context, NodeError, Result

LATENT_SCALE = 8
"""Pixels that one value of a latent stands for."""

DEFAULT_SIZE = (512, 512)
SAMPLING = {"KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced"}
LOADERS = ("loaders", "advanced/loaders")


@dataclass(frozen=True)
class Simulated:
    """A value only a model could make: its type, what it came from, and how large its picture would be."""

    kind: str
    digest: str
    text: str = ""
    width: int = 0
    height: int = 0
    count: int = 1
    steps: int = 0


def simulate(context: Context, inputs: Mapping[str, Any]) -> Result:
    """Runs a node that has no implementation of its own, from its catalogue entry."""
    if str(context.info.get("category", "")).startswith("api node"):
        raise NodeError("Unauthorized: Please login first to use this node.", "Exception")
    if str(context.info.get("category", "")).startswith(LOADERS):
        context.wait(context.model_load_seconds)
    value = _merged(context.class_type, inputs)
    if context.class_type in SAMPLING:
        _sample(context, value)
    return Result(outputs=tuple(_output(kind, value, inputs) for kind in context.info["output"]))


def _merged(class_type: str, inputs: Mapping[str, Any]) -> Simulated:
    parts = [value for value in inputs.values() if isinstance(value, Simulated)]
    latents = [part for part in parts if part.width] or parts
    width, height = _size(inputs, latents)
    texts = [value for name, value in inputs.items() if _is_text(name, value)]
    texts += [
        part.text for name, part in inputs.items() if isinstance(part, Simulated) and name != "negative"
    ]
    return Simulated(
        kind="",
        digest=_digest(class_type, inputs),
        text=next((text for text in texts if text), ""),
        width=width,
        height=height,
        count=_count(inputs, latents),
        steps=int(inputs.get("steps", 0) or max((part.steps for part in parts), default=0)),
    )


def _is_text(name: str, value: Any) -> bool:
    return isinstance(value, str) and name in ("text", "prompt", "clip_l", "t5xxl", "user_prompt", "tags")


def _size(inputs: Mapping[str, Any], parts: list[Simulated]) -> tuple[int, int]:
    width, height = inputs.get("width"), inputs.get("height")
    if isinstance(width, int) and isinstance(height, int):
        return width, height
    for value in inputs.values():
        if isinstance(value, np.ndarray) and value.ndim == 4:
            return int(value.shape[2]), int(value.shape[1])
    return (parts[0].width, parts[0].height) if parts else (0, 0)


def _count(inputs: Mapping[str, Any], parts: list[Simulated]) -> int:
    frames = inputs.get("length", inputs.get("batch_size", inputs.get("amount")))
    if isinstance(frames, int) and not isinstance(frames, bool):
        return max(1, frames)
    for value in inputs.values():
        if isinstance(value, np.ndarray) and value.ndim == 4:
            return int(value.shape[0])
    return max((part.count for part in parts), default=1)


def _digest(class_type: str, inputs: Mapping[str, Any]) -> str:
    hasher = hashlib.sha256(class_type.encode())
    for name in sorted(inputs):
        value = inputs[name]
        hasher.update(name.encode())
        if isinstance(value, Simulated):
            hasher.update(value.digest.encode())
        elif isinstance(value, np.ndarray):
            hasher.update(np.ascontiguousarray(value).tobytes())
        else:
            hasher.update(json.dumps(value, sort_keys=True, default=str).encode())
    return hasher.hexdigest()


def _sample(context: Context, value: Simulated) -> None:
    steps = max(1, value.steps or 1)
    preview = Image.fromarray(np.uint8(255 * draw(replace(value, width=128, height=128, count=1))[0]))
    for step in range(1, steps + 1):
        context.wait(context.step_seconds)
        context.steps(step, steps, ("JPEG", preview))


def _output(kind: Any, value: Simulated, inputs: Mapping[str, Any]) -> Any:
    match kind:
        case "IMAGE":
            return draw(value)
        case "MASK":
            return np.zeros(
                (1, value.height or DEFAULT_SIZE[1], value.width or DEFAULT_SIZE[0]), dtype=np.float32
            )
        case "INT":
            return int(value.digest[:8], 16)
        case "FLOAT":
            return int(value.digest[:8], 16) / 0xFFFFFFFF
        case "BOOLEAN":
            return int(value.digest[:2], 16) % 2 == 0
        case "STRING":
            return f"SIMULATED {value.digest[:12]}"
        case _:
            pass_through = next(
                (given for given in inputs.values() if isinstance(given, Simulated) and given.kind == kind),
                None,
            )
            if pass_through is not None and kind in ("MODEL", "CLIP", "VAE"):
                return replace(pass_through, digest=value.digest)
            return replace(value, kind=str(kind))


def draw(value: Simulated) -> Pictures:
    """The picture of a simulated value: a gradient from its digest under the words SIMULATED and its text."""
    width, height = value.width or DEFAULT_SIZE[0], value.height or DEFAULT_SIZE[1]
    frames = [_frame(value, width, height, number) for number in range(value.count)]
    return np.stack(frames)


def _frame(value: Simulated, width: int, height: int, number: int) -> Any:
    seed = hashlib.sha256(f"{value.digest}:{number}".encode()).digest()
    first, second = np.array(list(seed[:3])) * 0.6, 80 + np.array(list(seed[3:6])) * 0.6
    x = np.linspace(0, 1, width)[None, :, None]
    y = np.linspace(0, 1, height)[:, None, None]
    blend = (x * (seed[6] / 255) + y * (1 - seed[6] / 255)) / 1.0
    wave = 0.5 + 0.5 * np.sin(6.283 * (x * (1 + seed[7] % 5) + y * (1 + seed[8] % 5)))
    canvas = first * (1 - blend) + second * blend + 24 * wave
    image = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
    _label(image, value)
    return np.asarray(image, dtype=np.float32) / np.float32(255)


def _label(image: Image.Image, value: Simulated) -> None:
    pen = ImageDraw.Draw(image)
    size = max(8, image.width // 10)
    pen.text(
        (image.width // 20, image.height // 20),
        "SIMULATED",
        fill=(255, 255, 255),
        font=ImageFont.load_default(size),
    )
    small = max(8, image.width // 28)
    lines = list(_lines(value))
    top = image.height // 20 + int(size * 1.4)
    for number, line in enumerate(lines):
        place = (image.width // 20, top + int(number * small * 1.3))
        pen.text(place, line, fill=(255, 255, 255), font=ImageFont.load_default(small))


def _lines(value: Simulated) -> Iterator[str]:
    yield "comfy-sim: no model was run"
    yield from textwrap.wrap(value.text, 44)[:6]
    yield value.digest[:16]
