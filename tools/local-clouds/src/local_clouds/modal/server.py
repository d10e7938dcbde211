"""The local Modal as a whole: start, stop, and how to point the real client at it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpclib.server
from aiohttp import web
from grpclib import GRPCError, Status
from grpclib.events import RecvRequest, listen
from modal_proto import api_pb2

from ..faults import Faults
from .call_history import CallHistory, Retention
from .container import Container
from .control_plane import ControlPlane
from .launcher import ContainerSettings, Launcher
from .records import EnvironmentRecord, Named, State, new_id
from .scheduler import HEARTBEAT_TIMEOUT, Scheduler
from .web_gateway import WebGateway

WEB_TIMEOUT = 150.0
"""Seconds after which an unanswered web request becomes a 303 (contracts: Modal's docs)."""

FAULTS = {
    "rpc-error": "an RPC fails: rpc-error=UNAVAILABLE, or rpc-error=<RpcName>/<STATUS>",
    "rpc-latency-ms": "every RPC takes this much longer",
    "container-start-latency-ms": "every container starts this much later",
    "kill-container": "a container is killed when it takes an input (value: <app name>/, or any)",
    "web-latency-ms": "every web request takes this much longer",
    "drop-web-connection": "a web request's connection is cut before it reaches the app",
    "output-expired": "asking for a call's outputs answers that they have expired (OutputExpiredError)",
    "volume-commit-fails": "committing a volume fails",
}
"""Faults of the local Modal."""


@dataclass(frozen=True)
class ModalSettings:
    """What a local Modal is made of. Port 0 takes a free one."""

    folder: Path
    containers: ContainerSettings
    host: str = "127.0.0.1"
    port: int = 0
    web_port: int = 0
    workspace: str = "local"
    token: tuple[str, str] = ("ak-local", "as-local")
    proxy_credentials: tuple[str, str] = ("wk-local", "ws-local")
    web_timeout: float = WEB_TIMEOUT
    heartbeat_timeout: float = HEARTBEAT_TIMEOUT
    retention: Retention = field(default_factory=Retention)
    faults: Iterable[str] = field(default_factory=tuple)


class LocalModal:
    """Control plane and web gateway. Apps, secrets, dicts and queues live in memory, volumes in `folder`."""

    def __init__(self, settings: ModalSettings, log: Callable[[str], None]) -> None:
        self.settings = settings
        self.state = State(calls=CallHistory(settings.retention))
        self.faults = Faults(FAULTS, settings.faults)
        self._log = log
        self._folder = settings.folder.absolute()
        self.scheduler = Scheduler(self.state, self.faults, self._launch, log, self._drop_blob)
        self.scheduler.heartbeat_timeout = settings.heartbeat_timeout
        self._launcher = Launcher(
            self.state, self._folder, settings.containers, self._servicer, self.scheduler.layout, log
        )
        self._server: grpclib.server.Server | None = None
        self._runner: web.AppRunner | None = None
        self.server_url = ""
        self.web_url = ""

    async def start(self) -> None:
        """Listens, and takes up the volumes that an earlier run left in the folder."""
        shutil.rmtree(self._folder / "containers", ignore_errors=True)
        for name in ("blobs", "files", "volumes", "containers"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        self._load_volumes()
        await self._start_web()
        self._server = grpclib.server.Server([self._servicer(None)])
        listen(self._server, RecvRequest, self._authenticate)
        await self._server.start(self.settings.host, self.settings.port)
        port = self._server._server.sockets[0].getsockname()[1]  # pyright: ignore
        self.server_url = f"http://{self.settings.host}:{port}"
        self.scheduler.start()

    async def stop(self) -> None:
        """Ends every container and stops listening."""
        await self.scheduler.stop()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._server is not None:
            self._server.close()

    def environment(self) -> dict[str, str]:
        """Variables that make the real client talk to this Modal."""
        empty = self._folder / "modal.toml"
        empty.touch()
        return {
            "MODAL_SERVER_URL": self.server_url,
            "MODAL_TOKEN_ID": self.settings.token[0],
            "MODAL_TOKEN_SECRET": self.settings.token[1],
            "MODAL_CONFIG_PATH": str(empty),
        }

    def describe(self) -> dict[str, str]:
        """Addresses and credentials."""
        key, secret = self.settings.proxy_credentials
        token_id, token_secret = self.settings.token
        return {
            "serverUrl": self.server_url,
            "webUrl": self.web_url,
            "workspace": self.settings.workspace,
            "tokenId": token_id,
            "tokenSecret": token_secret,
            "proxyKey": key,
            "proxySecret": secret,
        }

    async def _start_web(self) -> None:
        gateway = WebGateway(
            self.state,
            self.scheduler,
            self._launcher,
            self.faults,
            self._folder,
            proxy_credentials=self.settings.proxy_credentials,
            timeout=self.settings.web_timeout,
        )
        self._runner = web.AppRunner(
            gateway.application(), access_log=None, shutdown_timeout=1, handler_cancellation=True
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, self.settings.host, self.settings.web_port).start()
        port = self._runner.addresses[0][1]
        self.web_url = f"http://{self.settings.host}:{port}"
        self.scheduler.web_port = port
        self.scheduler.workspace = self.settings.workspace

    def _servicer(self, container: Container | None) -> Any:
        plane = ControlPlane(self.state, self.scheduler, self.faults, self._folder, container)
        plane.workspace = self.settings.workspace
        plane.token_id = self.settings.token[0]
        plane.web_url = self.web_url
        return plane

    def _drop_blob(self, blob_id: str) -> None:
        (self._folder / "blobs" / Path(blob_id).name).unlink(missing_ok=True)

    async def _launch(self, container: Container) -> None:
        await self._launcher.run(container)

    def _load_volumes(self) -> None:
        for environment in (self._folder / "volumes").iterdir():
            name, created_at = environment.name, environment.stat().st_mtime
            if name not in self.state.environments:
                self.state.environments[name] = EnvironmentRecord(name, name, created_at=created_at)
            for folder in environment.iterdir():
                volume = Named(new_id("vo"), environment.name, folder.name, api_pb2.VOLUME_FS_VERSION_V2)
                self.state.volumes.by_id[volume.id] = volume

    async def _authenticate(self, event: RecvRequest) -> None:
        token = (event.metadata.get("x-modal-token-id"), event.metadata.get("x-modal-token-secret"))
        if token != self.settings.token:
            text = f"Token ID or secret is wrong. The local Modal takes {' and '.join(self.settings.token)}."
            raise GRPCError(Status.UNAUTHENTICATED, text)
