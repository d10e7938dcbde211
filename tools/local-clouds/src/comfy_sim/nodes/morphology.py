"""Edges, morphology and palettes, for real."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..resampling import Pictures
from .images import one
from .registry import Context, NodeError, Result, node

Plane = NDArray[np.float32]
Combine = Callable[[Any, Any], Any]


def window_extreme(pictures: Pictures, size: int, combine: Combine, border: float) -> Pictures:
    """Extreme value in a window of `size` x `size` pixels around each pixel; `border` stands for what is outside."""
    return _axis_extreme(_axis_extreme(pictures, size, 1, combine, border), size, 2, combine, border)


def _axis_extreme(pictures: Pictures, size: int, axis: int, combine: Combine, border: float) -> Pictures:
    padding = [(0, 0)] * pictures.ndim
    padding[axis] = (size // 2, size - size // 2 - 1)
    current = np.moveaxis(np.pad(pictures, padding, constant_values=border), axis, 0)
    width = 1
    while width * 2 <= size:
        current = combine(current[:-width], current[width:])
        width *= 2
    count = pictures.shape[axis]
    whole = combine(current[:count], current[size - width : size - width + count])
    return np.moveaxis(whole, 0, axis)


@node("Morphology")
def morphology(_: Context, *, image: Pictures, operation: str, kernel_size: int) -> Result:
    def erode(pictures: Pictures) -> Pictures:
        return window_extreme(pictures, kernel_size, np.minimum, np.inf)

    def dilate(pictures: Pictures) -> Pictures:
        return window_extreme(pictures, kernel_size, np.maximum, -np.inf)

    match operation:
        case "erode":
            return one(erode(image))
        case "dilate":
            return one(dilate(image))
        case "open":
            return one(dilate(erode(image)))
        case "close":
            return one(erode(dilate(image)))
        case "gradient":
            return one(dilate(image) - erode(image))
        case "top_hat":
            return one(image - dilate(erode(image)))
        case "bottom_hat":
            return one(erode(dilate(image)) - image)
        case _:
            raise NodeError(f"Invalid operation {operation} for morphology.", "ValueError")


@node("Canny")
def canny(_: Context, *, image: Pictures, low_threshold: float, high_threshold: float) -> Result:
    if low_threshold > high_threshold:
        raise NodeError(
            "Invalid input thresholds. low_threshold should be smaller than or equal to the high_threshold. "
            f"Got: {low_threshold}>{high_threshold}",
            "kornia.core.exceptions.BaseError",
        )
    gray = image[..., :3] @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    edges = np.stack([_edges(plane, low_threshold, high_threshold) for plane in gray])
    return one(np.repeat(edges[..., None], 3, axis=-1))


def _edges(gray: Plane, low: float, high: float) -> Plane:
    blurred = _blur5(gray)
    padded = np.pad(blurred, 1, mode="edge")
    smooth_rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    smooth_columns = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    gx = smooth_rows[:, 2:] - smooth_rows[:, :-2]
    gy = smooth_columns[2:] - smooth_columns[:-2]
    magnitude = np.sqrt(gx * gx + gy * gy + np.float32(1e-6))
    direction = np.rint(np.degrees(np.arctan2(gy, gx)) / 45).astype(np.int64) % 8
    magnitude = np.where(_is_ridge(magnitude, direction), magnitude, 0)
    return _hysteresis(magnitude > low, magnitude > high)


def _blur5(gray: Plane) -> Plane:
    x = np.arange(-2, 3, dtype=np.float64)
    weights = np.exp(-x * x / 2)
    weights = (weights / weights.sum()).astype(np.float32)
    for axis in (0, 1):
        padding = [(0, 0), (0, 0)]
        padding[axis] = (2, 2)
        padded = np.pad(gray, padding, mode="reflect")
        size = gray.shape[axis]
        taps = [w * np.take(padded, range(k, k + size), axis=axis) for k, w in enumerate(weights)]
        gray = np.stack(taps).sum(axis=0, dtype=np.float32)
    return gray


NEIGHBOURS = [(0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)]
"""Row and column offsets for gradient directions of 0, 45, … 315 degrees."""


def _is_ridge(magnitude: Plane, direction: NDArray[np.int64]) -> NDArray[np.bool_]:
    padded = np.pad(magnitude, 1)
    height, width = magnitude.shape
    beats = np.stack(
        [magnitude - padded[1 + y : 1 + y + height, 1 + x : 1 + x + width] > 0 for y, x in NEIGHBOURS]
    )
    ahead = np.take_along_axis(beats, direction[None], axis=0)[0]
    behind = np.take_along_axis(beats, ((direction + 4) % 8)[None], axis=0)[0]
    return ahead & behind


def _hysteresis(weak: NDArray[np.bool_], strong: NDArray[np.bool_]) -> Plane:
    height, width = weak.shape
    while True:
        padded = np.pad(strong, 1)
        near = np.zeros_like(strong)
        for y, x in NEIGHBOURS:
            near |= padded[1 + y : 1 + y + height, 1 + x : 1 + x + width]
        grown = strong | (weak & near)
        if bool((grown == strong).all()):
            return strong.astype(np.float32)
        strong = grown


@node("ImageQuantize")
def quantize(_: Context, *, image: Pictures, colors: int, dither: str) -> Result:
    return one(np.stack([_quantized(picture, colors, dither) for picture in image]))


def _quantized(picture: Plane, colors: int, dither: str) -> Plane:
    source = Image.fromarray((picture[..., :3] * 255).astype(np.uint8))
    palette = source.quantize(colors=colors)
    if dither.startswith("bayer"):
        source = _bayer(source, len(palette.getpalette() or []) // 3, int(dither.split("-")[-1]))
    mode = Image.Dither.FLOYDSTEINBERG if dither == "floyd-steinberg" else Image.Dither.NONE
    return np.asarray(
        source.quantize(palette=palette, dither=mode).convert("RGB"), dtype=np.float32
    ) / np.float32(255)


def _bayer(source: Image.Image, colors: int, order: int) -> Image.Image:
    matrix = np.zeros((1, 1))
    scale = 1
    while matrix.shape[0] < order:
        # Each doubling interleaves four copies, shifted by thirds of the finer grid.
        scale *= 4
        matrix = matrix * scale
        matrix = np.block([[matrix - 1.5, matrix + 0.5], [matrix + 1.5, matrix - 0.5]]) / scale
    pixels = np.asarray(source, dtype=np.float32)
    height, width = pixels.shape[:2]
    spread = 2 * 256 / colors
    threshold = np.tile(spread * matrix + 0.5, (-(-height // order), -(-width // order)))[
        :height, :width, None
    ]
    return Image.fromarray(np.clip(pixels + threshold.astype(np.float32), 0, 255).astype(np.uint8))
