"""One socket to a ComfyUI for all jobs of a worker: a connection for each would cost every picture milliseconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from .client import ComfyClient, Message


class MessageHub:
    """Hands each message to all who listen. A newcomer hears `connected` first, when it is."""

    def __init__(self, client: ComfyClient) -> None:
        self._client = client
        self._listeners: set[asyncio.Queue[Message]] = set()
        self._connected = False
        self._task: asyncio.Task[None] | None = None

    async def messages(self) -> AsyncGenerator[Message, None]:
        """Messages from now on, forever."""
        mine: asyncio.Queue[Message] = asyncio.Queue()
        self._listeners.add(mine)
        try:
            if self._task is None:
                self._task = asyncio.create_task(self._listen())
            elif self._connected:
                yield Message("connected", {})
            while True:
                yield await mine.get()
        finally:
            self._listeners.discard(mine)

    async def _listen(self) -> None:
        async for message in self._client.messages():
            self._connected = message.type != "disconnected"
            for listener in self._listeners:
                listener.put_nowait(message)

    async def close(self) -> None:
        """Closes the socket."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
