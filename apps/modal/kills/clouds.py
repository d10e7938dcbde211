"""The local clouds of a run, in a process of their own: the app deployed by the real `modal`, and RunPod endpoints."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from local_clouds.s3 import LocalS3, S3Settings

APP = Path(__file__).resolve().parents[1]
LEASE_SECONDS = 3
"""Of a claim, short so that a run of hundreds of kills ends: a replaced worker waits for it."""

RUNPOD_WORKERS = 2
"""Of each RunPod endpoint at most."""

PATIENCE = 5.0
"""Seconds that a caller waits for an answer, before it asks again."""


@dataclass
class Cloud:
    """Addresses, credentials, and the containers to kill."""

    document: dict[str, Any]
    http: httpx.AsyncClient

    @property
    def url(self) -> str:
        """The gateway's address."""
        modal = self.document["modal"]
        return f"{modal['webUrl']}/_w/{modal['workspace']}--ryla-comfyui-api"

    @property
    def headers(self) -> dict[str, str]:
        """Modal's proxy credentials."""
        modal = self.document["modal"]
        return {"Modal-Key": modal["proxyKey"], "Modal-Secret": modal["proxySecret"]}

    async def pids(self, function: str) -> list[int]:
        """Process ids of the containers of a function whose name holds this."""
        state = await _state(self.http, self.document["modal"]["webUrl"])
        return sorted(
            entry["pid"]
            for entry in state.get("containers", ())
            if entry["app"] == "ryla-comfyui" and function in entry["function"] and entry["pid"]
        )

    @property
    def runpod(self) -> RunPodCloud:
        """The local RunPod."""
        runpod = self.document["runpod"]
        return RunPodCloud(runpod["apiUrl"], {"Authorization": f"Bearer {runpod['apiKey']}"}, self.http)

    async def modal(self, *arguments: str) -> None:
        """Runs the real `modal` command. Exits with its words when it fails."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "modal", *arguments),
            cwd=APP,
            env={**os.environ, **self.document["environment"], "NO_COLOR": "1"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        if process.returncode != 0:
            raise SystemExit(f"modal {' '.join(arguments)} failed:\n{said.decode()}")


@dataclass
class RunPodCloud:
    """Address and credentials of the job API, and the workers to kill."""

    url: str
    headers: dict[str, str]
    http: httpx.AsyncClient

    async def pids(self) -> list[int]:
        """Process ids of all workers."""
        state = await _state(self.http, self.url.removesuffix("/v2"))
        endpoints = state.get("endpoints", {}).values()
        return sorted(worker["pid"] for entry in endpoints for worker in entry["workers"] if worker["pid"])

    async def register(self, endpoint: str, variables: Mapping[str, str]) -> None:
        """Makes an endpoint of apps/runpod's worker."""
        document = {
            "command": [sys.executable, "-m", "ryla_runpod"],
            "env": {"RYLA_LEASE_SECONDS": str(LEASE_SECONDS), **variables},
            "workersMax": RUNPOD_WORKERS,
            "idleTimeoutMs": 60_000,
        }
        url = f"{self.url.removesuffix('/v2')}/_local/endpoints/{endpoint}"
        (await self.http.put(url, json=document)).raise_for_status()


async def _state(http: httpx.AsyncClient, url: str) -> dict[str, Any]:
    """What a local cloud says of itself; nothing when it has too much to do."""
    try:
        return (await http.get(f"{url}/_local/state")).json()
    except httpx.TransportError:
        return {}


@contextlib.asynccontextmanager
async def bucket(folder: Path) -> AsyncGenerator[dict[str, str]]:
    """An S3 bucket below a folder, in this process; its variables of an endpoint."""
    folder.mkdir()
    server = LocalS3(S3Settings(folder))
    await server.start()
    try:
        settings = server.settings
        yield {
            "BUCKET_ENDPOINT_URL": f"{server.url}/{settings.bucket}",
            "BUCKET_ACCESS_KEY_ID": settings.access_key,
            "BUCKET_SECRET_ACCESS_KEY": settings.secret_key,
            "BUCKET_REGION": settings.data_center,
        }
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def deployed(folder: Path, engine: Path) -> AsyncGenerator[Cloud]:
    """Local clouds with the generic app on Modal; they end with the block, and with this process."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COMFYUI_")}
    environ |= {"COMFYUI_DIR": str(engine), "COMFYUI_PYTHON": sys.executable}
    command = Path(sys.executable).with_name("local-clouds")
    with (folder / "clouds.log").open("wb") as log:
        child = subprocess.Popen(  # noqa: ASYNC220  (asyncio's own waits for its grandchildren's pipes, too)
            [command, "--state-dir", folder / "state", "--until-eof", "--no-namespaces"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environ,
        )
        try:
            assert child.stdout is not None
            document = json.loads(await asyncio.to_thread(child.stdout.readline))
            async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as http:
                cloud = Cloud(document, http)
                await cloud.modal("secret", "create", "ryla-secrets", f"RYLA_LEASE_SECONDS={LEASE_SECONDS}")
                await cloud.modal("deploy", "comfyui_app.py")
                yield cloud
        finally:
            child.terminate()
            await asyncio.to_thread(child.communicate)
