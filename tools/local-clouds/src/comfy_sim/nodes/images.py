"""Model-free picture nodes, for real. Pictures are float32 (batch, height, width, channels), values 0 to 1."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..resampling import Pictures, resize
from ..torch_random import randn
from .registry import Context, NodeError, Result, node

COLORS = {
    "white": (1.0, 1.0, 1.0),
    "black": (0.0, 0.0, 0.0),
    "red": (1.0, 0.0, 0.0),
    "green": (0.0, 1.0, 0.0),
    "blue": (0.0, 0.0, 1.0),
}

KONTEXT_SIZES = [
    (672, 1568),
    (688, 1504),
    (720, 1456),
    (752, 1392),
    (800, 1328),
    (832, 1248),
    (880, 1184),
    (944, 1104),
    (1024, 1024),
    (1104, 944),
    (1184, 880),
    (1248, 832),
    (1328, 800),
    (1392, 752),
    (1456, 720),
    (1504, 688),
    (1568, 672),
]
"""Width and height in pixels that Flux Kontext prefers (the model's published list)."""


def one(*values: Any) -> Result:
    """A result with these outputs."""
    return Result(outputs=values)


def repeat_to_batch(pictures: NDArray[Any], count: int) -> NDArray[Any]:
    """Repeats or cuts a batch to `count` pictures."""
    if pictures.shape[0] < count:
        times = math.ceil(count / pictures.shape[0])
        pictures = np.tile(pictures, (times, *[1] * (pictures.ndim - 1)))
    return pictures[:count]


def match_alpha(left: Pictures, right: Pictures) -> tuple[Pictures, Pictures]:
    """Gives the first picture's number of channels to the second, as compositing nodes do."""
    channels = left.shape[-1]
    if right.shape[-1] > channels:
        right = right[..., :channels]
    elif right.shape[-1] < channels:
        opaque = np.ones((*right.shape[:-1], channels - right.shape[-1]), dtype=np.float32)
        right = np.concatenate([right, opaque], axis=-1)
    return left, right


@node("EmptyImage")
def empty_image(_: Context, *, width: int, height: int, batch_size: int = 1, color: int = 0) -> Result:
    channels = [(color >> shift & 0xFF) / 255 for shift in (16, 8, 0)]
    return one(
        np.full((batch_size, height, width, 3), np.array(channels, dtype=np.float32), dtype=np.float32)
    )


@node("ImageInvert")
def invert(_: Context, *, image: Pictures) -> Result:
    return one(1 - image)


@node("ImageScale")
def scale(_: Context, *, image: Pictures, upscale_method: str, width: int, height: int, crop: str) -> Result:
    old_height, old_width = image.shape[1:3]
    if width == 0 and height == 0:
        return one(image)
    if width == 0:
        width = max(1, round(old_width * height / old_height))
    elif height == 0:
        height = max(1, round(old_height * width / old_width))
    return one(resize(image, width, height, upscale_method, crop))


@node("ImageScaleBy")
def scale_by(_: Context, *, image: Pictures, upscale_method: str, scale_by: float) -> Result:
    height, width = image.shape[1:3]
    return one(resize(image, round(width * scale_by), round(height * scale_by), upscale_method))


@node("ImageScaleToTotalPixels")
def scale_to_total_pixels(_: Context, *, image: Pictures, upscale_method: str, megapixels: float) -> Result:
    height, width = image.shape[1:3]
    factor = math.sqrt(int(megapixels * 1024 * 1024) / (width * height))
    return one(resize(image, round(width * factor), round(height * factor), upscale_method))


@node("ImageScaleToMaxDimension")
def scale_to_max_dimension(_: Context, *, image: Pictures, upscale_method: str, largest_size: int) -> Result:
    height, width = image.shape[1:3]
    if height > width:
        size = (round(width / height * largest_size), largest_size)
    elif width > height:
        size = (largest_size, round(height / width * largest_size))
    else:
        size = (largest_size, largest_size)
    return one(resize(image, *size, upscale_method))


@node("FluxKontextImageScale")
def kontext_scale(_: Context, *, image: Pictures) -> Result:
    height, width = image.shape[1:3]
    aspect = width / height
    best = min((abs(aspect - w / h), w, h) for w, h in KONTEXT_SIZES)
    return one(resize(image, best[1], best[2], "lanczos", "center"))


@node("ResizeAndPadImage")
def resize_and_pad(
    _: Context,
    *,
    image: Pictures,
    target_width: int,
    target_height: int,
    padding_color: str,
    interpolation: str,
) -> Result:
    batch, height, width, channels = image.shape
    factor = min(target_width / width, target_height / height)
    new_width, new_height = int(width * factor), int(height * factor)
    padded = np.full(
        (batch, target_height, target_width, channels),
        0.0 if padding_color == "black" else 1.0,
        dtype=np.float32,
    )
    top, left = (target_height - new_height) // 2, (target_width - new_width) // 2
    padded[:, top : top + new_height, left : left + new_width] = resize(
        image, new_width, new_height, interpolation
    )
    return one(padded)


@node("ImageBlend")
def blend(_: Context, *, image1: Pictures, image2: Pictures, blend_factor: float, blend_mode: str) -> Result:
    image1, image2 = match_alpha(image1, image2)
    if image1.shape != image2.shape:
        image2 = resize(image2, image1.shape[2], image1.shape[1], "bicubic", "center")
    factor = np.float32(blend_factor)
    mixed = image1 * (1 - factor) + _blended(image1, image2, blend_mode) * factor
    return one(np.clip(mixed, 0, 1).astype(np.float32))


def _blended(a: Pictures, b: Pictures, mode: str) -> Pictures:
    match mode:
        case "normal":
            return b
        case "multiply":
            return a * b
        case "screen":
            return 1 - (1 - a) * (1 - b)
        case "overlay":
            return np.where(a <= 0.5, 2 * a * b, 1 - 2 * (1 - a) * (1 - b))
        case "soft_light":
            return np.where(b <= 0.5, a - (1 - 2 * b) * a * (1 - a), a + (2 * b - 1) * (_soft_curve(a) - a))
        case "difference":
            return a - b
        case _:
            raise NodeError(f"Unsupported blend mode: {mode}", "ValueError")


def _soft_curve(x: Pictures) -> Pictures:
    return np.where(x <= 0.25, ((16 * x - 12) * x + 4) * x, np.sqrt(np.maximum(x, 0)))


@node("ImageBlur")
def blur(_: Context, *, image: Pictures, blur_radius: int, sigma: float) -> Result:
    return one(image if blur_radius == 0 else gaussian(image, blur_radius, sigma))


@node("ImageSharpen")
def sharpen(_: Context, *, image: Pictures, sharpen_radius: int, sigma: float, alpha: float) -> Result:
    if sharpen_radius == 0:
        return one(image)
    amount = np.float32(alpha * 10)
    sharpened = (1 + amount) * image - amount * gaussian(image, sharpen_radius, sigma)
    return one(np.clip(sharpened, 0, 1).astype(np.float32))


def gaussian(image: Pictures, radius: int, sigma: float) -> Pictures:
    """Gaussian blur over a window of 2·radius+1 pixels whose edge is one unit from the centre, mirrored borders."""
    if radius >= min(image.shape[1:3]):
        raise NodeError(
            "Padding size should be less than the corresponding input dimension, but got: padding "
            f"({radius}, {radius}) at dimension {2 if radius >= image.shape[1] else 3} of input "
            f"{[image.shape[0], image.shape[3], image.shape[1], image.shape[2]]}"
        )
    x = np.linspace(-1, 1, 2 * radius + 1, dtype=np.float64)
    weights = np.exp(-(x * x) / (2 * sigma * sigma))
    weights = (weights / weights.sum()).astype(np.float32)
    return _convolve(_convolve(image, weights, 1), weights, 2)


def _convolve(image: Pictures, weights: NDArray[np.float32], axis: int, mode: str = "reflect") -> Pictures:
    radius = len(weights) // 2
    padding = [(0, 0)] * image.ndim
    padding[axis] = (radius, radius)
    padded = np.pad(image, padding, mode=mode)  # pyright: ignore
    size = image.shape[axis]
    total = np.zeros_like(image)
    for offset, weight in enumerate(weights):
        total += weight * np.take(padded, range(offset, offset + size), axis=axis)
    return total


@node("ImageCrop")
def crop(_: Context, *, image: Pictures, width: int, height: int, x: int, y: int) -> Result:
    x, y = min(x, image.shape[2] - 1), min(y, image.shape[1] - 1)
    return one(image[:, y : y + height, x : x + width])


@node("ImageRotate")
def rotate(_: Context, *, image: Pictures, rotation: str) -> Result:
    turns = {"90": 1, "18": 2, "27": 3}.get(rotation[:2], 0)
    return one(np.ascontiguousarray(np.rot90(image, k=turns, axes=(2, 1))))


@node("ImageFlip")
def flip(_: Context, *, image: Pictures, flip_method: str) -> Result:
    return one(np.ascontiguousarray(np.flip(image, axis=1 if flip_method.startswith("x") else 2)))


@node("ImageBatch")
def batch(_: Context, *, image1: Pictures, image2: Pictures) -> Result:
    if image1.shape[-1] != image2.shape[-1]:
        if image1.shape[-1] > image2.shape[-1]:
            image2 = match_alpha(image1, image2)[1]
        else:
            image1 = match_alpha(image2, image1)[1]
    if image1.shape[1:] != image2.shape[1:]:
        image2 = resize(image2, image1.shape[2], image1.shape[1], "bilinear", "center")
    return one(np.concatenate([image1, image2]))


@node("RepeatImageBatch")
def repeat(_: Context, *, image: Pictures, amount: int) -> Result:
    return one(np.tile(image, (amount, 1, 1, 1)))


@node("ImageFromBatch")
def from_batch(_: Context, *, image: Pictures, batch_index: int, length: int) -> Result:
    start = min(image.shape[0] - 1, batch_index)
    return one(image[start : start + min(image.shape[0] - start, length)])


@node("GetImageSize")
def image_size(_: Context, *, image: Pictures) -> Result:
    return one(image.shape[2], image.shape[1], image.shape[0])


@node("ImageAddNoise")
def add_noise(_: Context, *, image: Pictures, seed: int, strength: float) -> Result:
    noise = randn(seed, image.size).reshape(image.shape)
    return one(np.clip(image + np.float32(strength) * noise, 0, 1).astype(np.float32))


@node("ImagePadForOutpaint")
def pad_for_outpaint(
    _: Context, *, image: Pictures, left: int, top: int, right: int, bottom: int, feathering: int
) -> Result:
    count, height, width, channels = image.shape
    size = (height + top + bottom, width + left + right)
    padded = np.full((count, *size, channels), 0.5, dtype=np.float32)
    padded[:, top : top + height, left : left + width] = image
    mask = np.ones(size, dtype=np.float32)
    inner = np.zeros((height, width), dtype=np.float32)
    if feathering > 0 and feathering * 2 < height and feathering * 2 < width:
        far = float("inf")
        rows, columns = np.arange(height, dtype=np.float64), np.arange(width, dtype=np.float64)
        vertical = np.minimum(rows if top else far, (height - rows) if bottom else far)
        horizontal = np.minimum(columns if left else far, (width - columns) if right else far)
        distance = np.minimum.outer(np.broadcast_to(vertical, height), np.broadcast_to(horizontal, width))
        inner = (np.clip((feathering - distance) / feathering, 0, None) ** 2).astype(np.float32)
        inner[distance >= feathering] = 0
    mask[top : top + height, left : left + width] = inner
    return one(padded, mask[None])


@node("ImageStitch")
def stitch(
    _: Context,
    *,
    image1: Pictures,
    direction: str,
    match_image_size: bool,
    spacing_width: int,
    spacing_color: str,
    image2: Pictures | None = None,
) -> Result:
    if image2 is None:
        return one(image1)
    count = max(image1.shape[0], image2.shape[0])
    image1, image2 = (_repeat_last(picture, count) for picture in (image1, image2))
    sideways = direction in ("left", "right")
    along, across = (2, 1) if sideways else (1, 2)
    color = COLORS[spacing_color]
    if match_image_size:
        aspect = image2.shape[2] / image2.shape[1]
        height, width = image1.shape[1:3]
        size = (int(height * aspect), height) if sideways else (width, int(width / aspect))
        image2 = resize(image2, *size, "lanczos")
    else:
        border = color[0] if spacing_color in ("white", "black") else 0.0
        length = max(image1.shape[across], image2.shape[across])
        image1, image2 = (_pad_centred(picture, length, across, border) for picture in (image1, image2))
    channels = max(image1.shape[-1], image2.shape[-1])
    image1, image2 = (_with_channels(picture, channels) for picture in (image1, image2))
    parts = [image2, image1] if direction in ("left", "up") else [image1, image2]
    if spacing_width > 0:
        shape = list(image1.shape)
        shape[along] = spacing_width + spacing_width % 2
        shape[across] = max(image1.shape[across], image2.shape[across])
        gap = np.ones(shape, dtype=np.float32)
        gap[..., :3] = np.array(color[: min(3, channels)], dtype=np.float32)
        parts.insert(1, gap)
    return one(np.concatenate(parts, axis=along))


def _repeat_last(pictures: Pictures, count: int) -> Pictures:
    missing = count - pictures.shape[0]
    return pictures if missing <= 0 else np.concatenate([pictures, np.repeat(pictures[-1:], missing, axis=0)])


def _pad_centred(pictures: Pictures, length: int, axis: int, value: float) -> Pictures:
    missing = length - pictures.shape[axis]
    padding = [(0, 0)] * 4
    padding[axis] = (missing // 2, missing - missing // 2)
    return np.pad(pictures, padding, constant_values=value)


def _with_channels(pictures: Pictures, channels: int) -> Pictures:
    missing = channels - pictures.shape[-1]
    if missing <= 0:
        return pictures
    return np.concatenate([pictures, np.ones((*pictures.shape[:-1], missing), dtype=np.float32)], axis=-1)


@node("ImageRGBToYUV")
def rgb_to_yuv(_: Context, *, image: Pictures) -> Result:
    r, g, b = (image[..., i : i + 1] for i in range(3))
    y = 0.299 * r + 0.587 * g + 0.114 * b
    planes = (y, (b - y) * 0.564 + 0.5, (r - y) * 0.713 + 0.5)
    return one(*(np.broadcast_to(plane, image.shape).astype(np.float32) for plane in planes))


@node("ImageYUVToRGB")
def yuv_to_rgb(_: Context, **planes: Pictures) -> Result:
    y, u, v = (planes[name].mean(axis=-1, keepdims=True) for name in ("Y", "U", "V"))
    u, v = u - 0.5, v - 0.5
    rgb = [y + 1.403 * v, y - 0.714 * v - 0.344 * u, y + 1.773 * u]
    return one(np.clip(np.concatenate(rgb, axis=-1), 0, 1).astype(np.float32))
