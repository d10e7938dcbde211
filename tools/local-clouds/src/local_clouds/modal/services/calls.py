"""Calls: inputs in, outputs out, cancellation, and the streams of generators."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from ..records import Call
from ..rpc import not_found, streaming, unary
from .functions import FunctionService

MAXIMUM_OUTSTANDING = 1000
"""Inputs of one map that a client may have under way."""


class CallService(FunctionService):
    """The client's side of calls."""

    def call(self, call_id: str) -> Call:
        """The call with this id. Raises NOT_FOUND."""
        found = self.state.calls.get(call_id)
        if found is None:
            gone = "has expired" if self.state.calls.has_expired(call_id) else "not found"
            raise not_found(f"Function call {call_id} {gone}")
        return found

    def _put(self, call: Call, items: Any) -> list[Any]:
        placed: list[Any] = []
        for item in items:
            new = self.scheduler.enqueue(call, item.input, item.idx)
            placed.append(
                api_pb2.FunctionPutInputsResponseItem(idx=item.idx, input_id=new.id, input_jwt=new.id)
            )
        return placed

    @unary
    async def FunctionMap(self, request: Any) -> Any:
        function = self.function(request.function_id)
        if not function.app.running:
            raise GRPCError(Status.FAILED_PRECONDITION, f"App {function.app.id} is stopped")
        call = Call(
            function,
            invocation_type=request.function_call_invocation_type,
            parent_input_id=request.parent_input_id,
        )
        self.state.calls.add(call)
        return api_pb2.FunctionMapResponse(
            function_call_id=call.id,
            pipelined_inputs=self._put(call, request.pipelined_inputs),
            retry_policy=function.definition.retry_policy,
            max_inputs_outstanding=MAXIMUM_OUTSTANDING,
        )

    @unary
    async def FunctionPutInputs(self, request: Any) -> Any:
        call = self.call(request.function_call_id)
        return api_pb2.FunctionPutInputsResponse(inputs=self._put(call, request.inputs))

    @unary
    async def FunctionFinishInputs(self, request: Any) -> Any:
        return Empty()

    @unary
    async def FunctionGetOutputs(self, request: Any) -> Any:
        expired = self.state.calls.has_expired(request.function_call_id)
        if expired or self.faults.hit("output-expired") is not None:
            # No output and none to come is what the client raises OutputExpiredError for, when its time is over.
            await asyncio.sleep(request.timeout)
            return api_pb2.FunctionGetOutputsResponse(num_unfinished_inputs=0)
        call = self.call(request.function_call_id)
        if request.HasField("start_idx"):
            return await self._outputs_by_index(call, request)
        start = int((request.last_entry_id or "0").partition("-")[0])
        await call.outputs.longer_than(start, request.timeout)
        outputs = call.outputs.items[start:][: request.max_values or None]
        return api_pb2.FunctionGetOutputsResponse(
            outputs=outputs,
            idxs=[output.idx for output in outputs],
            last_entry_id=f"{start + len(outputs)}-0",
            num_unfinished_inputs=call.unfinished,
        )

    @staticmethod
    async def _outputs_by_index(call: Call, request: Any) -> Any:
        deadline = time.monotonic() + request.timeout
        while True:
            seen = len(call.outputs.items)
            wanted = [o for o in call.outputs.items if request.start_idx <= o.idx <= request.end_idx]
            if wanted or not await call.outputs.longer_than(seen, deadline - time.monotonic()):
                break
        return api_pb2.FunctionGetOutputsResponse(
            outputs=wanted, idxs=[output.idx for output in wanted], num_unfinished_inputs=call.unfinished
        )

    @unary
    async def FunctionCallFromId(self, request: Any) -> Any:
        call = self.call(request.function_call_id)
        metadata = api_pb2.FunctionCallHandleMetadata(
            app_id=call.function.app.id, function_id=call.function.id
        )
        return api_pb2.FunctionCallFromIdResponse(
            function_call_id=call.id, num_inputs=len(call.inputs), metadata=metadata
        )

    @unary
    async def FunctionCallCancel(self, request: Any) -> Any:
        await self.scheduler.cancel(self.call(request.function_call_id), request.terminate_containers)
        return Empty()

    @streaming
    async def FunctionCallGetDataOut(self, request: Any) -> AsyncIterator[Any]:
        call = self.call(request.function_call_id)
        async for index, chunk in call.data_out.read(request.last_index):
            message = api_pb2.DataChunk()
            message.CopyFrom(chunk)
            message.index = index + 1
            yield message

    @streaming
    async def FunctionCallGetDataIn(self, request: Any) -> AsyncIterator[Any]:
        call = self.call(request.function_call_id)
        async for index, chunk in call.data_in.read(request.last_index):
            message = api_pb2.DataChunk()
            message.CopyFrom(chunk)
            message.index = index + 1
            yield message

    @unary
    async def FunctionCallPutDataOut(self, request: Any) -> Any:
        call = self.call(request.function_call_id)
        for chunk in request.data_chunks:
            call.data_out.put(chunk)
        return Empty()
