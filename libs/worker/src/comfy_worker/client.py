"""ComfyUI's protocol: HTTP calls, and one WebSocket that reconnects."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, BinaryIO

import aiohttp

from .errors import EngineUnavailable, InputFileRejected, OutputMissing, WorkflowRejected
from .job import InputFile
from .outputs import Output

CALL_TIMEOUT = 30.0
"""Seconds for a call without a body to speak of; ComfyUI's loop can stall while a node holds Python's lock."""

SUBMIT_TIMEOUT = 300.0
"""Seconds for POST /prompt: validation lists model folders, which is slow on a cold network volume."""

UNAVAILABLE = (502, 503, 504)
"""Statuses of a server, or of a proxy before it, that cannot answer now; 500 is ComfyUI's for a broken prompt."""

RECONNECT_DELAY = 0.2
"""Seconds before the first attempt to reconnect; doubled up to 5."""

PREVIEW_IMAGE, PREVIEW_WITH_METADATA = 1, 4
"""Binary events (ComfyUI's BinaryEventTypes)."""

PREVIEW_TYPES = {1: "image/jpeg", 2: "image/png"}


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the socket. `connected` is ours: the socket is (again) open, events before it may be lost."""

    type: str
    data: Mapping[str, Any]
    content: bytes = b""


class ComfyClient:
    """A client of one ComfyUI. Use it as an async context manager."""

    def __init__(self, url: str, *, client_id: str | None = None) -> None:
        self.url = url
        self.client_id = client_id or uuid.uuid4().hex
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> ComfyClient:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=CALL_TIMEOUT)
        self._session = aiohttp.ClientSession(timeout=timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """The open HTTP session."""
        if self._session is None:
            raise RuntimeError("ComfyClient is used outside `async with`")
        return self._session

    async def submit(
        self,
        job_id: str,
        workflow: Mapping[str, Any],
        extra_data: Mapping[str, Any] | None,
        *,
        client_id: str | None = None,
    ) -> dict[str, Any]:
        """POST /prompt under our id; messages go to the socket of `client_id`.

        Returns node_errors of output nodes that are left out while others run. Raises WorkflowRejected with
        ComfyUI's reasons, and EngineUnavailable when there is no answer: the job may then be queued all the same.
        """
        body: dict[str, Any] = {
            "prompt": workflow,
            "client_id": client_id or self.client_id,
            "prompt_id": job_id,
        }
        if extra_data:
            body["extra_data"] = dict(extra_data)
        patience = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=SUBMIT_TIMEOUT)
        async with self._call("POST", "/prompt", json=body, timeout=patience) as response:
            text = await response.text()
            if response.status in UNAVAILABLE:
                raise EngineUnavailable(f"ComfyUI answered POST /prompt with status {response.status}.")
            if response.status != 200:
                raise rejection(job_id, response.status, text)
            return json.loads(text).get("node_errors") or {}

    async def history(self, job_id: str) -> dict[str, Any] | None:
        """The entry of a finished job, or None."""
        document = await self._json("GET", f"/history/{job_id}")
        return document.get(job_id)

    async def queue(self) -> tuple[list[str], list[str]]:
        """Ids of the running and of the waiting jobs."""
        document = await self._json("GET", "/queue")
        return [item[1] for item in document["queue_running"]], [
            item[1] for item in document["queue_pending"]
        ]

    async def delete_queued(self, job_id: str) -> None:
        """Takes a waiting job out of the queue; a running one is not touched."""
        await self._post("/queue", {"delete": [job_id]})

    async def interrupt(self, job_id: str) -> None:
        """Interrupts the running job if it is this one. Older ComfyUI ignores the id: ask `queue` first."""
        await self._post("/interrupt", {"prompt_id": job_id})

    async def free(self) -> None:
        """Asks ComfyUI to unload models and free memory."""
        await self._post("/free", {"unload_models": True, "free_memory": True})

    async def node_classes(self) -> list[str]:
        """Names of all node classes that this ComfyUI has."""
        return list(await self._json("GET", "/object_info"))

    async def system_stats(self) -> dict[str, Any]:
        """Version and devices."""
        return await self._json("GET", "/system_stats")

    async def upload(self, file: InputFile, job_id: str) -> None:
        """Puts an input file where LoadImage finds it under its name. Raises InputFileRejected."""
        folder, name = split_input_name(file.name, job_id)
        try:
            with contextlib.ExitStack() as opened:
                content = file.content
                body = content if isinstance(content, bytes) else opened.enter_context(content.open("rb"))
                await self._upload(folder, name, body, file.name, job_id)
        except OSError as error:
            raise InputFileRejected(
                f"The input file {file.name!r} cannot be read: {error.strerror or error}.", job_id=job_id
            ) from error

    async def _upload(
        self, folder: str, name: str, body: bytes | BinaryIO, given_name: str, job_id: str
    ) -> None:
        form = aiohttp.FormData()
        form.add_field("image", body, filename=name, content_type="application/octet-stream")
        form.add_field("overwrite", "true")
        form.add_field("subfolder", folder)
        async with self._call("POST", "/upload/image", data=form) as response:
            if response.status in UNAVAILABLE:
                raise EngineUnavailable(f"ComfyUI answered POST /upload/image with status {response.status}.")
            if response.status != 200:
                raise InputFileRejected(
                    f"ComfyUI did not take the input file {given_name!r} (status {response.status}).",
                    job_id=job_id,
                )

    async def download(self, output: Output) -> AsyncIterator[bytes]:
        """The content of an output in pieces. Raises OutputMissing when it is gone or cut short."""
        query = {"filename": output.name, "subfolder": output.subfolder, "type": output.type}
        try:
            async with self._call("GET", "/view", params=query) as response:
                if response.status != 200:
                    raise OutputMissing(
                        f"The output {output.name} of node {output.node_id} cannot be read (status {response.status}).",
                        node_id=output.node_id,
                    )
                async for piece in response.content.iter_chunked(1 << 18):
                    yield piece
        except (aiohttp.ClientError, TimeoutError, ConnectionError, EngineUnavailable) as error:
            raise OutputMissing(
                f"The output {output.name} of node {output.node_id} was cut short: {error}.",
                node_id=output.node_id,
            ) from error

    async def messages(self, client_id: str | None = None) -> AsyncGenerator[Message, None]:
        """Messages of the socket, forever: it reconnects, and says `connected` and `disconnected` each time.

        After a `connected` that is not the first, look at `history` and `queue` for what was missed.
        """
        delay = RECONNECT_DELAY
        while True:
            try:
                address = f"{self.url}/ws?clientId={client_id or self.client_id}"
                async with self.session.ws_connect(address, max_msg_size=0, heartbeat=20) as socket:
                    delay = RECONNECT_DELAY
                    yield Message("connected", {})
                    async for raw in socket:
                        message = _parsed(raw)
                        if message is not None:
                            yield message
            except (aiohttp.ClientError, TimeoutError, ConnectionError):
                pass
            yield Message("disconnected", {})
            await asyncio.sleep(delay)
            delay = min(delay * 2, 5.0)

    def _call(self, method: str, path: str, **arguments: Any) -> _Call:
        return _Call(self.session.request(method, f"{self.url}{path}", **arguments))

    async def _json(self, method: str, path: str) -> dict[str, Any]:
        async with self._call(method, path) as response:
            if response.status != 200:
                raise EngineUnavailable(f"ComfyUI answered {method} {path} with status {response.status}.")
            return json.loads(await response.read())

    async def _post(self, path: str, body: Mapping[str, Any]) -> None:
        async with self._call("POST", path, json=body) as response:
            if response.status != 200:
                raise EngineUnavailable(f"ComfyUI answered POST {path} with status {response.status}.")


class _Call:
    """A request whose connection errors are EngineUnavailable."""

    def __init__(self, request: Any) -> None:
        self._request = request

    async def __aenter__(self) -> aiohttp.ClientResponse:
        try:
            return await self._request.__aenter__()
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise EngineUnavailable(f"ComfyUI does not answer: {error or type(error).__name__}.") from error

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._request.__aexit__(kind, error, trace)
        if isinstance(error, aiohttp.ClientError | TimeoutError | ConnectionError):
            raise EngineUnavailable(
                f"ComfyUI's answer broke off: {error or type(error).__name__}."
            ) from error


def split_input_name(name: str, job_id: str | None = None) -> tuple[str, str]:
    """Folder and file name of an input file. Raises InputFileRejected for a name that leads elsewhere."""
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise InputFileRejected(
            f"The input file name {name!r} is not allowed.",
            job_id=job_id,
            hint="Use a plain name, or a folder below ComfyUI's input folder: photo.png, faces/photo.png.",
        )
    return "/".join(parts[:-1]), parts[-1]


def rejection(job_id: str, status: int, text: str) -> WorkflowRejected:
    """ComfyUI's answer to a refused prompt as an error that names the node."""
    try:
        document: Any = json.loads(text)
    except json.JSONDecodeError:
        document = {}
    error: dict[str, Any] = document.get("error") or {} if isinstance(document, dict) else {}
    node_errors: dict[str, Any] = document.get("node_errors") or {} if isinstance(document, dict) else {}
    node_id, class_type, reason = _first_reason(error, node_errors)
    message = error.get("message") or f"ComfyUI answered with status {status}"
    return WorkflowRejected(
        f"ComfyUI refused the workflow: {message.rstrip('.')}{f': {reason}' if reason else ''}.",
        job_id=job_id,
        node_id=node_id,
        class_type=class_type,
        details={"error": error, "node_errors": node_errors},
        hint="Mend the workflow; the same one will be refused again.",
    )


def _first_reason(
    error: Mapping[str, Any], node_errors: Mapping[str, Any]
) -> tuple[str | None, str | None, str]:
    for node_id, entry in node_errors.items():
        reasons = entry.get("errors") or [{}]
        text = f"node {node_id} ({entry.get('class_type')}): {reasons[0].get('message')}: {reasons[0].get('details')}"
        return node_id, entry.get("class_type"), text
    details = str(error.get("details") or "")
    if details.startswith("Node ID '#"):
        return details[len("Node ID '#") : -1], None, details
    return None, None, details


def _parsed(raw: aiohttp.WSMessage) -> Message | None:
    """A frame as a message; custom nodes send frames of every shape, and what is none of ours is None."""
    try:
        if raw.type is aiohttp.WSMsgType.TEXT:
            document = json.loads(raw.data)
            data = document.get("data") if isinstance(document, dict) else None
            return Message(str(document["type"]), data) if isinstance(data, dict) else None
        if raw.type is aiohttp.WSMsgType.BINARY and len(raw.data) > 8:
            return _preview(raw.data)
    except (ValueError, KeyError, AttributeError):
        return None
    return None


def _preview(data: bytes) -> Message | None:
    event, image_format = struct.unpack(">II", data[:8])
    if event == PREVIEW_IMAGE:
        content_type = PREVIEW_TYPES.get(image_format, "application/octet-stream")
        return Message("preview", {"content_type": content_type}, data[8:])
    if event == PREVIEW_WITH_METADATA:
        metadata = json.loads(data[8 : 8 + image_format])
        content_type = metadata.get("image_type", "image/jpeg")
        data_map = {
            "content_type": content_type,
            "node": metadata.get("display_node_id") or metadata.get("node_id"),
        }
        return Message("preview", data_map, data[8 + image_format :])
    return None
