"""Environments, tokens and the first words of a connection."""

from __future__ import annotations

import base64
import json
import shutil
import time
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from ..records import EnvironmentRecord, Named
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
        identity = api_pb2.UserIdentity(user_id=f"us-{self.workspace}", username=self.workspace)
        return api_pb2.TokenInfoGetResponse(
            token_id=self.token_id,
            workspace_id=f"ac-{self.workspace}",
            workspace_name=self.workspace,
            user_identity=identity,
        )

    @unary
    async def WorkspaceNameLookup(self, request: Empty) -> Any:
        return api_pb2.WorkspaceNameLookupResponse(workspace_name=self.workspace, username=self.workspace)

    @unary
    async def WorkspaceSettings(self, request: Empty) -> Any:
        return api_pb2.WorkspaceSettingsResponse(
            default_environment_name=self.state.default_environment,
            image_builder_version=IMAGE_BUILDER_VERSION,
        )

    def _item(self, environment: EnvironmentRecord) -> Any:
        item = api_pb2.EnvironmentListItem(
            name=environment.name,
            environment_id=environment.id,
            created_at=environment.created_at,
            default=environment.name == self.state.default_environment,
            webhook_suffix=environment.web_suffix,
            current_concurrent_tasks=sum(
                container.function.app.environment == environment.name
                for container in self.state.containers()
            ),
        )
        if environment.image_builder_version:
            item.image_builder_version = environment.image_builder_version
        return item

    def _known(self, name: str) -> EnvironmentRecord:
        return self.state.environments[self.environment(name)]

    @unary
    async def EnvironmentGetOrCreate(self, request: Any) -> Any:
        name = request.deployment_name
        missing = name and name not in self.state.environments
        if missing and request.object_creation_type == api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING:
            self.state.environments[name] = EnvironmentRecord(name, web_suffix=name)
        environment = self._known(name)
        settings = api_pb2.EnvironmentSettings(
            image_builder_version=environment.image_builder_version or IMAGE_BUILDER_VERSION,
            webhook_suffix=environment.web_suffix,
        )
        metadata = api_pb2.EnvironmentMetadata(name=environment.name, settings=settings)
        return api_pb2.EnvironmentGetOrCreateResponse(environment_id=environment.id, metadata=metadata)

    @unary
    async def EnvironmentCreate(self, request: Any) -> Any:
        if request.is_managed:
            raise GRPCError(
                Status.UNIMPLEMENTED, "The local Modal does not emulate restricted environments: no roles"
            )
        self._refuse_taken(request.name)
        self.state.environments[request.name] = EnvironmentRecord(request.name, web_suffix=request.name)
        return Empty()

    def _refuse_taken(self, name: str) -> None:
        if name in self.state.environments:
            raise GRPCError(Status.ALREADY_EXISTS, f"Environment '{name}' already exists")

    @unary
    async def EnvironmentUpdate(self, request: Any) -> Any:
        environment = self._known(request.current_name)
        if request.HasField("web_suffix"):
            environment.web_suffix = request.web_suffix.value
        if request.HasField("image_builder_version"):
            environment.image_builder_version = request.image_builder_version
        if request.HasField("name") and request.name.value != environment.name:
            self._refuse_taken(request.name.value)
            self._rename(environment, request.name.value)
        return self._item(environment)

    def _rename(self, environment: EnvironmentRecord, name: str) -> None:
        before, environment.name = environment.name, name
        del self.state.environments[before]
        self.state.environments[name] = environment
        if self.state.default_environment == before:
            self.state.default_environment = name
        for item in (*self.state.apps.values(), *self._objects()):
            if item.environment == before:
                item.environment = name
        folder = self.folder / "volumes" / before
        if folder.exists():
            folder.rename(folder.with_name(name))

    def _objects(self) -> list[Named]:
        return [item for registry in self.state.registries() for item in registry.by_id.values()]

    @unary
    async def EnvironmentList(self, request: Empty) -> Any:
        items = [self._item(environment) for environment in self.state.environments.values()]
        return api_pb2.EnvironmentListResponse(items=items)

    @unary
    async def EnvironmentDelete(self, request: Any) -> Any:
        if request.name not in self.state.environments:
            raise not_found(f"Environment '{request.name}' not found")
        if request.name == self.state.default_environment:
            raise GRPCError(Status.FAILED_PRECONDITION, f"'{request.name}' is the default environment")
        for app in self.state.apps.values():
            if app.environment == request.name and app.running:
                await self.scheduler.stop_app(app, by=self.workspace)
        for registry in self.state.registries():
            for item in list(registry.by_id.values()):
                if item.environment == request.name:
                    del registry.by_id[item.id]
        shutil.rmtree(self.folder / "volumes" / request.name, ignore_errors=True)
        del self.state.environments[request.name]
        return Empty()
