"""The gRPC service: all groups of RPCs together."""

# Each RPC is implemented by one group; the generated base only declares them.
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

from modal_proto import api_grpc

from .rpc import refuse_the_rest
from .services.billing import BillingService
from .services.call_reports import CallReportService
from .services.containers import ContainerService
from .services.environments import EnvironmentService
from .services.files import FileService
from .services.storage import StorageService


@refuse_the_rest
class ControlPlane(
    CallReportService,
    BillingService,
    ContainerService,
    EnvironmentService,
    FileService,
    StorageService,
    api_grpc.ModalClientBase,
):
    """Answers the real client, and containers over sockets of their own."""
