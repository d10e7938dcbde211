"""Logs of an app, by container, function, call or text: as a stream, as a range of time, as counts."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from modal_proto import api_pb2

from ..records import AppRecord
from ..rpc import streaming, unary
from .apps import AppService

FETCH_LIMIT = 20_000
"""Entries of one answer (modal 1.6.4, _logs._FETCH_LIMIT)."""

AT_HAND = 0.01
"""Seconds that a stream without a timeout waits for entries that are already there."""


class LogService(AppService):
    """What `modal app logs`, `modal container logs` and the SDK's `.logs` ask."""

    def _logged_app(self, request: Any) -> AppRecord:
        by_container = request.task_id and not request.app_id
        return self._task(request.task_id).function.app if by_container else self.app(request.app_id)

    @streaming
    async def AppGetLogs(self, request: Any) -> AsyncIterator[Any]:
        app = self._logged_app(request)
        entries = app.logs.read(int(request.last_entry_id or 0))
        deadline = time.monotonic() + request.timeout
        while True:
            try:
                left = max(deadline - time.monotonic(), AT_HAND)
                index, batch = await asyncio.wait_for(anext(entries), left)
            except TimeoutError:
                return
            except StopAsyncIteration:
                break
            if batch.eof and batch.task_id == request.task_id:
                break
            if _wanted(batch, request, request.file_descriptor):
                numbered = api_pb2.TaskLogsBatch(entry_id=str(index + 1))
                numbered.MergeFrom(batch)
                yield numbered
        yield api_pb2.TaskLogsBatch(app_done=True)

    def _between(self, request: Any) -> list[Any]:
        app = self._logged_app(request)
        since, until = seconds(request.since), seconds(request.until) or float("inf")
        return [
            batch
            for batch in app.logs.items
            if _wanted(batch, request, request.source) and since <= batch.items[0].timestamp < until
        ]

    @unary
    async def AppFetchLogs(self, request: Any) -> Any:
        found = self._between(request)
        return api_pb2.AppFetchLogsResponse(batches=found[-(request.limit or FETCH_LIMIT) :])

    @unary
    async def AppCountLogs(self, request: Any) -> Any:
        width = max(1, request.bucket_secs)
        counts = Counter(int(batch.items[0].timestamp // width * width) for batch in self._between(request))
        buckets = [
            api_pb2.AppCountLogsResponse.LogBucket(
                bucket_start_at=Timestamp(seconds=start), stdout_logs=counts[start]
            )
            for start in sorted(counts)
        ]
        return api_pb2.AppCountLogsResponse(app_id=request.app_id, buckets=buckets)


def _wanted(batch: Any, request: Any, source: Any) -> bool:
    if not batch.items:
        return False
    entry = batch.items[0]
    pairs = (
        (source, entry.file_descriptor),
        (request.task_id, batch.task_id),
        (request.parametrized_function_id, batch.function_id),
        (request.function_call_id, entry.function_call_id),
    )
    if any(asked and asked != given for asked, given in pairs):
        return False
    if request.function_id and request.function_id not in (batch.function_id, batch.root_function_id):
        return False
    return not request.search_text or request.search_text in entry.data


def seconds(timestamp: Timestamp) -> float:
    """A timestamp in seconds since 1970; 0 when it is not set."""
    return timestamp.seconds + timestamp.nanos / 1e9
