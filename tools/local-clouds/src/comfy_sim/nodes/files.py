"""Nodes that read and write files: loading, saving and previewing, for real."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, ImageSequence
from PIL.PngImagePlugin import PngInfo

from ..resampling import Pictures
from .images import one
from .registry import Context, NodeError, Result, node

WEBP_METHODS = {"default": 4, "fastest": 0, "slowest": 6}


def to_pillow(picture: NDArray[Any]) -> Image.Image:
    """One picture as 8 bits a channel, cut off as ComfyUI does (no rounding)."""
    samples = np.clip(255.0 * picture, 0, 255).astype(np.uint8)
    return Image.fromarray(samples[..., 0] if samples.shape[-1] == 1 else samples)


@node("LoadImage", "LoadImageOutput")
def load_image(context: Context, *, image: str) -> Result:
    default = "output" if context.class_type == "LoadImageOutput" else "input"
    pictures: list[Pictures] = []
    masks: list[NDArray[np.float32]] = []
    with Image.open(context.folders.annotated(image, default)) as file:
        for raw in ImageSequence.Iterator(file):
            frame = ImageOps.exif_transpose(raw)
            if frame.mode == "I":
                frame = frame.point(lambda value: value * (1 / 255))  # pyright: ignore
            samples = np.asarray(frame.convert("RGB"), dtype=np.float32) / np.float32(255)
            if pictures and samples.shape != pictures[0].shape:
                continue
            pictures.append(samples)
            masks.append(_transparency(frame))
        animated = len(pictures) > 1 and file.format != "MPO"
    if not animated:
        pictures, masks = pictures[:1], masks[:1]
    return one(np.stack(pictures), np.stack(masks))


def _transparency(frame: Image.Image) -> NDArray[np.float32]:
    if "A" in frame.getbands():
        alpha = frame.getchannel("A")
    elif frame.mode == "P" and "transparency" in frame.info:
        alpha = frame.convert("RGBA").getchannel("A")
    else:
        return np.zeros((64, 64), dtype=np.float32)
    return 1 - np.asarray(alpha, dtype=np.float32) / np.float32(255)


@node("LoadImageMask")
def load_mask(context: Context, *, image: str, channel: str) -> Result:
    with Image.open(context.folders.annotated(image, "input")) as file:
        picture = ImageOps.exif_transpose(file)
        if picture.getbands() != ("R", "G", "B", "A"):
            if picture.mode == "I":
                picture = picture.point(lambda value: value * (1 / 255))  # pyright: ignore
            picture = picture.convert("RGBA")
        letter = channel[0].upper()
        if letter not in picture.getbands():
            return one(np.zeros((1, 64, 64), dtype=np.float32))
        mask = np.asarray(picture.getchannel(letter), dtype=np.float32) / np.float32(255)
    return one((1 - mask if letter == "A" else mask)[None])


def is_changed(context_folders: Any, class_type: str, inputs: Mapping[str, Any]) -> str:
    """What makes a loading node's cache entry stale: the hash of the file it reads."""
    name = inputs.get("image")
    if class_type not in ("LoadImage", "LoadImageMask", "LoadImageOutput") or not isinstance(name, str):
        return ""
    path: Path = context_folders.annotated(name, "output" if class_type == "LoadImageOutput" else "input")
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _metadata(context: Context) -> PngInfo:
    info = PngInfo()
    info.add_text("prompt", json.dumps(context.prompt))
    for name, value in (context.extra_pnginfo or {}).items():
        info.add_text(name, json.dumps(value))
    return info


def _save_pngs(
    context: Context, pictures: Pictures, prefix: str, kind: str, compress: int
) -> list[dict[str, str]]:
    if len(pictures) == 0:
        raise NodeError("index 0 is out of bounds for dimension 0 with size 0", "IndexError")
    place = context.folders.save_place(prefix, kind, pictures.shape[2], pictures.shape[1])
    saved: list[dict[str, str]] = []
    for number, picture in enumerate(pictures):
        name = f"{place.filename.replace('%batch_num%', str(number))}_{place.counter + number:05}_.png"
        to_pillow(picture).save(place.folder / name, pnginfo=_metadata(context), compress_level=compress)
        saved.append({"filename": name, "subfolder": place.subfolder, "type": kind})
    return saved


def _temporary(prefix: str) -> str:
    return f"{prefix}_temp_{''.join(random.choice('abcdefghijklmnopqrstupvxyz') for _ in range(5))}"


@node("SaveImage")
def save_image(context: Context, *, images: Pictures, filename_prefix: str = "ComfyUI") -> Result:
    return Result(ui={"images": _save_pngs(context, images, filename_prefix, "output", 4)})


@node("PreviewImage")
def preview_image(context: Context, *, images: Pictures) -> Result:
    return Result(ui={"images": _save_pngs(context, images, _temporary("ComfyUI"), "temp", 1)})


@node("MaskPreview")
def preview_mask(context: Context, *, mask: NDArray[np.float32]) -> Result:
    pictures = np.repeat(mask.reshape(-1, *mask.shape[-2:])[..., None], 3, axis=-1)
    return Result(ui={"images": _save_pngs(context, pictures, _temporary("ComfyUI"), "temp", 4)})


@node("SaveImageWebsocket")
def save_image_websocket(context: Context, *, images: Pictures) -> Result:
    for number, picture in enumerate(images):
        context.steps(number + 1, len(images), ("PNG", to_pillow(picture)))
    return Result()


@node("SaveAnimatedWEBP")
def save_webp(
    context: Context,
    *,
    images: Pictures,
    filename_prefix: str,
    fps: float,
    lossless: bool,
    quality: int,
    method: str,
) -> Result:
    place = context.folders.save_place(filename_prefix, "output", images.shape[2], images.shape[1])
    name = f"{place.filename}_{place.counter:05}_.webp"
    frames = [to_pillow(picture) for picture in images]
    metadata = frames[0].getexif()
    metadata[0x0110] = f"prompt:{json.dumps(context.prompt)}"
    frames[0].save(
        place.folder / name,
        save_all=True,
        duration=int(1000.0 / fps),
        append_images=frames[1:],
        exif=metadata,
        lossless=lossless,
        quality=quality,
        method=WEBP_METHODS[method],
    )
    return _animation(name, place.subfolder, len(frames) != 1)


@node("SaveAnimatedPNG")
def save_apng(
    context: Context, *, images: Pictures, fps: float, compress_level: int, filename_prefix: str = "ComfyUI"
) -> Result:
    place = context.folders.save_place(filename_prefix, "output", images.shape[2], images.shape[1])
    name = f"{place.filename}_{place.counter:05}_.png"
    frames = [to_pillow(picture) for picture in images]
    frames[0].save(
        place.folder / name,
        pnginfo=_metadata(context),
        compress_level=compress_level,
        save_all=True,
        duration=int(1000.0 / fps),
        append_images=frames[1:],
    )
    return _animation(name, place.subfolder, True)


def _animation(name: str, subfolder: str, animated: bool) -> Result:
    files: Sequence[Mapping[str, str]] = [{"filename": name, "subfolder": subfolder, "type": "output"}]
    return Result(ui={"images": files, "animated": [animated]})
