"""A job's live events (SSE): a snapshot on connect, then what changes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from .api_error import ApiError
from .jobs import TERMINAL, Jobs
from .limits import STREAMS

STREAM_SECONDS = 140.0
"""An event stream ends before Modal cuts it at 150 s; clients connect again and get a snapshot."""

EVENT_INTERVAL = 0.15
"""Seconds between two looks at a job. With a worker's REPORT_INTERVAL of 0.1 s, and four calls of the store for each, a
progress is told within 0.5 s while a call takes less than 50 ms."""

KEEPALIVE = 15.0
"""Seconds between comments on a quiet stream; the official SDKs give up after 45."""


class EventStreams:
    """The streams of one container."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._open = 0

    async def open(
        self, job_id: str, shown: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> AsyncIterator[str]:
        """The stream of a job; `shown` makes a job what this caller sees. Raises ApiError 404 or 429."""
        await self._jobs.get(job_id)
        if self._open >= STREAMS:
            message = f"This container has {STREAMS} event streams open; ask for the job instead."
            raise ApiError(429, "too_many_streams", message, retry_after=5)
        return self._counted(self._events(job_id, shown))

    async def _counted(self, events: AsyncIterator[str]) -> AsyncIterator[str]:
        self._open += 1
        try:
            async for piece in events:
                yield piece
        finally:
            self._open -= 1

    async def _events(
        self, job_id: str, shown: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> AsyncIterator[str]:
        """Snapshots as they change; outputs come before the terminal status, after which the stream ends."""
        opened = spoke = time.monotonic()
        told: dict[str, Any] = {}
        sent_outputs: set[str] = set()
        while time.monotonic() - opened < STREAM_SECONDS:
            job, reported = await self._jobs.reported(job_id)
            job = shown(job)
            ended = job["status"] in TERMINAL
            pieces: list[str] = []
            if not ended and told.get("status") != job["status"]:
                pieces.append(
                    _event("status", {"status": job["status"], "queue_position": job["queue_position"]})
                )
            if job["progress"] is not None and told.get("progress") != job["progress"]:
                pieces.append(_event("progress", job["progress"], reported))
            preview = None if ended else await self._jobs.preview(job["id"])
            if preview is not None and told.get("preview") != preview:
                pieces.append(_event("preview", preview))
            for output in job["outputs"]:
                if output["id"] not in sent_outputs:
                    sent_outputs.add(output["id"])
                    pieces.append(_event("output", output))
            told = {"status": job["status"], "progress": job["progress"], "preview": preview}
            if ended:
                pieces.append(_event("status", {"status": job["status"], "queue_position": None}))
            now = time.monotonic()
            if not pieces and now - spoke >= KEEPALIVE:
                pieces.append(": keepalive\n\n")
            if pieces:
                spoke = now
                yield "".join(pieces)
            if ended:
                return
            await asyncio.sleep(EVENT_INTERVAL)


def _event(kind: str, data: Any, reported: float | None = None) -> str:
    """One event; its id is the moment at which the worker reported it, in milliseconds since 1970."""
    moment = "" if reported is None else f"id: {round(reported * 1000)}\n"
    return f"event: {kind}\ndata: {json.dumps(data)}\n{moment}\n"
