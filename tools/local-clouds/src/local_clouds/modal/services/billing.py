"""Billing: the seconds of every container, at prices that nobody charges."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from modal_proto import api_pb2

from ..container import Container
from ..records import AppRecord
from ..rpc import streaming, unary
from .logs import LogService, seconds

RATES = {"CPU": Decimal("0.00001"), "GPU": Decimal("0.001")}
"""Dollars of a container's second: invented, so that nobody takes them for Modal's."""

RESOLUTIONS = {"d": 86_400, "h": 3_600}
"""Seconds of an interval."""


class BillingService(LogService):
    """What `modal billing report` and `rates` ask. Containers that ended long ago are not remembered."""

    @streaming
    async def WorkspaceBillingReport(self, request: Any) -> AsyncIterator[Any]:
        width = RESOLUTIONS.get(request.resolution, RESOLUTIONS["d"])
        since, until = seconds(request.start_timestamp), seconds(request.end_timestamp)
        used: dict[tuple[str, int], dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
        for container in (*self.state.containers(), *self.state.ended):
            for start, spent in _spans(container, width):
                if since // width * width <= start < until:
                    for resource in _resources(container):
                        price = RATES["CPU" if resource == "CPU" else "GPU"]
                        used[container.function.app.id, start][resource] += price * Decimal(f"{spent:.3f}")
        for (app_id, start), costs in sorted(used.items(), key=lambda entry: entry[0][1]):
            yield _item(self.app(app_id), start, costs, request.tag_names)

    @unary
    async def WorkspaceBillingRates(self, request: Any) -> Any:
        listed = {name: str(price) for name, price in RATES.items()}
        text = "\n".join(f"{name} {price} per container second (invented)" for name, price in RATES.items())
        return api_pb2.WorkspaceBillingRatesResponse(rates=listed, formatted=text)


def _spans(container: Container, width: int) -> list[tuple[int, float]]:
    """A container's life by interval: its beginning, and the seconds in it."""
    begin, end = container.started_at, container.ended_at or time.time()
    starts = range(int(begin // width * width), int(end) + 1, width)
    return [(start, min(end, start + width) - max(begin, start)) for start in starts]


def _resources(container: Container) -> list[str]:
    gpu = container.function.definition.resources.gpu_config.gpu_type
    return ["CPU", *([gpu] if gpu else [])]


def _item(app: AppRecord, start: int, costs: dict[str, Decimal], tag_names: Any) -> Any:
    wanted = {name: value for name, value in app.tags.items() if "*" in tag_names or name in tag_names}
    return api_pb2.WorkspaceBillingReportItem(
        object_id=app.id,
        description=app.name,
        environment_name=app.environment,
        interval=Timestamp(seconds=start),
        cost=str(sum(costs.values())),
        tags=wanted,
        cost_by_resource={resource: str(cost) for resource, cost in costs.items()},
    )
