"""Uploads and views: the routes that touch files, with ComfyUI's checks of paths."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import mimetypes
import os
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.multipart import BodyPartReader
from PIL import Image

from .faults import Faults
from .folders import Folders

DANGEROUS_TYPES = {"text/html", "text/html-sandboxed", "application/xhtml+xml", "text/javascript", "text/css"}
"""Sent as a download, so that no browser runs them."""


class FileRoutes:
    """POST /upload/image, POST /upload/mask and GET /view."""

    def __init__(self, folders: Folders, faults: Faults) -> None:
        self._folders = folders
        self._faults = faults

    def routes(self) -> list[web.RouteDef]:
        """The routes, without a prefix."""
        return [
            web.post("/upload/image", self.upload_image),
            web.post("/upload/mask", self.upload_mask),
            web.get("/view", self.view),
        ]

    async def upload_image(self, request: web.Request) -> web.Response:
        """Stores a file in the input folder (or `type`), under another name when one of other content is there."""
        return await self._upload(request, mask=False)

    async def upload_mask(self, request: web.Request) -> web.Response:
        """Stores a picture whose alpha channel is that of the upload and the rest that of `original_ref`."""
        return await self._upload(request, mask=True)

    async def _upload(self, request: web.Request, mask: bool) -> web.Response:
        fields, filename, content = await _multipart(request)
        kind = fields.get("type", "input")
        root = self._folders.of_type(kind)
        if root is None:
            # The real one fails with an unbound variable here.
            raise ValueError(f"unknown upload type {kind!r}")
        if not filename or content is None:
            return web.Response(status=400)
        subfolder = fields.get("subfolder", "")
        target = _inside(root, os.path.join(os.path.normpath(subfolder), filename))
        if target is None:
            return web.Response(status=400)
        overwrite = fields.get("overwrite") in ("true", "1")
        if mask:
            masked = await asyncio.to_thread(self._masked, fields, content)
            if isinstance(masked, web.Response):
                return masked
            content = masked
        name = await asyncio.to_thread(_store, target, content, overwrite)
        return web.json_response({"name": name, "subfolder": subfolder, "type": kind})

    def _masked(self, fields: dict[str, str], content: bytes) -> bytes | web.Response:
        reference: dict[str, Any] = json.loads(fields["original_ref"])
        name = str(reference["filename"])
        if not name or name.startswith("/") or ".." in name:
            return web.Response(status=400)
        root = self._folders.of_type(reference.get("type", "output"))
        if root is None:
            return web.Response(status=400)
        folder = _inside(root, reference.get("subfolder", ""))
        if folder is None:
            return web.Response(status=403)
        with Image.open(folder / name) as original, Image.open(io.BytesIO(content)) as upload:
            picture = original.convert("RGBA")
            picture.putalpha(upload.convert("RGBA").getchannel("A"))
        buffer = io.BytesIO()
        picture.save(buffer, format="PNG", compress_level=4)
        return buffer.getvalue()

    async def view(self, request: web.Request) -> web.StreamResponse:
        """Serves a file of the input, output or temp folder, whole, as a preview or one channel of it."""
        query = request.rel_url.query
        if "filename" not in query:
            return web.Response(status=404)
        name, kind = _annotation(query["filename"], query.get("type", "output"))
        if not name or name.startswith("/") or ".." in name:
            return web.Response(status=400)
        root = self._folders.of_type(kind)
        if root is None:
            return web.Response(status=400)
        folder = _inside(root, query.get("subfolder", ""))
        if folder is None:
            return web.Response(status=403)
        file = folder / os.path.basename(name)
        if not file.is_file():
            return web.Response(status=404)
        headers = {"Content-Disposition": f'filename="{file.name}"'}
        if "preview" in query:
            body, content_type = await asyncio.to_thread(
                _preview, file, query["preview"].split(";"), query.get("channel", "")
            )
            return web.Response(body=body, content_type=content_type, headers=headers)
        if query.get("channel") in ("rgb", "a"):
            body = await asyncio.to_thread(_channel, file, query["channel"])
            return web.Response(body=body, content_type="image/png", headers=headers)
        if self._faults.strikes("truncate-view"):
            return await _truncated(request, file)
        content_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        if content_type in DANGEROUS_TYPES:
            content_type = "application/octet-stream"
        return web.FileResponse(file, headers={**headers, "Content-Type": content_type})


async def _multipart(request: web.Request) -> tuple[dict[str, str], str | None, bytes | None]:
    fields: dict[str, str] = {}
    filename: str | None = None
    content: bytes | None = None
    if not request.content_type.startswith("multipart/"):
        return fields, None, None
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader):
            continue
        data = bytes(await part.read(decode=True))
        if part.name == "image" and part.filename is not None:
            filename, content = part.filename, data
        elif part.name is not None:
            fields[part.name] = data.decode("utf-8", "replace")
    return fields, filename, content


def _annotation(name: str, kind: str) -> tuple[str, str]:
    for folder in ("output", "input", "temp"):
        if name.endswith(f"[{folder}]"):
            return name[: -len(folder) - 3], folder
    return name, kind


def _inside(root: Path, relative: str) -> Path | None:
    path = Path(os.path.abspath(os.path.join(root, relative)))
    return path if path.is_relative_to(os.path.abspath(root)) else None


def _store(target: Path, content: bytes, overwrite: bool) -> str:
    target.parent.mkdir(parents=True, exist_ok=True)
    free, number = target, 1
    while not overwrite and free.exists():
        if hashlib.sha256(free.read_bytes()).digest() == hashlib.sha256(content).digest():
            return free.name
        free = target.with_name(f"{target.stem} ({number}){target.suffix}")
        number += 1
    free.write_bytes(content)
    return free.name


def _preview(file: Path, options: list[str], channel: str) -> tuple[bytes, str]:
    image_format = options[0] if options[0] in ("webp", "jpeg") and "a" not in channel else "webp"
    quality = int(options[-1]) if options[-1].isdigit() else 90
    buffer = io.BytesIO()
    with Image.open(file) as image:
        flat = image.convert("RGB") if image_format == "jpeg" or channel == "rgb" else image
        flat.save(buffer, format=image_format, quality=quality)
    return buffer.getvalue(), f"image/{image_format}"


def _channel(file: Path, channel: str) -> bytes:
    buffer = io.BytesIO()
    with Image.open(file) as image:
        if channel == "rgb":
            result = image.convert("RGB")
        else:
            alpha = image.getchannel("A") if image.mode == "RGBA" else Image.new("L", image.size, 255)
            result = Image.new("RGBA", image.size)
            result.putalpha(alpha)
        result.save(buffer, format="PNG")
    return buffer.getvalue()


async def _truncated(request: web.Request, file: Path) -> web.StreamResponse:
    content = file.read_bytes()
    response = web.StreamResponse(headers={"Content-Length": str(len(content))})
    await response.prepare(request)
    await response.write(content[: len(content) // 2])
    if request.transport is not None:
        request.transport.abort()
    return response
