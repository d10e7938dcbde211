"""The web side of Modal: URLs of web functions, proxy auth, the 150 s rule; and control routes under /_local."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import aiohttp
from aiohttp import web
from google.protobuf import json_format
from modal._serialization import deserialize_data_format, serialize_data_format
from modal_proto import api_pb2

from ..faults import Faults, UnknownFault
from .launcher import Launcher
from .records import Call, FunctionRecord, State, WebEndpoint
from .scheduler import Scheduler

CHUNK = 1 << 20
"""Bytes of one piece of a request body."""

CALL_ID = "__modal_function_call_id"
STOPPED = "modal-http: app for invoked web endpoint is stopped"
MISSING_CREDENTIALS = "modal-http: missing credentials for proxy authorization\n"
WRONG_CREDENTIALS = "modal-http: invalid credentials for proxy authorization\n"
HOP_HEADERS = {b"transfer-encoding", b"connection"}


class WebGateway:
    """An aiohttp application in front of the containers."""

    def __init__(
        self,
        state: State,
        scheduler: Scheduler,
        launcher: Launcher,
        faults: Faults,
        folder: Path,
        *,
        proxy_credentials: tuple[str, str],
        timeout: float,
    ) -> None:
        self._state = state
        self._scheduler = scheduler
        self._launcher = launcher
        self._faults = faults
        self._folder = folder
        self._proxy_credentials = proxy_credentials
        self._timeout = timeout

    def application(self) -> web.Application:
        """The application."""
        app = web.Application(client_max_size=1 << 40)
        app.router.add_route("PUT", "/_blob/{id}", self._put_blob)
        app.router.add_route("GET", "/_blob/{id}", self._get_blob)
        app.router.add_route("PUT", "/_block/{id}", self._put_block)
        app.router.add_route("GET", "/_volume/{volume}/{span}/{path:.+}", self._get_volume)
        app.router.add_route("GET", "/_local/state", self._get_state)
        app.router.add_route("GET", "/_local/apps", self._get_apps)
        app.router.add_route("GET", "/_local/apps/{name}", self._get_app)
        app.router.add_route("GET", "/_local/faults", self._get_faults)
        app.router.add_route("PUT", "/_local/faults", self._put_faults)
        app.router.add_route("DELETE", "/_local/faults", self._delete_faults)
        app.router.add_route("*", "/{tail:.*}", self._web)
        return app

    # -- blobs, blocks and volume files ----------------------------------------------------------------

    async def _receive(self, request: web.Request, path: Path) -> str:
        digest = hashlib.md5(usedforsecurity=False)
        partial = path.with_name(f".{path.name}.{id(request)}")
        with partial.open("wb") as file:
            async for piece in request.content.iter_chunked(CHUNK):
                digest.update(piece)
                file.write(piece)
        partial.replace(path)
        return digest.hexdigest()

    async def _put_blob(self, request: web.Request) -> web.Response:
        digest = await self._receive(request, self._folder / "blobs" / Path(request.match_info["id"]).name)
        return web.Response(headers={"ETag": f'"{digest}"'})

    async def _get_blob(self, request: web.Request) -> web.StreamResponse:
        path = self._folder / "blobs" / Path(request.match_info["id"]).name
        return web.FileResponse(path) if path.is_file() else web.Response(status=404)

    async def _put_block(self, request: web.Request) -> web.Response:
        name = Path(request.match_info["id"]).name
        path = self._folder / "files" / name
        await self._receive(request, path)
        if hashlib.sha256(path.read_bytes()).hexdigest() != name:
            path.unlink()
            return web.Response(status=400, text="the block does not have the hash it was announced with")
        return web.Response(text=name)

    async def _get_volume(self, request: web.Request) -> web.StreamResponse:
        volume = self._state.volumes.by_id.get(request.match_info["volume"])
        if volume is None:
            return web.Response(status=404)
        root = (self._folder / "volumes" / volume.environment / (volume.name or volume.id)).resolve()
        path = (root / request.match_info["path"]).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            return web.Response(status=404)
        start, end = (int(part) for part in request.match_info["span"].split("-"))
        with path.open("rb") as file:
            file.seek(start)
            return web.Response(body=file.read(end - start))

    # -- web functions ---------------------------------------------------------------------------------

    async def _web(self, request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(self._faults.seconds("web-latency-ms"))
        label, path = _address(request)
        endpoint = self._state.web.get(label)
        if endpoint is None:
            return web.Response(status=404, text=STOPPED)
        refusal = self._refusal(request, endpoint)
        if refusal is not None:
            return refusal
        if self._faults.hit("drop-web-connection") is not None and request.transport is not None:
            request.transport.abort()
            return web.Response()
        call_id = request.query.get(CALL_ID)
        if call_id is not None:
            call = self._state.calls.get(call_id)
            if call is None or not call.web:
                return web.Response(status=404, text="modal-http: function call not found")
            return await self._answer(request, call, path)
        function = self._state.functions[endpoint.function_id]
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._websocket(request, function, endpoint, path)
        call = self._call(function, endpoint, _scope(request, path, "http"))
        body = asyncio.create_task(self._send_body(request, call))
        try:
            return await self._answer(request, call, path)
        except (ConnectionError, asyncio.CancelledError):
            _put(call, {"type": "http.disconnect"})
            raise
        finally:
            body.cancel()

    def _refusal(self, request: web.Request, endpoint: WebEndpoint) -> web.Response | None:
        if not endpoint.config.requires_proxy_auth:
            return None
        given = (request.headers.get("Modal-Key"), request.headers.get("Modal-Secret"))
        if None in given:
            return web.Response(status=401, text=MISSING_CREDENTIALS)
        return None if given == self._proxy_credentials else web.Response(status=401, text=WRONG_CREDENTIALS)

    def _call(self, function: FunctionRecord, endpoint: WebEndpoint, scope: dict[str, Any]) -> Call:
        call = Call(function, web=True)
        self._state.calls.add(call)
        arguments = serialize_data_format(((scope,), {}), api_pb2.DATA_FORMAT_PICKLE)
        item = api_pb2.FunctionInput(
            args=arguments, data_format=api_pb2.DATA_FORMAT_PICKLE, method_name=endpoint.method
        )
        self._scheduler.enqueue(call, item, 0)
        return call

    @staticmethod
    async def _send_body(request: web.Request, call: Call) -> None:
        async for piece in request.content.iter_chunked(CHUNK):
            _put(call, {"type": "http.request", "body": piece, "more_body": True})
        _put(call, {"type": "http.request", "body": b"", "more_body": False})

    async def _answer(self, request: web.Request, call: Call, path: str) -> web.StreamResponse:
        messages = self._messages(call)
        try:
            start = await asyncio.wait_for(anext(messages, None), self._timeout)
        except TimeoutError:
            query = [(name, value) for name, value in request.query.items() if name != CALL_ID]
            location = request.rel_url.with_query([*query, (CALL_ID, call.id)])
            return web.Response(status=303, headers={"Location": str(location)})
        if start is None:
            self._scheduler.answered(call)
            return self._failure(call)
        response = web.StreamResponse(status=start["status"])
        for name, value in start["headers"]:
            if bytes(name).lower() not in HOP_HEADERS:
                response.headers.add(bytes(name).decode("latin-1"), bytes(value).decode("latin-1"))
        await response.prepare(request)
        async for message in messages:
            if message["type"] == "http.response.body":
                await response.write(bytes(message.get("body", b"")))
                if not message.get("more_body"):
                    break
        await response.write_eof()
        self._scheduler.answered(call)
        return response

    @staticmethod
    def _failure(call: Call) -> web.Response:
        outputs = call.outputs.items
        reason = outputs[0].result.exception if outputs else "the container ended"
        status = (
            408
            if outputs and outputs[0].result.status == api_pb2.GenericResult.GENERIC_STATUS_TIMEOUT
            else 500
        )
        return web.Response(status=status, text=f"modal-http: internal error: {reason}")

    async def _messages(self, call: Call) -> AsyncIterator[dict[str, Any]]:
        async for _, chunk in call.data_out.read():
            data = chunk.data
            if chunk.data_blob_id:
                data = (self._folder / "blobs" / Path(chunk.data_blob_id).name).read_bytes()
            message = deserialize_data_format(data, chunk.data_format, None)
            if isinstance(message, dict):
                yield message

    async def _websocket(
        self, request: web.Request, function: FunctionRecord, endpoint: WebEndpoint, path: str
    ) -> web.StreamResponse:
        call = self._call(function, endpoint, _scope(request, path, "websocket"))
        _put(call, {"type": "websocket.connect"})
        messages = self._messages(call)
        first = await anext(messages, None)
        if first is None or first["type"] != "websocket.accept":
            return web.Response(status=403)
        socket = web.WebSocketResponse(protocols=[first["subprotocol"]] if first.get("subprotocol") else ())
        await socket.prepare(request)
        reader = asyncio.create_task(self._read_socket(socket, call))
        try:
            async for message in messages:
                if message["type"] == "websocket.send":
                    data = message.get("bytes")
                    await (socket.send_bytes(data) if data is not None else socket.send_str(message["text"]))
                elif message["type"] == "websocket.close":
                    await socket.close(code=message.get("code", 1000))
                    break
        finally:
            reader.cancel()
            self._scheduler.answered(call)
        return socket

    @staticmethod
    async def _read_socket(socket: web.WebSocketResponse, call: Call) -> None:
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                _put(call, {"type": "websocket.receive", "text": message.data})
            elif message.type is aiohttp.WSMsgType.BINARY:
                _put(call, {"type": "websocket.receive", "bytes": message.data})
        _put(call, {"type": "websocket.disconnect", "code": socket.close_code or 1005})

    # -- control routes --------------------------------------------------------------------------------

    async def _get_state(self, _: web.Request) -> web.Response:
        functions = [
            {
                "app": function.app.name,
                "function": function.name,
                "containersStarted": function.started,
                "pending": len(function.pending),
            }
            for function in self._state.functions.values()
        ]
        containers = [container.to_json() for container in self._state.containers()]
        counts = dict(self._state.rpc_counts)
        return web.json_response(
            {
                "containers": containers,
                "functions": functions,
                "calls": len(self._state.calls),
                "rpcs": counts,
            }
        )

    async def _get_apps(self, _: web.Request) -> web.Response:
        apps = [
            {"name": app.name, "id": app.id, "environment": app.environment, "running": app.running}
            for app in self._state.apps.values()
        ]
        return web.json_response(apps)

    async def _get_app(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        found = [app for app in self._state.apps.values() if name in (app.name, app.id)]
        if not found:
            return web.json_response({"error": f"no app {name}"}, status=404)
        app = max(found, key=lambda candidate: (candidate.running, candidate.created_at))
        functions: dict[str, Any] = {}
        for tag, function_id in app.function_ids.items():
            function = self._state.functions[function_id]
            functions[tag] = self._described(function)
        deployments = [
            {
                "version": d.version,
                "tag": d.tag,
                "deployedAt": d.deployed_at,
                "rollbackVersion": d.rollback_version,
            }
            for d in app.history
        ]
        document = {"name": app.name, "id": app.id, "environment": app.environment, "tags": app.tags}
        return web.json_response({**document, "functions": functions, "deployments": deployments})

    def _described(self, function: FunctionRecord) -> dict[str, Any]:
        definition = function.definition
        urls = [
            label
            for label, web_endpoint in self._state.web.items()
            if web_endpoint.function_id == function.id
        ]
        images = [
            {
                "id": image_id,
                "commands": list(image.dockerfile_commands),
                "contextMount": image.context_mount_id or None,
                "contextFiles": {
                    file.filename: hashlib.sha256(file.data).hexdigest() for file in image.context_files
                },
            }
            for image_id, image in self._launcher.layers(definition.image_id)
        ]
        known = [self._state.secrets.by_id.get(secret_id) for secret_id in definition.secret_ids]
        secrets = [secret for secret in known if secret is not None]
        volumes = [
            {
                "name": self._state.volumes.by_id[mount.volume_id].name,
                "mountPath": mount.mount_path,
                "readOnly": mount.read_only,
                "subPath": mount.sub_path or None,
            }
            for mount in definition.volume_mounts
        ]
        ranked = function.data.ranked_functions if function.data is not None else []
        gpus = [entry.function.resources.gpu_config.gpu_type for entry in ranked]
        return {
            "gpu": [gpu for gpu in gpus if gpu],
            "resources": json_format.MessageToDict(definition.resources),
            "minContainers": function.min_containers,
            "maxContainers": function.max_containers,
            "bufferContainers": function.buffer_containers,
            "scaledownWindow": function.scaledown_window,
            "timeout": function.timeout,
            "startupTimeout": function.startup_timeout,
            "concurrency": function.concurrency,
            "retries": definition.retry_policy.retries,
            "snapshot": definition.is_checkpointing_function or definition.checkpointing_enabled,
            "experimental": dict(definition.experimental_options),
            "regions": list(definition.scheduler_placement.regions),
            "env": {
                key: value for secret in secrets if not secret.name for key, value in secret.content.items()
            },
            "webLabels": urls,
            "proxyAuth": definition.webhook_config.requires_proxy_auth,
            "secrets": [secret.name for secret in secrets if secret.name],
            "volumes": volumes,
            "image": images,
            "mounts": {
                name: digest
                for mount_id in definition.mount_ids
                for name, digest in sorted(self._state.mounts.get(mount_id, {}).items())
            },
        }

    async def _get_faults(self, _: web.Request) -> web.Response:
        return web.json_response(self._faults.to_json())

    async def _put_faults(self, request: web.Request) -> web.Response:
        try:
            for spec in await request.json():
                self._faults.add(str(spec))
        except UnknownFault as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response(self._faults.to_json())

    async def _delete_faults(self, _: web.Request) -> web.Response:
        self._faults.remove()
        return web.json_response(self._faults.to_json())


def _address(request: web.Request) -> tuple[str, str]:
    """Label and path of a web function: from the host name, or from /_w/<label>/…"""
    found = re.match(r"/_w/([^/]+)(/.*)?$", request.raw_path.partition("?")[0])
    if found:
        return found[1], found[2] or "/"
    host = request.headers.get("X-Modal-Host", request.host).partition(":")[0]
    return host.partition(".")[0], request.raw_path.partition("?")[0]


def _scope(request: web.Request, path: str, kind: str) -> dict[str, Any]:
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    # Extensions of a WebSocket, such as compression, are between the client and this gateway.
    headers = [
        [name.lower(), value]
        for name, value in request.raw_headers
        if name.lower() != b"sec-websocket-extensions"
    ]
    prefix = re.match(r"/_w/[^/]+", request.raw_path)
    if prefix:
        headers.append([b"x-forwarded-prefix", prefix[0].encode()])
    scope: dict[str, Any] = {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "http" if kind == "http" else "ws",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": request.query_string.encode(),
        "root_path": "",
        "headers": headers,
        "client": list(peer[:2]) if peer else None,
        "server": ["127.0.0.1", 80],
    }
    if kind == "http":
        scope["method"] = request.method
    else:
        scope["subprotocols"] = [
            p.strip() for p in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if p
        ]
    return scope


def _put(call: Call, message: dict[str, Any]) -> None:
    if not call.data_in.closed:
        data = serialize_data_format(message, api_pb2.DATA_FORMAT_ASGI)
        call.data_in.put(api_pb2.DataChunk(data_format=api_pb2.DATA_FORMAT_ASGI, data=data))
