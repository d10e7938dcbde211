"""The WebSocket side: who is connected, and messages to one or all of them."""

from __future__ import annotations

import asyncio
import io
import json
import struct
import uuid
from typing import Any

from aiohttp import WSMsgType, web
from PIL import Image

from .executor import Executor
from .prompt_queue import PromptQueue

PREVIEW_IMAGE = 1
"""Binary event: a preview (ComfyUI's BinaryEventTypes)."""

PREVIEW_FORMATS = {"JPEG": 1, "PNG": 2}
MAXIMUM_PREVIEW = 512
"""Longest side of a preview, in pixels (ComfyUI's --preview-size)."""

FEATURES = {"supports_preview_metadata": True, "max_upload_size": 104857600}
"""What GET /features answers (ComfyUI 0.3.64)."""


class Sockets:
    """Implements the executor's Audience; may be called from its thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._sockets: dict[str, web.WebSocketResponse] = {}
        self._messages: asyncio.Queue[tuple[Any, str | None]] = asyncio.Queue()
        self._sender: asyncio.Task[None] | None = None
        self.queue: PromptQueue
        self.executor: Executor

    def start(self) -> None:
        """Starts delivering messages."""
        self._sender = asyncio.create_task(self._deliver())

    async def stop(self) -> None:
        """Closes every socket and stops."""
        if self._sender is not None:
            self._sender.cancel()
        for socket in list(self._sockets.values()):
            await socket.close(message=b"server shutdown")

    def queue_info(self) -> dict[str, Any]:
        """What `status` messages and GET /prompt say."""
        return {"exec_info": {"queue_remaining": self.queue.remaining()}}

    def queue_changed(self) -> None:
        """Tells everybody how long the queue is."""
        self.send("status", {"status": self.queue_info()}, None)

    def send(self, event: str, data: Any, client_id: str | None) -> None:
        """Queues a JSON message for one client, or for all with None."""
        text = json.dumps({"type": event, "data": data}, default=str)
        self._loop.call_soon_threadsafe(self._messages.put_nowait, (text, client_id))

    def send_preview(self, image_format: str, image: Any, client_id: str | None) -> None:
        """Queues a preview as a binary message: event, format, then the file."""
        picture: Image.Image = image
        picture.thumbnail((MAXIMUM_PREVIEW, MAXIMUM_PREVIEW))
        buffer = io.BytesIO()
        buffer.write(struct.pack(">II", PREVIEW_IMAGE, PREVIEW_FORMATS[image_format]))
        picture.save(buffer, format=image_format, quality=95, compress_level=1)
        self._loop.call_soon_threadsafe(self._messages.put_nowait, (buffer.getvalue(), client_id))

    def drop(self) -> None:
        """Closes every connection without a goodbye (a fault)."""
        self._loop.call_soon_threadsafe(self._abort_all)

    def _abort_all(self) -> None:
        for socket in self._sockets.values():
            transport = socket._req.transport if socket._req is not None else None  # pyright: ignore
            if transport is not None:
                transport.abort()

    async def _deliver(self) -> None:
        while True:
            message, client_id = await self._messages.get()
            targets = list(self._sockets.values()) if client_id is None else [self._sockets.get(client_id)]
            for socket in targets:
                if socket is None or socket.closed:
                    continue
                try:
                    await (
                        socket.send_bytes(message) if isinstance(message, bytes) else socket.send_str(message)
                    )
                except (ConnectionError, RuntimeError):
                    continue

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """GET /ws?clientId=…"""
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        client_id = request.rel_url.query.get("clientId", "") or uuid.uuid4().hex
        self._sockets.pop(client_id, None)
        self._sockets[client_id] = socket
        try:
            await socket.send_json(
                {"type": "status", "data": {"status": self.queue_info(), "sid": client_id}}
            )
            current = self.executor.current
            if current is not None and current[0] == client_id:
                await socket.send_json({"type": "executing", "data": {"node": current[1]}})
            await self._receive(socket)
        except ConnectionError:
            pass
        finally:
            if self._sockets.get(client_id) is socket:
                del self._sockets[client_id]
        return socket

    async def _receive(self, socket: web.WebSocketResponse) -> None:
        first = True
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            try:
                data = json.loads(message.data)
            except json.JSONDecodeError:
                continue
            if first and isinstance(data, dict) and data.get("type") == "feature_flags":  # pyright: ignore
                await socket.send_json({"type": "feature_flags", "data": FEATURES})
            first = False
