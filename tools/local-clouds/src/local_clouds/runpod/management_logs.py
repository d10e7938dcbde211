"""Workers of an endpoint and what they print, as the management API shows them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from .answers import cut
from .management_resources import Refused
from .worker_log import MOST_LINES, SOURCES, LogLine, WorkerLog
from .workers import Worker

USUAL_TAIL = 100
"""Lines of the past without `tail` (the document's default)."""

STATES = ("running", "idle", "initializing", "throttled", "unhealthy")


def worker_list(
    endpoint: Mapping[str, Any], version: int, workers: Iterable[Worker], stale: Collection[str]
) -> dict[str, Any]:
    """The active workers of an endpoint; those in `stale` run an older release."""
    shown = [_shown(endpoint, version, worker, worker.id in stale) for worker in workers]
    summary = {state: sum(each["status"] == state.upper() for each in shown) for state in STATES}
    return {"workers": shown, "summary": {**summary, "total": len(shown)}, "endpointVersion": version}


def _shown(endpoint: Mapping[str, Any], version: int, worker: Worker, stale: bool) -> dict[str, Any]:
    gpu: Mapping[str, Any] = endpoint.get("gpu") or {}
    started = worker.process is not None
    return {
        "id": worker.id,
        "status": "RUNNING" if worker.jobs else "IDLE" if worker.ready else "INITIALIZING",
        "isStale": stale,
        "version": None if stale else version,
        "gpuCount": gpu.get("count", 0),
        "image": None if stale else endpoint.get("image"),
        "uptimeSeconds": int((datetime.now(UTC) - worker.created).total_seconds()) if started else None,
        # Nothing is placed here: there are no cards and no data centres.
        "gpuTypeId": None,
        "dataCenterId": None,
        "startedAt": _text(worker.created) if started else None,
    }


def log_lines(log: WorkerLog, query: Mapping[str, str], resume_from: str | None) -> AsyncIterator[LogLine]:
    """The lines that a query asks for, then each new one; raises Refused."""
    problems: list[str] = []
    source, tail, since = query.get("source"), USUAL_TAIL, resume_from or query.get("since")
    if source is not None and source not in SOURCES:
        problems.append(f"source: must be {' or '.join(SOURCES)}")
    if "tail" in query:
        tail = int(query["tail"]) if query["tail"].isdecimal() else MOST_LINES + 1
        if tail > MOST_LINES:
            problems.append(f"tail: must be from 0 to {MOST_LINES}")
    start: datetime | None = None
    if since is not None:
        try:
            start = datetime.fromisoformat(since)
        except ValueError:
            problems.append("since: must be a date and time")
    if problems:
        raise Refused(422, "Request validation failed.", problems)
    return _of_source(log.follow(tail=tail, since=start), source)


async def _of_source(lines: AsyncIterator[LogLine], source: str | None) -> AsyncIterator[LogLine]:
    async for line in lines:
        if source is None or line.source == source:
            yield line


async def send_lines(
    request: web.Request, lines: AsyncIterator[LogLine], cut_after: int | None
) -> web.StreamResponse:
    """Server-sent events, until the worker has ended or nobody reads; cut after so many where that is asked for."""
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    )
    await response.prepare(request)
    sent = 0
    async for line in lines:
        if sent == cut_after:
            return cut(request)
        at = _text(line.at)
        data = json.dumps({"source": line.source, "line": line.text, "ts": at})
        await response.write(f"id: {at}\ndata: {data}\n\n".encode())
        sent += 1
    await response.write_eof()
    return response


def _text(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
