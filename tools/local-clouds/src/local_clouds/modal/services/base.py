"""What every group of RPCs stands on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from ...faults import Faults
from ..container import Container
from ..records import Named, Registry, State
from ..rpc import not_found
from ..scheduler import Scheduler


class Service:
    """Shared state of all RPC groups. `container` is set when a container speaks, over its own socket."""

    def __init__(
        self,
        state: State,
        scheduler: Scheduler,
        faults: Faults,
        folder: Path,
        container: Container | None = None,
    ) -> None:
        self.state = state
        self.scheduler = scheduler
        self.faults = faults
        self.folder = folder
        self.container = container
        self.workspace = "local"
        self.token_id = ""
        self.web_url = ""

    async def before(self, rpc: str) -> None:
        """Counts an RPC and injects faults."""
        self.state.rpc_counts[rpc] += 1
        latency = self.faults.seconds("rpc-latency-ms")
        if latency:
            await asyncio.sleep(latency)
        status = self.faults.hit("rpc-error", rpc)
        if status is not None:
            raise GRPCError(Status[status or "UNAVAILABLE"], f"injected fault in {rpc}")

    def environment(self, name: str) -> str:
        """The environment with this name, the default one without. Raises NOT_FOUND."""
        name = name or self.state.default_environment
        if name not in self.state.environments:
            raise not_found(f"Environment '{name}' not found")
        return name

    def get_or_create(self, registry: Registry, request: Any, content: Any) -> Named:
        """Looks up or makes a named object as the request's creation type says; `content` is called for a new one."""
        environment = self.environment(request.environment_name)
        creation = request.object_creation_type
        if creation in (
            api_pb2.OBJECT_CREATION_TYPE_EPHEMERAL,
            api_pb2.OBJECT_CREATION_TYPE_ANONYMOUS_OWNED_BY_APP,
        ):
            return registry.add(environment, "", content(""))
        name = request.deployment_name
        found = registry.find(environment, name)
        if found is None:
            if creation == api_pb2.OBJECT_CREATION_TYPE_UNSPECIFIED:
                raise not_found(f"{registry.kind} '{name}' not found in environment '{environment}'")
            return registry.add(environment, name, content(name))
        if creation == api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
            raise GRPCError(Status.ALREADY_EXISTS, f"{registry.kind} '{name}' already exists")
        if creation == api_pb2.OBJECT_CREATION_TYPE_CREATE_OVERWRITE_IF_EXISTS:
            found.content = content(name)
        return found

    @staticmethod
    def by_id(registry: Registry, object_id: str) -> Named:
        """The object with this id. Raises NOT_FOUND."""
        found = registry.by_id.get(object_id)
        if found is None:
            raise not_found(f"{registry.kind} {object_id} not found")
        return found

    def creation(self, item: Named) -> api_pb2.CreationInfo:
        """When and by whom an object was made."""
        return api_pb2.CreationInfo(created_at=item.created_at, created_by=self.workspace)
