"""Calls: inputs in, outputs out, cancellation, and the streams of generators."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from ..records import Call, Input, new_id
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
            raise not_found(f"Function call {call_id} not found")
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
        call = Call(function, invocation_type=request.function_call_invocation_type)
        self.state.calls[call.id] = call
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
        call = self.call(request.function_call_id)
        if self.faults.hit("output-expired") is not None:
            raise not_found(f"Outputs of {call.id} have expired")
        start = int((request.last_entry_id or "0").partition("-")[0])
        if request.HasField("start_idx"):
            return await self._outputs_by_index(call, request)
        await call.outputs.longer_than(start, request.timeout)
        outputs = call.outputs.items[start:][: request.max_values or None]
        return api_pb2.FunctionGetOutputsResponse(
            outputs=outputs,
            idxs=[output.idx for output in outputs],
            last_entry_id=f"{start + len(outputs)}-0",
            num_unfinished_inputs=call.unfinished,
        )

    async def _outputs_by_index(self, call: Call, request: Any) -> Any:
        seen = -1
        while True:
            wanted = [o for o in call.outputs.items if request.start_idx <= o.idx <= request.end_idx]
            if wanted or not await call.outputs.longer_than(
                max(seen, len(call.outputs.items)), request.timeout
            ):
                break
            seen = len(call.outputs.items)
        return api_pb2.FunctionGetOutputsResponse(
            outputs=wanted, idxs=[output.idx for output in wanted], num_unfinished_inputs=call.unfinished
        )

    @unary
    async def FunctionCallFromId(self, request: Any) -> Any:
        call = self.call(request.function_call_id)
        return api_pb2.FunctionCallFromIdResponse(function_call_id=call.id, num_inputs=len(call.inputs))

    @unary
    async def FunctionCallCancel(self, request: Any) -> Any:
        await self.scheduler.cancel(self.call(request.function_call_id), request.terminate_containers)
        return Empty()

    @unary
    async def FunctionCallList(self, request: Any) -> Any:
        calls = [
            api_pb2.FunctionCallInfo(function_call_id=call.id, created_at=call.created_at)
            for call in self.state.calls.values()
            if call.function.id == request.function_id
        ]
        return api_pb2.FunctionCallListResponse(function_calls=calls)

    @unary
    async def FunctionGetCallGraph(self, request: Any) -> Any:
        call = self.call(request.function_call_id)
        inputs = [
            api_pb2.InputCallGraphInfo(
                input_id=item.id, function_call_id=call.id, status=self.scheduler.status_of(item)
            )
            for item in call.inputs
        ]
        info = api_pb2.FunctionCallCallGraphInfo(
            function_call_id=call.id,
            function_name=call.function.name,
            module_name=call.function.definition.module_name,
        )
        return api_pb2.FunctionGetCallGraphResponse(inputs=inputs, function_calls=[info])

    @streaming
    async def FunctionCallGetDataOut(self, request: Any) -> AsyncIterator[Any]:
        call = self._call_of(request)
        async for index, chunk in call.data_out.read(request.last_index):
            message = api_pb2.DataChunk()
            message.CopyFrom(chunk)
            message.index = index + 1
            yield message

    @streaming
    async def FunctionCallGetDataIn(self, request: Any) -> AsyncIterator[Any]:
        call = self._call_of(request)
        async for index, chunk in call.data_in.read(request.last_index):
            message = api_pb2.DataChunk()
            message.CopyFrom(chunk)
            message.index = index + 1
            yield message

    @unary
    async def FunctionCallPutDataOut(self, request: Any) -> Any:
        call = self._call_of(request)
        for chunk in request.data_chunks:
            call.data_out.put(chunk)
        return Empty()

    def _call_of(self, request: Any) -> Call:
        if request.WhichOneof("call_info") == "attempt_token" and request.attempt_token:
            return self._attempt(request.attempt_token).call
        return self.call(request.function_call_id)

    # -- the input plane: calls without a function call id, used by newer clients ------------------------

    def _attempt(self, token: str) -> Input:
        found = self.state.attempts.get(token)
        if found is None:
            raise not_found("attempt not found")
        return found

    @unary
    async def AttemptStart(self, request: Any) -> Any:
        function = self.function(request.function_id)
        call = Call(function)
        self.state.calls[call.id] = call
        token = new_id("at")
        self.state.attempts[token] = self.scheduler.enqueue(call, request.input.input, 0)
        return api_pb2.AttemptStartResponse(
            attempt_token=token, retry_policy=function.definition.retry_policy
        )

    @unary
    async def AttemptAwait(self, request: Any) -> Any:
        call = self._attempt(request.attempt_token).call
        await call.outputs.longer_than(0, request.timeout_secs)
        return api_pb2.AttemptAwaitResponse(output=call.outputs.items[0] if call.outputs.items else None)
