"""The HTTP server: ComfyUI's routes, at `/` and under `/api`, and `/_sim` to control the simulation."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from . import COMFYUI_VERSION
from .catalogue import Catalogue
from .executor import Executor, Pace
from .faults import FAULTS, Faults, UnknownFault
from .file_routes import FileRoutes
from .folders import MODEL_FOLDERS, Folders
from .prompt_queue import PromptQueue
from .sockets import FEATURES, Sockets
from .validation import validate_prompt

MAXIMUM_BODY = 104_857_600
"""Bytes of a request (ComfyUI's --max-upload-size of 100 MB)."""

DEVICE_NAME = "comfy-sim (SIMULATED, no model is run)"


@dataclass(frozen=True)
class Settings:
    """What a server is made of."""

    folders: Folders
    pace: Pace
    faults: Faults
    argv: list[str]
    log: Callable[[str], None]


class Server:
    """ComfyUI's server on a given folder tree. Make it inside a running event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folders = settings.folders
        self._faults = settings.faults
        self._sockets = Sockets(asyncio.get_running_loop())
        self._queue = PromptQueue(self._sockets.queue_changed)
        self._catalogue = Catalogue(settings.folders)
        self._executor = Executor(
            self._queue,
            self._catalogue,
            settings.folders,
            self._sockets,
            settings.faults,
            settings.pace,
            settings.log,
        )
        self._sockets.queue = self._queue
        self._sockets.executor = self._executor
        self._number = 0

    def application(self) -> web.Application:
        """The aiohttp application; its start and end are those of the executor."""
        app = web.Application(client_max_size=MAXIMUM_BODY, middlewares=[_no_content_type])
        app.on_startup.append(self._start)
        app.on_shutdown.append(self._stop)
        api = self._routes() + FileRoutes(self._folders, self._faults).routes()
        app.router.add_routes(api)
        app.router.add_routes([web.RouteDef(r.method, f"/api{r.path}", r.handler, r.kwargs) for r in api])
        app.router.add_routes(
            [
                web.get("/_sim/faults", self._get_faults),
                web.put("/_sim/faults", self._put_faults),
                web.delete("/_sim/faults", self._delete_faults),
            ]
        )
        return app

    async def _start(self, _: web.Application) -> None:
        self._sockets.start()
        self._executor.start()

    async def _stop(self, _: web.Application) -> None:
        self._queue.close()
        self._executor.interrupt()
        await self._sockets.stop()

    def _routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self._root),
            web.get("/ws", self._sockets.handle),
            web.get("/system_stats", self._system_stats),
            web.get("/features", self._features),
            web.get("/object_info", self._object_info),
            web.get("/object_info/{node_class}", self._object_info_of),
            web.get("/models", self._model_kinds),
            web.get("/models/{folder}", self._models),
            web.get("/embeddings", self._embeddings),
            web.get("/extensions", self._extensions),
            web.get("/prompt", self._prompt_info),
            web.post("/prompt", self._post_prompt),
            web.get("/queue", self._get_queue),
            web.post("/queue", self._post_queue),
            web.get("/history", self._get_history),
            web.get("/history/{prompt_id}", self._get_history_of),
            web.post("/history", self._post_history),
            web.post("/interrupt", self._interrupt),
            web.post("/free", self._free),
        ]

    async def _root(self, _: web.Request) -> web.Response:
        page = "<!doctype html><title>comfy-sim</title><p>comfy-sim speaks ComfyUI's API; it has no page of its own."
        return web.Response(text=page, content_type="text/html")

    async def _system_stats(self, _: web.Request) -> web.Response:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
        system = {
            "os": os.name,
            "ram_total": memory,
            "ram_free": free,
            "comfyui_version": COMFYUI_VERSION,
            "python_version": sys.version,
            "pytorch_version": "none (comfy-sim)",
            "embedded_python": False,
            "argv": self._settings.argv,
        }
        device = {"name": DEVICE_NAME, "type": "cpu", "index": None, "vram_total": memory, "vram_free": free}
        device |= {"torch_vram_total": memory, "torch_vram_free": free}
        return web.json_response({"system": system, "devices": [device]})

    async def _features(self, _: web.Request) -> web.Response:
        return web.json_response(FEATURES)

    async def _object_info(self, _: web.Request) -> web.Response:
        return web.json_response(await asyncio.to_thread(self._catalogue.everything))

    async def _object_info_of(self, request: web.Request) -> web.Response:
        name = request.match_info["node_class"]
        return web.json_response({name: self._catalogue.entry(name)} if name in self._catalogue else {})

    async def _model_kinds(self, _: web.Request) -> web.Response:
        return web.json_response(list(MODEL_FOLDERS))

    async def _models(self, request: web.Request) -> web.Response:
        folder = request.match_info["folder"]
        models = self._folders.models(folder) if folder in MODEL_FOLDERS else None
        return web.Response(status=404) if models is None else web.json_response(models)

    async def _embeddings(self, _: web.Request) -> web.Response:
        names = self._folders.models("embeddings") or []
        return web.json_response([os.path.splitext(name)[0] for name in names])

    async def _extensions(self, _: web.Request) -> web.Response:
        return web.json_response([])

    async def _prompt_info(self, _: web.Request) -> web.Response:
        return web.json_response(self._sockets.queue_info())

    async def _post_prompt(self, request: web.Request) -> web.Response:
        if self._faults.strikes("refuse"):
            return web.Response(status=503)
        document: dict[str, Any] = await request.json()
        number = self._next_number(document)
        if "prompt" not in document:
            error = {"type": "no_prompt", "message": "No prompt provided", "details": "No prompt provided"}
            return web.json_response({"error": {**error, "extra_info": {}}, "node_errors": {}}, status=400)
        prompt_id = str(document.get("prompt_id", uuid.uuid4()))
        prompt = document["prompt"]
        verdict = await asyncio.to_thread(
            validate_prompt, prompt, self._catalogue, self._folders, document.get("partial_execution_targets")
        )
        if verdict.error is not None:
            self._settings.log(f"invalid prompt: {verdict.error['type']}")
            return web.json_response({"error": verdict.error, "node_errors": verdict.node_errors}, status=400)
        extra_data: dict[str, Any] = dict(document.get("extra_data", {}))
        if "client_id" in document:
            extra_data["client_id"] = document["client_id"]
        self._queue.put(number, prompt_id, prompt, extra_data, verdict.outputs)
        return web.json_response(
            {"prompt_id": prompt_id, "number": number, "node_errors": verdict.node_errors}
        )

    def _next_number(self, document: dict[str, Any]) -> float:
        if "number" in document:
            return float(document["number"])
        number = -self._number if document.get("front") else self._number
        self._number += 1
        return number

    async def _get_queue(self, _: web.Request) -> web.Response:
        return web.json_response(self._queue.snapshot())

    async def _post_queue(self, request: web.Request) -> web.Response:
        document: dict[str, Any] = await request.json()
        if document.get("clear"):
            self._queue.clear()
        for prompt_id in document.get("delete", []):
            self._queue.delete(prompt_id)
        return web.Response()

    async def _get_history(self, request: web.Request) -> web.Response:
        query = request.rel_url.query
        max_items = int(query["max_items"]) if "max_items" in query else None
        return web.json_response(self._queue.history(max_items, int(query.get("offset", -1))))

    async def _get_history_of(self, request: web.Request) -> web.Response:
        return web.json_response(self._queue.history_of(request.match_info["prompt_id"]))

    async def _post_history(self, request: web.Request) -> web.Response:
        document: dict[str, Any] = await request.json()
        if document.get("clear"):
            self._queue.clear_history()
        for prompt_id in document.get("delete", []):
            self._queue.delete_history(prompt_id)
        return web.Response()

    async def _interrupt(self, request: web.Request) -> web.Response:
        try:
            document: dict[str, Any] = await request.json()
        except json.JSONDecodeError:
            document = {}
        prompt_id = document.get("prompt_id")
        if not prompt_id or prompt_id == self._queue.running_id():
            self._executor.interrupt()
        return web.Response()

    async def _free(self, request: web.Request) -> web.Response:
        document: dict[str, Any] = await request.json()
        if document.get("free_memory"):
            self._executor.free_memory()
        return web.Response()

    async def _get_faults(self, _: web.Request) -> web.Response:
        return web.json_response({"active": self._faults.active(), "known": FAULTS})

    async def _put_faults(self, request: web.Request) -> web.Response:
        try:
            for spec in await request.json():
                self._faults.add(spec)
        except UnknownFault as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({"active": self._faults.active()})

    async def _delete_faults(self, _: web.Request) -> web.Response:
        self._faults.clear()
        return web.json_response({"active": {}})


@web.middleware
async def _no_content_type(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answers unknown routes with an empty 404 as ComfyUI does, instead of aiohttp's own text."""
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return web.Response(status=404)
