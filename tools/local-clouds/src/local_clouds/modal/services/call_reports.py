"""What is told of calls: counts by outcome, the graph of calls, the inputs of a function over time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from modal_proto import api_pb2

from ..records import Call, Input
from ..rpc import unary
from .calls import CallService
from .logs import seconds

Outcome = api_pb2.GenericResult

OUTCOMES = {
    Outcome.GENERIC_STATUS_UNSPECIFIED: "pending_inputs",
    Outcome.GENERIC_STATUS_SUCCESS: "succeeded_inputs",
    Outcome.GENERIC_STATUS_TIMEOUT: "timeout_inputs",
    Outcome.GENERIC_STATUS_TERMINATED: "cancelled_inputs",
}
"""Where FunctionCallInfo counts an input with a status; every other status is a failed input."""


class CallReportService(CallService):
    """What `modal function calls`, `get_call_graph` and the logs of a call ask."""

    @unary
    async def FunctionCallGetInfo(self, request: Any) -> Any:
        return api_pb2.FunctionCallGetInfoResponse(info=_info(self.call(request.function_call_id)))

    @unary
    async def FunctionCallList(self, request: Any) -> Any:
        calls = [_info(call) for call in self.state.calls if call.function.id == request.function_id]
        return api_pb2.FunctionCallListResponse(function_calls=calls)

    @unary
    async def FunctionGetCallGraph(self, request: Any) -> Any:
        graph = self._graph(self.call(request.function_call_id))
        inputs = [
            api_pb2.InputCallGraphInfo(
                input_id=item.id,
                function_call_id=call.id,
                status=item.status,
                task_id=item.last_container.id if item.last_container is not None else "",
            )
            for call in graph
            for item in call.inputs
        ]
        calls = [
            api_pb2.FunctionCallCallGraphInfo(
                function_call_id=call.id,
                parent_input_id=call.parent_input_id,
                function_name=call.function.name,
                module_name=call.function.definition.module_name,
            )
            for call in graph
        ]
        return api_pb2.FunctionGetCallGraphResponse(inputs=inputs, function_calls=calls)

    def _graph(self, call: Call) -> list[Call]:
        """The call that started it all, and all that came of it."""
        while call.parent_input_id in self.state.inputs:
            call = self.state.inputs[call.parent_input_id].call
        children: dict[str, list[Call]] = {}
        for other in self.state.calls:
            children.setdefault(other.parent_input_id, []).append(other)
        graph = [call]
        for parent in graph:
            for item in parent.inputs:
                graph += children.get(item.id, [])
        return graph

    def _inputs(self, request: Any) -> list[Input]:
        function = self.function(request.function_id)
        wanted = {f.id for f in self.state.family(function.id)} if request.all_variants else {function.id}
        found = [item for call in self.state.calls if call.function.id in wanted for item in call.inputs]
        return sorted(found, key=lambda item: item.enqueued_at)

    @unary
    async def FunctionCallFetch(self, request: Any) -> Any:
        found = self._inputs(request)
        if request.WhichOneof("query_oneof") == "range":
            found = list(_between(found, request.range))[: request.range.limit or None]
        else:
            found = list(reversed(found))[: request.tail.count]
        return api_pb2.FunctionCallFetchResponse(function_call_inputs=[_input_info(item) for item in found])

    @unary
    async def FunctionCallCount(self, request: Any) -> Any:
        width = max(1, request.bucket_secs)
        found = _between(self._inputs(request), request)
        counts = Counter(int(item.enqueued_at // width * width) for item in found)
        buckets = [
            api_pb2.FunctionCallCountResponse.InputBucket(
                bucket_start_at=Timestamp(seconds=start), count=counts[start]
            )
            for start in sorted(counts)
        ]
        return api_pb2.FunctionCallCountResponse(buckets=buckets)


def _between(items: Iterable[Input], span: Any) -> Iterable[Input]:
    since, until = seconds(span.since), seconds(span.until)
    return (item for item in items if since <= item.enqueued_at < until)


def _info(call: Call) -> Any:
    info = api_pb2.FunctionCallInfo(
        function_call_id=call.id, created_at=call.created_at, total_inputs=len(call.inputs)
    )
    for item in call.inputs:
        getattr(info, OUTCOMES.get(item.status, "failed_inputs")).total += 1
    return info


def _input_info(item: Input) -> Any:
    running = item.container is not None and not item.done
    name = "RUNNING" if running else _status_name(item.status)
    info = api_pb2.FunctionCallInputInfo(
        enqueued_at=_timestamp(item.enqueued_at),
        status=api_pb2.FunctionCallInputStatus.Value(f"FUNCTION_CALL_INPUT_STATUS_{name}"),
        function_call_id=item.call.id,
    )
    if item.item.method_name:
        info.service_method_name = item.item.method_name
    container = item.last_container
    if container is not None:
        info.started_at.CopyFrom(_timestamp(item.started_at))
        info.container_id = container.id
        if container.ready_at is not None:
            info.startup_time_seconds = container.ready_at - container.started_at
        if item.done:
            info.execution_time_seconds = item.finished_at - item.started_at
    return info


def _status_name(status: Any) -> str:
    name = Outcome.GenericStatus.Name(status).removeprefix("GENERIC_STATUS_")
    return "PENDING" if name == "UNSPECIFIED" else name


def _timestamp(value: float) -> Timestamp:
    whole = int(value)
    return Timestamp(seconds=whole, nanos=int((value - whole) * 1e9))
