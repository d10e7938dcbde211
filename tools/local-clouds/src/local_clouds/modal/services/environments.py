"""Environments, tokens and the first words of a connection."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from ..records import DEFAULT_ENVIRONMENT
from ..rpc import not_found, unary
from .base import Service

IMAGE_BUILDER_VERSION = "2025.06"
"""Image builder that new workspaces get (modal 1.6)."""

TOKEN_LIFETIME = 3600


class EnvironmentService(Service):
    """Client hello, auth token, environments."""

    @unary
    async def ClientHello(self, request: Empty) -> Any:
        return api_pb2.ClientHelloResponse()

    @unary
    async def AuthTokenGet(self, request: Any) -> Any:
        def part(document: dict[str, Any]) -> str:
            return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()

        token = f"{part({'alg': 'none'})}.{part({'exp': int(time.time()) + TOKEN_LIFETIME})}.local"
        return api_pb2.AuthTokenGetResponse(token=token)

    @unary
    async def TokenInfoGet(self, request: Any) -> Any:
        return api_pb2.TokenInfoGetResponse(token_id="ak-local", workspace_name=self.workspace)

    @unary
    async def WorkspaceNameLookup(self, request: Empty) -> Any:
        return api_pb2.WorkspaceNameLookupResponse(workspace_name=self.workspace, username=self.workspace)

    @unary
    async def EnvironmentGetOrCreate(self, request: Any) -> Any:
        name = request.deployment_name or DEFAULT_ENVIRONMENT
        if request.object_creation_type == api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING:
            self.state.environments.setdefault(name, time.time())
        name = self.environment(name)
        settings = api_pb2.EnvironmentSettings(image_builder_version=IMAGE_BUILDER_VERSION)
        metadata = api_pb2.EnvironmentMetadata(name=name, settings=settings)
        return api_pb2.EnvironmentGetOrCreateResponse(environment_id=f"en-{name}", metadata=metadata)

    @unary
    async def EnvironmentCreate(self, request: Any) -> Any:
        if request.name in self.state.environments:
            raise GRPCError(Status.ALREADY_EXISTS, f"Environment '{request.name}' already exists")
        self.state.environments[request.name] = time.time()
        return Empty()

    @unary
    async def EnvironmentList(self, request: Empty) -> Any:
        items = [
            api_pb2.EnvironmentListItem(
                name=name,
                created_at=created,
                default=name == DEFAULT_ENVIRONMENT,
                webhook_suffix="" if name == DEFAULT_ENVIRONMENT else name,
            )
            for name, created in self.state.environments.items()
        ]
        return api_pb2.EnvironmentListResponse(items=items)

    @unary
    async def EnvironmentDelete(self, request: Any) -> Any:
        if request.name not in self.state.environments:
            raise not_found(f"Environment '{request.name}' not found")
        for app in self.state.apps.values():
            if app.environment == request.name and app.running:
                await self.scheduler.stop_app(app)
        del self.state.environments[request.name]
        return Empty()
