"""What a container says: it is alive, it wants inputs, it has outputs, it ended."""

from __future__ import annotations

import time
from typing import Any

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2

from ..container import Container
from ..rpc import unary, until
from .base import Service

HEARTBEAT_HOLD = 14.8
"""Seconds that a heartbeat is held when there is nothing to cancel (contracts: the client waits up to 15)."""

INPUT_POLL = 20.0
"""Seconds that a request for inputs is held."""


class ContainerService(Service):
    """The container's side; `self.container` says which."""

    def _container(self) -> Container:
        if self.container is None:
            raise RuntimeError("a container RPC came over the client's connection")
        return self.container

    @unary
    async def ContainerHello(self, request: Empty) -> Any:
        return Empty()

    @unary
    async def ContainerHeartbeat(self, request: Any) -> Any:
        container = self._container()
        response = api_pb2.ContainerHeartbeatResponse()
        if not container.to_cancel:
            await until(container.cancel_arrived, HEARTBEAT_HOLD)
        container.cancel_arrived.clear()
        if container.to_cancel:
            response.cancel_input_event.input_ids.extend(container.to_cancel)
            container.to_cancel.clear()
        return response

    @unary
    async def ContainerLog(self, request: Any) -> Any:
        return Empty()

    @unary
    async def FunctionGetInputs(self, request: Any) -> Any:
        container = self._container()
        self.scheduler.ready(container)
        deadline = time.monotonic() + INPUT_POLL
        function = container.function
        while True:
            if container.stopping:
                item = api_pb2.FunctionGetInputsItem(kill_switch=True)
                return api_pb2.FunctionGetInputsResponse(inputs=[item])
            if function.pending:
                break
            event = function.arrived
            if not await until(event, deadline - time.monotonic()) and not container.stopping:
                return api_pb2.FunctionGetInputsResponse()
        size = max(1, request.batch_max_size)
        if size > 1:
            end = time.monotonic() + request.batch_linger_ms / 1000
            while len(function.pending) < size and await until(function.arrived, end - time.monotonic()):
                continue
        items = [self.scheduler.hand_out(container) for _ in range(min(size, len(function.pending)))]
        return api_pb2.FunctionGetInputsResponse(inputs=items)

    @unary
    async def FunctionPutOutputs(self, request: Any) -> Any:
        for output in request.outputs:
            self.scheduler.put_output(output, self.container)
        return Empty()

    @unary
    async def TaskCurrentInputs(self, request: Empty) -> Any:
        ids = [item.id for item in self._container().inputs.values()]
        return api_pb2.TaskCurrentInputsResponse(input_ids=ids)

    @unary
    async def TaskResult(self, request: Any) -> Any:
        if request.result.status != api_pb2.GenericResult.GENERIC_STATUS_SUCCESS:
            self._container().failure = request.result
        return Empty()
