"""How an RPC becomes a method: decoration, faults, and a clear refusal of what is not emulated."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from functools import wraps
from typing import Any

from grpclib import GRPCError, Status
from modal_proto import api_grpc, api_pb2

SERVICE: Any = api_pb2.DESCRIPTOR.services_by_name["ModalClient"]

CLIENT_VERSION: ContextVar[str] = ContextVar("CLIENT_VERSION", default="")
"""Version of the client whose RPC is being answered."""

NOT_EMULATED = {
    r"Attempt|Map": "the input plane (which it never offers to a client)",
    r"FunctionRetryInputs": "retries by the client (failed inputs are retried by the server)",
    r".*(TimeRangeStats|Metrics|CountRequests)|MetricsGetInfo|Server": "metrics, statistics over time and servers",
    r"Sandbox|PersistentSandbox": "sandboxes",
    r"TaskGetCommandRouterAccess|ContainerExec|FilesystemExec": "commands in running containers",
    r"ContainerCheckpoint": "memory snapshots",
    r"Image": "named images and image builds",
    r"Endpoint": "endpoints",
    r"Flash|ContainerServer|FunctionGetFlash": "flash servers",
    r"SharedVolume": "network file systems (use a volume)",
    r".*Billing": "billing summaries",
    r"AuditLog": "audit logs",
    r"EnvironmentGetRoles|EnvironmentRole|Workspace|ServiceUser|Token|WebhookToken": (
        "members, roles, tokens and settings of a workspace"
    ),
    r"Cluster|TaskCluster": "clusters",
    r"Tunnel": "tunnels",
    r"Proxy": "proxies",
    r"AppPromote": "staged deployments",
}
"""What is missing, by the beginnings of the RPCs that it stands behind; the first that fits counts."""


def unary(method: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[None]]:
    """An RPC with one answer: `async def Name(self, request) -> response`."""

    @wraps(method)
    async def handler(self: Any, stream: Any) -> None:
        CLIENT_VERSION.set(stream.metadata.get("x-modal-client-version", ""))
        request = await stream.recv_message()
        await self.before(method.__name__)
        await stream.send_message(await method(self, request))

    return handler


def streaming(method: Callable[[Any, Any], AsyncIterator[Any]]) -> Callable[[Any, Any], Awaitable[None]]:
    """An RPC with many answers: `async def Name(self, request): yield response`."""

    @wraps(method)
    async def handler(self: Any, stream: Any) -> None:
        request = await stream.recv_message()
        await self.before(method.__name__)
        async for response in method(self, request):
            await stream.send_message(response)

    return handler


def not_found(message: str) -> GRPCError:
    """NOT_FOUND, which the client raises as NotFoundError."""
    return GRPCError(Status.NOT_FOUND, message)


def refuse_the_rest(servicer: type) -> type:
    """Gives every RPC that the class does not implement an answer that names it."""
    for rpc in SERVICE.methods:
        if getattr(servicer, rpc.name, None) is getattr(api_grpc.ModalClientBase, rpc.name):
            setattr(servicer, rpc.name, _refusal(rpc.name))
    servicer.__abstractmethods__ = frozenset()  # pyright: ignore
    return servicer


def _refusal(name: str) -> Callable[[Any, Any], Awaitable[None]]:
    what = next((what for pattern, what in NOT_EMULATED.items() if re.match(pattern, name)), None)
    missing = name if what is None else f"{what}: {name}"

    async def handler(self: Any, stream: Any) -> None:
        await stream.recv_message()
        raise GRPCError(Status.UNIMPLEMENTED, f"The local Modal does not emulate {missing}")

    return handler


async def until(event: asyncio.Event, seconds: float) -> bool:
    """Waits for an event for some seconds; whether it came."""
    try:
        await asyncio.wait_for(event.wait(), max(seconds, 0))
    except TimeoutError:
        return False
    return True
