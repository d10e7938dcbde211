"""The gRPC service: all groups of RPCs together."""

# Each RPC is implemented by one group; the generated base only declares them.
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

from modal_proto import api_grpc

from .rpc import refuse_the_rest
from .services.apps import AppService
from .services.calls import CallService
from .services.containers import ContainerService
from .services.environments import EnvironmentService
from .services.files import FileService
from .services.storage import StorageService


@refuse_the_rest
class ControlPlane(
    AppService,
    CallService,
    ContainerService,
    EnvironmentService,
    FileService,
    StorageService,
    api_grpc.ModalClientBase,
):
    """Answers the real client, and containers over sockets of their own."""
