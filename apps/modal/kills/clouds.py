"""The local Modal of a run, in a process of its own, with the app deployed to it by the real `modal`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

APP = Path(__file__).resolve().parents[1]
LEASE_SECONDS = 3
"""Of a claim, short so that a run of hundreds of kills ends: a replaced worker waits for it."""

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
        answer = await self.http.get(f"{self.document['modal']['webUrl']}/_local/state")
        return sorted(
            entry["pid"]
            for entry in answer.json()["containers"]
            if entry["app"] == "ryla-comfyui" and function in entry["function"] and entry["pid"]
        )

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


@contextlib.asynccontextmanager
async def deployed(folder: Path, engine: Path) -> AsyncGenerator[Cloud]:
    """A local Modal with the generic app; it ends with the block, and with this process."""
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
