"""RunPod's job API: what callers of an endpoint ask."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from ..faults import Faults
from .answers import cut, error, half
from .endpoints import Endpoint, Endpoints
from .jobs import Job
from .limits import (
    EXECUTION_TIMEOUT_MS,
    EXECUTION_TIMEOUT_RANGE_MS,
    RUN_BODY_BYTES,
    RUN_RETENTION_MS,
    RUNSYNC_BODY_BYTES,
    RUNSYNC_RETENTION_MS,
    RUNSYNC_WAIT_MS,
    TTL_MS,
    TTL_RANGE_MS,
)

Handler = Callable[[web.Request, Endpoint], Awaitable[web.StreamResponse]]


class JobApi:
    """Routes below /v2/<endpoint> that need the account's key."""

    def __init__(self, endpoints: Endpoints, faults: Faults, api_key: str, now: Callable[[], float]) -> None:
        self._endpoints = endpoints
        self._faults = faults
        self._api_key = api_key
        self._now = now

    def routes(self) -> list[web.RouteDef]:
        """To be added to an application."""
        api = "/v2/{endpoint}"
        return [
            web.post(f"{api}/run", self._operation("run", self._run)),
            web.post(f"{api}/runsync", self._operation("runsync", self._runsync)),
            web.get(f"{api}/status/{{id}}", self._operation("status", self._status)),
            web.get(f"{api}/stream/{{id}}", self._operation("stream", self._stream)),
            web.post(f"{api}/cancel/{{id}}", self._operation("cancel", self._cancel)),
            web.post(f"{api}/retry/{{id}}", self._operation("retry", self._retry)),
            web.post(f"{api}/purge-queue", self._operation("purge-queue", self._purge)),
            web.get(f"{api}/health", self._operation("health", self._health)),
        ]

    def _operation(
        self, name: str, handler: Handler
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            if request.headers.get("Authorization") != f"Bearer {self._api_key}":
                return error(401, "Unauthorized")
            endpoint = self._endpoints.get(request.match_info["endpoint"])
            if endpoint is None:
                return error(404, "endpoint not found")
            await asyncio.sleep(float(self._faults.hit("latency-ms", name) or 0) / 1000)
            status = self._faults.hit("http-error", name)
            if status is not None:
                return error(int(status or 500), "injected fault")
            limited = self._faults.hit("rate-limit", name)
            with endpoint.rates.call(name) as allowed:
                if limited is not None or not allowed:
                    headers = {"Retry-After": limited} if limited else {}
                    return error(429, "too many requests", headers)
                return await handler(request, endpoint)

        return handle

    async def _accept(
        self, request: web.Request, endpoint: Endpoint, limit: int, retention: float
    ) -> Job | web.Response:
        body = await request.read()
        if len(body) > limit:
            return error(400, f"request body is {len(body)} bytes; the limit is {limit}")
        try:
            document: Any = json.loads(body)
        except ValueError:
            return error(400, "the body is not JSON")
        if not isinstance(document, dict) or "input" not in document:
            return error(400, "`input` is required")
        try:
            job = self._job(document, retention)
        except (TypeError, ValueError) as wrong:
            return error(400, str(wrong))
        endpoint.jobs.add(job)
        self._endpoints.scale(endpoint)
        return job

    def _job(self, document: dict[str, Any], retention: float) -> Job:
        policy: dict[str, Any] = document.get("policy") or {}
        timeout = float(policy.get("executionTimeout", EXECUTION_TIMEOUT_MS))
        ttl = float(policy.get("ttl", TTL_MS))
        for name, value, (least, most) in (
            ("policy.executionTimeout", timeout, EXECUTION_TIMEOUT_RANGE_MS),
            ("policy.ttl", ttl, TTL_RANGE_MS),
        ):
            if not least <= value <= most:
                raise ValueError(f"{name} must be from {least} to {most} ms")
        return Job(
            document["input"],
            self._now(),
            webhook=document.get("webhook"),
            execution_timeout=timeout,
            ttl=ttl,
            low_priority=bool(policy.get("lowPriority", False)),
            retention=retention,
        )

    async def _run(self, request: web.Request, endpoint: Endpoint) -> web.StreamResponse:
        if self._faults.hit("drop-before-accept") is not None:
            return cut(request)
        job = await self._accept(request, endpoint, RUN_BODY_BYTES, RUN_RETENTION_MS)
        if not isinstance(job, Job):
            return job
        if self._faults.hit("drop-after-accept") is not None:
            return cut(request)
        return web.json_response({"id": job.id, "status": "IN_QUEUE"})

    async def _runsync(self, request: web.Request, endpoint: Endpoint) -> web.StreamResponse:
        least, most, usual = RUNSYNC_WAIT_MS
        try:
            wait = min(max(float(request.query.get("wait", usual)), least), most)
        except ValueError:
            return error(400, "`wait` must be a number of milliseconds")
        job = await self._accept(request, endpoint, RUNSYNC_BODY_BYTES, RUNSYNC_RETENTION_MS)
        if not isinstance(job, Job):
            return job
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(job.changed.wait(), wait / 1000)
        return web.json_response(job.envelope() if job.terminal else {"id": job.id, "status": job.status})

    async def _status(self, request: web.Request, endpoint: Endpoint) -> web.StreamResponse:
        job = endpoint.jobs.get(request.match_info["id"])
        if job is None:
            return error(404, "job not found")
        if "ttl" in request.query:
            try:
                job.expires = self._now() + float(request.query["ttl"])
            except ValueError:
                return error(400, "`ttl` must be a number of milliseconds")
        if self._faults.hit("malformed-json") is not None:
            return web.Response(text="<html>bad gateway</html>", content_type="application/json")
        if self._faults.hit("truncated-json") is not None:
            return await half(request, json.dumps(job.envelope()).encode())
        return web.json_response(job.envelope())

    async def _stream(self, request: web.Request, endpoint: Endpoint) -> web.StreamResponse:
        job = endpoint.jobs.get(request.match_info["id"])
        if job is None:
            return error(404, "job not found")
        new, job.streamed = job.stream[job.streamed :], len(job.stream)
        return web.json_response({"status": job.status, "stream": [{"output": item} for item in new]})

    async def _cancel(self, request: web.Request, endpoint: Endpoint) -> web.StreamResponse:
        job = endpoint.jobs.get(request.match_info["id"])
        if job is None or job.terminal:
            return error(404, "job not found or already finished")
        worker = endpoint.pool.workers.get(job.worker_id or "")
        endpoint.jobs.end(job, "CANCELLED")
        if worker is not None:
            # The SDK has a stop channel since 1.12: the worker is told, and frees itself.
            worker.order_stop(job.id)
        return web.json_response({"id": job.id, "status": "CANCELLED"})

    async def _retry(self, request: web.Request, endpoint: Endpoint) -> web.StreamResponse:
        job = endpoint.jobs.get(request.match_info["id"])
        if job is None:
            return error(404, "job not found")
        if job.status not in ("FAILED", "TIMED_OUT"):
            return error(400, f"a job that is {job.status} cannot be retried")
        endpoint.jobs.again(job)
        self._endpoints.scale(endpoint)
        return web.json_response({"id": job.id, "status": "IN_QUEUE"})

    async def _purge(self, _: web.Request, endpoint: Endpoint) -> web.StreamResponse:
        return web.json_response({"removed": endpoint.jobs.purge(), "status": "completed"})

    async def _health(self, _: web.Request, endpoint: Endpoint) -> web.StreamResponse:
        jobs, workers = endpoint.jobs.all(), list(endpoint.pool.workers.values())
        running = [worker for worker in workers if worker.jobs]
        ready = [worker for worker in workers if worker.ready]
        return web.json_response(
            {
                "jobs": {
                    **endpoint.jobs.counts,
                    "inProgress": sum(job.status == "IN_PROGRESS" for job in jobs),
                    "inQueue": endpoint.jobs.waiting(),
                },
                "workers": {
                    "idle": len(ready) - len(running),
                    "running": len(running),
                    "initializing": len(workers) - len(ready),
                    "ready": len(ready),
                    "throttled": 0,
                },
            }
        )
