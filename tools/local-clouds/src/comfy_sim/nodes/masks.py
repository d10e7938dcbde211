"""Mask and compositing nodes, for real. Masks are float32 (batch, height, width), values 0 to 1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..resampling import Pictures, bilinear, resize
from .images import match_alpha, one, repeat_to_batch
from .registry import Context, NodeError, Result, node

Masks = NDArray[np.float32]
CHANNELS = ["red", "green", "blue", "alpha"]


def batched(mask: Masks) -> Masks:
    """A mask as (batch, height, width), whatever leading dimensions it has."""
    return mask.reshape(-1, *mask.shape[-2:])


def resize_mask(mask: Masks, width: int, height: int) -> Masks:
    """Bilinear resize of masks."""
    return bilinear(batched(mask)[..., None], width, height)[..., 0]


@node("SolidMask")
def solid(_: Context, *, value: float, width: int, height: int) -> Result:
    return one(np.full((1, height, width), value, dtype=np.float32))


@node("InvertMask")
def invert(_: Context, *, mask: Masks) -> Result:
    return one(1 - mask)


@node("CropMask")
def crop(_: Context, *, mask: Masks, x: int, y: int, width: int, height: int) -> Result:
    return one(batched(mask)[:, y : y + height, x : x + width])


@node("MaskToImage")
def to_image(_: Context, *, mask: Masks) -> Result:
    return one(np.repeat(batched(mask)[..., None], 3, axis=-1))


@node("ImageToMask")
def from_image(_: Context, *, image: Pictures, channel: str) -> Result:
    index = CHANNELS.index(channel)
    if index >= image.shape[-1]:
        raise NodeError(
            f"index {index} is out of bounds for dimension 3 with size {image.shape[-1]}", "IndexError"
        )
    return one(image[..., index])


@node("ImageColorToMask")
def from_color(_: Context, *, image: Pictures, color: int) -> Result:
    samples = np.rint(np.clip(image, 0, 1) * 255).astype(np.int64)
    value = (samples[..., 0] << 16) + (samples[..., 1] << 8) + samples[..., 2]
    return one((value == color).astype(np.float32))


@node("ThresholdMask")
def threshold(_: Context, *, mask: Masks, value: float) -> Result:
    return one((mask > np.float32(value)).astype(np.float32))


@node("FeatherMask")
def feather(_: Context, *, mask: Masks, left: int, top: int, right: int, bottom: int) -> Result:
    output = batched(mask).copy()
    height, width = output.shape[1:]
    left, right, top, bottom = min(left, width), min(right, width), min(top, height), min(bottom, height)
    # The real node's right and bottom loops write to index -x, so that x = 0 is the first column (or row).
    for x in range(left):
        output[:, :, x] *= (x + 1.0) / left
    for x in range(right):
        output[:, :, -x] *= (x + 1) / right
    for y in range(top):
        output[:, y, :] *= (y + 1) / top
    for y in range(bottom):
        output[:, -y, :] *= (y + 1) / bottom
    return one(output)


@node("GrowMask")
def grow(context: Context, *, mask: Masks, expand: int, tapered_corners: bool) -> Result:
    output = batched(mask).copy()
    combine = np.minimum if expand < 0 else np.maximum
    for _ in range(abs(expand)):
        context.wait(0)
        padded = np.pad(output, ((0, 0), (1, 1), (1, 1)), mode="symmetric")
        height, width = output.shape[1:]
        offsets = [(0, 1), (1, 0), (1, 1), (1, 2), (2, 1)]
        if not tapered_corners:
            offsets += [(0, 0), (0, 2), (2, 0), (2, 2)]
        shifted = [padded[:, y : y + height, x : x + width] for y, x in offsets]
        output = combine.reduce(shifted)
    return one(output)


@node("MaskComposite")
def composite_masks(
    _: Context, *, destination: Masks, source: Masks, x: int, y: int, operation: str
) -> Result:
    output, source = batched(destination).copy(), batched(source)
    right = min(x + source.shape[-1], output.shape[-1])
    bottom = min(y + source.shape[-2], output.shape[-2])
    above, below = source[:, : bottom - y, : right - x], output[:, y:bottom, x:right]
    output[:, y:bottom, x:right] = _combined(below, above, operation)
    return one(np.clip(output, 0, 1))


def _combined(below: Masks, above: Masks, operation: str) -> Any:
    match operation:
        case "multiply":
            return below * above
        case "add":
            return below + above
        case "subtract":
            return below - above
        case "and":
            return (np.rint(below) != 0) & (np.rint(above) != 0)
        case "or":
            return (np.rint(below) != 0) | (np.rint(above) != 0)
        case "xor":
            return (np.rint(below) != 0) ^ (np.rint(above) != 0)
        case _:
            raise NodeError(f"unknown mask operation {operation}", "ValueError")


@node("ImageCompositeMasked")
def composite_images(
    _: Context,
    *,
    destination: Pictures,
    source: Pictures,
    x: int,
    y: int,
    resize_source: bool,
    mask: Masks | None = None,
) -> Result:
    destination, source = match_alpha(destination, source)
    output = destination.copy()
    height, width = output.shape[1:3]
    if resize_source:
        source = bilinear(source, width, height)
    source = repeat_to_batch(source, output.shape[0])
    x = max(-source.shape[2], min(x, width))
    y = max(-source.shape[1], min(y, height))
    if mask is None:
        weight = np.ones((source.shape[0], *source.shape[1:3]), dtype=np.float32)
    else:
        weight = repeat_to_batch(resize_mask(mask, source.shape[2], source.shape[1]), source.shape[0])
    visible_width, visible_height = width - x + min(0, x), height - y + min(0, y)
    weight = weight[:, :visible_height, :visible_width, None]
    area = (slice(None), slice(y, y + source.shape[1]), slice(x, x + source.shape[2]))
    output[area] = weight * source[:, :visible_height, :visible_width] + (1 - weight) * output[area]
    return one(output)


@node("JoinImageWithAlpha")
def join_alpha(_: Context, *, image: Pictures, alpha: Masks) -> Result:
    count = min(len(image), len(alpha))
    opacity = 1 - resize_mask(alpha, image.shape[2], image.shape[1])
    return one(np.concatenate([image[:count, ..., :3], opacity[:count, ..., None]], axis=-1))


@node("SplitImageWithAlpha")
def split_alpha(_: Context, *, image: Pictures) -> Result:
    alpha = image[..., 3] if image.shape[-1] > 3 else np.ones_like(image[..., 0])
    return one(image[..., :3], 1 - alpha)


@node("PorterDuffImageComposite")
def porter_duff(
    _: Context,
    *,
    source: Pictures,
    source_alpha: Masks,
    destination: Pictures,
    destination_alpha: Masks,
    mode: str,
) -> Result:
    images: list[Pictures] = []
    masks: list[Masks] = []
    count = min(len(source), len(source_alpha), len(destination), len(destination_alpha))
    for i in range(count):
        dst = destination[i : i + 1]
        height, width = dst.shape[1:3]
        if source.shape[-1] != dst.shape[-1]:
            raise NodeError("source and destination must have the same number of channels", "AssertionError")
        dst_alpha = resize_mask(destination_alpha[i : i + 1], width, height)[..., None]
        src = source[i : i + 1]
        if src.shape[1:3] != (height, width):
            src = resize(src, width, height, "bicubic", "center")
        src_alpha = resize_mask(source_alpha[i : i + 1], width, height)[..., None]
        image, alpha = _porter_duff(src, 1 - src_alpha, dst, 1 - dst_alpha, mode)
        images.append(image)
        masks.append(1 - alpha[..., 0])
    return one(np.concatenate(images), np.concatenate(masks))


def _porter_duff(
    src: Pictures, sa: Pictures, dst: Pictures, da: Pictures, mode: str
) -> tuple[Pictures, Pictures]:
    s, d = src * sa, dst * da
    union = sa + da - sa * da
    image, alpha = {
        "ADD": lambda: (np.clip(s + d, 0, 1), np.clip(sa + da, 0, 1)),
        "CLEAR": lambda: (np.zeros_like(d), np.zeros_like(da)),
        "DARKEN": lambda: ((1 - da) * s + (1 - sa) * d + np.minimum(s, d), union),
        "DST": lambda: (d, da),
        "DST_ATOP": lambda: (sa * d + (1 - da) * s, sa),
        "DST_IN": lambda: (d * sa, sa * da),
        "DST_OUT": lambda: ((1 - sa) * d, (1 - sa) * da),
        "DST_OVER": lambda: (d + (1 - da) * s, da + (1 - da) * sa),
        "LIGHTEN": lambda: ((1 - da) * s + (1 - sa) * d + np.maximum(s, d), union),
        "MULTIPLY": lambda: (s * d, sa * da),
        "OVERLAY": lambda: (np.where(2 * d < da, 2 * s * d, sa * da - 2 * (da - s) * (sa - d)), union),
        "SCREEN": lambda: (s + d - s * d, union),
        "SRC": lambda: (s, sa),
        "SRC_ATOP": lambda: (da * s + (1 - sa) * d, da),
        "SRC_IN": lambda: (s * da, sa * da),
        "SRC_OUT": lambda: ((1 - da) * s, (1 - da) * sa),
        "SRC_OVER": lambda: (s + (1 - sa) * d, sa + (1 - sa) * da),
        "XOR": lambda: ((1 - da) * s + (1 - sa) * d, (1 - da) * sa + (1 - sa) * da),
    }[mode]()
    visible = alpha > 1e-5
    straight = np.where(visible, image / np.where(visible, alpha, 1), 0)
    return np.clip(straight, 0, 1).astype(np.float32), alpha
