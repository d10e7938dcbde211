"""The files of network volumes: a folder for each, and RunPod's S3 API for all of them at one address.

At RunPod each data centre has an address of its own; here the bucket alone says which volume is meant. Requests are
still to be signed for the volume's data centre, and a volume where RunPod has no S3 API has none here.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from ..faults import UnknownFault
from ..s3 import LocalS3, S3Settings
from ..s3.server import error_response

WITHOUT_S3 = re.compile(r"EU-SE-1|US-TX-\d+|CA-MTL-\d+")
"""Data centres without the S3 API: RunPod's documentation of November 2026."""

SAFE_ID = re.compile(r"[A-Za-z0-9_-]+")


class NetworkVolumes:
    """Files of an account's volumes, below one folder."""

    def __init__(self, folder: Path, access_key: str = "user_local", secret_key: str = "rps_local") -> None:  # noqa: S107
        self._folder = folder
        self.access_key = access_key
        self.secret_key = secret_key
        self._served: dict[str, LocalS3] = {}
        self._runner: web.AppRunner | None = None
        self.url = ""

    def folder_of(self, identifier: str) -> Path:
        """Where a volume's files are."""
        if not SAFE_ID.fullmatch(identifier):
            raise ValueError(f"{identifier!r} is no id of a network volume")
        return self._folder / identifier

    def add(self, volume: Mapping[str, Any]) -> None:
        """Makes a volume's folder, and serves it where its data centre has the S3 API."""
        folder = self.folder_of(volume["id"])
        folder.mkdir(parents=True, exist_ok=True)
        if WITHOUT_S3.fullmatch(volume["dataCenter"]) is None:
            self._served[volume["id"]] = LocalS3(
                S3Settings(
                    folder,
                    bucket=volume["id"],
                    data_center=volume["dataCenter"],
                    access_key=self.access_key,
                    secret_key=self.secret_key,
                )
            )

    async def remove(self, identifier: str) -> None:
        """Deletes a volume's files, and serves it no more."""
        self._served.pop(identifier, None)
        await asyncio.to_thread(shutil.rmtree, self.folder_of(identifier), ignore_errors=True)

    def describe(self) -> dict[str, Any]:
        """Address, keys and buckets."""
        buckets = {name: served.settings.data_center for name, served in self._served.items()}
        return {
            "url": self.url,
            "accessKey": self.access_key,
            "secretKey": self.secret_key,
            "buckets": buckets,
            "folder": str(self._folder),
        }

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listens."""
        app = web.Application(client_max_size=0)
        app.router.add_put("/_local/{bucket}/faults", self._put_faults)
        app.router.add_delete("/_local/{bucket}/faults", self._delete_faults)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        self.url = f"http://{host}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Closes."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        served = self._served.get(request.path.lstrip("/").partition("/")[0])
        if served is None:
            return error_response(404, "NoSuchBucket", "The bucket does not exist.")
        return await served.answer(request)

    async def _put_faults(self, request: web.Request) -> web.Response:
        faults = self._volume(request).faults
        try:
            for spec in await request.json():
                faults.add(str(spec))
        except (UnknownFault, ValueError, TypeError) as problem:
            return web.json_response({"error": str(problem)}, status=400)
        return web.json_response(faults.to_json())

    async def _delete_faults(self, request: web.Request) -> web.Response:
        faults = self._volume(request).faults
        faults.remove()
        return web.json_response(faults.to_json())

    def _volume(self, request: web.Request) -> LocalS3:
        found = self._served.get(request.match_info["bucket"])
        if found is None:
            raise web.HTTPNotFound
        return found
