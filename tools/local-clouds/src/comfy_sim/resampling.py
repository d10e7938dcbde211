"""Resizing of image batches as ComfyUI's nodes do it: the semantics of torch's `interpolate`, on numpy.

Pictures are float32 arrays of shape (batch, height, width, channels) with values from 0 to 1.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pictures = NDArray[np.float32]
Method = Literal["nearest-exact", "bilinear", "area", "bicubic", "lanczos"]

CUBIC_A = -0.75
"""Coefficient of torch's bicubic kernel."""


def resize(pictures: Pictures, width: int, height: int, method: str, crop: str = "disabled") -> Pictures:
    """Resizes a batch to `width` x `height` pixels; `crop="center"` first cuts it to the new aspect ratio."""
    if crop == "center":
        pictures = _crop_to_aspect(pictures, width, height)
    if method == "lanczos":
        return _lanczos(pictures, width, height)
    return _resize_axis(_resize_axis(pictures, height, 1, method), width, 2, method)


def bilinear(pictures: Pictures, width: int, height: int) -> Pictures:
    """Bilinear without corner alignment, what masks and composites use."""
    return resize(pictures, width, height, "bilinear")


def _crop_to_aspect(pictures: Pictures, width: int, height: int) -> Pictures:
    old_height, old_width = pictures.shape[1:3]
    old_aspect, new_aspect = old_width / old_height, width / height
    x = y = 0
    if old_aspect > new_aspect:
        x = round((old_width - old_width * (new_aspect / old_aspect)) / 2)
    elif old_aspect < new_aspect:
        y = round((old_height - old_height * (old_aspect / new_aspect)) / 2)
    return pictures[:, y : old_height - y, x : old_width - x]


def _lanczos(pictures: Pictures, width: int, height: int) -> Pictures:
    resized = [
        np.asarray(
            Image.fromarray(np.clip(255.0 * picture.squeeze(), 0, 255).astype(np.uint8)).resize(
                (width, height), Image.Resampling.LANCZOS
            ),
            dtype=np.float32,
        ).reshape(height, width, -1)
        for picture in pictures
    ]
    return np.stack(resized) / np.float32(255)


def _resize_axis(pictures: Pictures, size: int, axis: int, method: str) -> Pictures:
    old = pictures.shape[axis]
    if old == size:
        return pictures
    if method == "nearest-exact":
        index = np.minimum(np.floor((np.arange(size) + 0.5) * (old / size)).astype(np.int64), old - 1)
        return np.take(pictures, index, axis=axis)
    if method == "area":
        return _area(pictures, size, axis)
    positions = (np.arange(size) + 0.5) * (old / size) - 0.5
    if method == "bilinear":
        positions = np.maximum(positions, 0)
        first = np.minimum(np.floor(positions).astype(np.int64), old - 1)
        fraction = positions - first
        taps = [(first, 1 - fraction), (np.minimum(first + 1, old - 1), fraction)]
    elif method == "bicubic":
        first = np.floor(positions).astype(np.int64)
        weights = _cubic_weights(positions - first)
        taps = [(np.clip(first + k - 1, 0, old - 1), weight) for k, weight in enumerate(weights)]
    else:
        raise ValueError(f"unknown resampling method {method!r}")
    return _weighted(pictures, taps, axis)


def _weighted(
    pictures: Pictures, taps: list[tuple[NDArray[np.int64], NDArray[np.float64]]], axis: int
) -> Pictures:
    shape: list[int] = [1] * pictures.ndim
    shape[axis] = -1
    total: Any = 0
    for index, weight in taps:
        total = total + np.take(pictures, index, axis=axis) * weight.astype(np.float32).reshape(shape)
    return total


def _cubic_weights(t: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    def near(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return ((CUBIC_A + 2) * x - (CUBIC_A + 3)) * x * x + 1

    def far(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return ((CUBIC_A * x - 5 * CUBIC_A) * x + 8 * CUBIC_A) * x - 4 * CUBIC_A

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]


def _area(pictures: Pictures, size: int, axis: int) -> Pictures:
    old = pictures.shape[axis]
    index = np.arange(size)
    start = (index * old) // size
    end = -((-(index + 1) * old) // size)
    sums = np.cumsum(pictures, axis=axis, dtype=np.float64)
    sums = np.concatenate([np.zeros_like(np.take(sums, [0], axis=axis)), sums], axis=axis)
    shape: list[int] = [1] * pictures.ndim
    shape[axis] = -1
    means = (np.take(sums, end, axis=axis) - np.take(sums, start, axis=axis)) / (end - start).reshape(shape)
    return means.astype(np.float32)
