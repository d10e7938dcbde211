"""The control plane that the real `runpod` worker SDK polls."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import Any

from aiohttp import web

from ..faults import Faults
from .answers import error
from .endpoints import Endpoint, Endpoints
from .jobs import Job
from .limits import RESULT_BYTES, STREAM_CHUNK_BYTES
from .workers import Worker

TAKE_POLL_S = 15.0
"""Seconds that a worker's request for a job is held."""

STOP_CHECK_S = 0.25
"""Seconds after which a held request sees that its worker shall stop."""


class WorkerApi:
    """Routes below /v2/<endpoint> that workers use; RunPod checks them by the worker's id."""

    def __init__(self, endpoints: Endpoints, faults: Faults) -> None:
        self._endpoints = endpoints
        self._faults = faults

    def routes(self) -> list[web.RouteDef]:
        """To be added to an application."""
        api = "/v2/{endpoint}"
        return [
            web.get(f"{api}/job-take/{{worker}}", self._take),
            web.get(f"{api}/job-take-batch/{{worker}}", self._take_batch),
            web.get(f"{api}/job-stop/{{worker}}", self._job_stop),
            web.post(f"{api}/job-done/{{worker}}/{{id}}", self._done),
            web.post(f"{api}/job-stream/{{worker}}/{{id}}", self._stream_in),
            web.get(f"{api}/ping/{{worker}}", self._ping),
        ]

    def _worker(self, request: web.Request) -> tuple[Endpoint, Worker] | None:
        endpoint = self._endpoints.get(request.match_info["endpoint"])
        worker = endpoint.pool.workers.get(request.match_info["worker"]) if endpoint is not None else None
        return None if endpoint is None or worker is None else (endpoint, worker)

    async def _next_jobs(self, request: web.Request, count: int) -> list[Job]:
        found = self._worker(request)
        if found is None:
            return []
        endpoint, worker = found
        if not worker.ready:
            worker.ready, worker.idle_since = True, time.monotonic()
        for job_id in [job.id for job in worker.jobs.values() if job.terminal or job.id in worker.to_stop]:
            worker.let_go(job_id)  # the SDK asks again when it has room: what was cancelled is over
        deadline = time.monotonic() + TAKE_POLL_S
        taken: list[Job] = []
        while not worker.stopping and time.monotonic() < deadline:
            while len(taken) < count and (job := endpoint.jobs.take(worker.id)) is not None:
                taken.append(job)
                worker.jobs[job.id] = job
            if taken:
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(endpoint.jobs.arrived.wait(), STOP_CHECK_S)
        if taken and self._faults.hit("kill-worker") is not None:
            endpoint.pool.kill(worker)
        return taken

    async def _take(self, request: web.Request) -> web.Response:
        jobs = await self._next_jobs(request, 1)
        return web.json_response(_for_worker(jobs[0])) if jobs else web.Response(status=204)

    async def _take_batch(self, request: web.Request) -> web.Response:
        size = request.query.get("batch_size", "1")
        if not size.isdecimal():
            return error(400, "`batch_size` must be a number")
        jobs = await self._next_jobs(request, int(size))
        return web.json_response([_for_worker(job) for job in jobs]) if jobs else web.Response(status=204)

    async def _job_stop(self, request: web.Request) -> web.Response:
        found = self._worker(request)
        if found is None:
            return web.json_response({"jobsToStop": []})
        worker = found[1]
        deadline = time.monotonic() + TAKE_POLL_S
        told = worker.stops_to_tell()
        while not told and not worker.stopping and time.monotonic() < deadline:
            worker.stop_arrived.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(worker.stop_arrived.wait(), STOP_CHECK_S)
            told = worker.stops_to_tell()
        return web.json_response({"jobsToStop": told})

    async def _done(self, request: web.Request) -> web.Response:
        endpoint = self._endpoints.get(request.match_info["endpoint"])
        job = endpoint.jobs.get(request.match_info["id"]) if endpoint is not None else None
        body = await request.read()
        if endpoint is None or job is None:
            return web.json_response({"error": "job not found"}, status=404)
        worker = endpoint.pool.workers.get(request.match_info["worker"])
        too_large = len(body) > RESULT_BYTES
        try:
            document: Any = {} if too_large else json.loads(body)
        except ValueError:
            return error(400, "the result is not JSON")
        if document.get("status") == "IN_PROGRESS":
            if job.status == "IN_PROGRESS":
                job.output, job.has_output = document.get("output"), True
            return web.json_response({"status": "ok"})
        if worker is not None:
            worker.let_go(job.id)
            worker.handled += 1
        self._result(endpoint, job, document)
        if too_large:
            return error(400, f"the result is {len(body)} bytes; the limit is {RESULT_BYTES}")
        if worker is not None and document.get("stopPod"):
            await endpoint.pool.stop_worker(worker)
        return web.json_response({"status": "ok"})

    def _result(self, endpoint: Endpoint, job: Job, document: dict[str, Any]) -> None:
        if job.terminal:
            return
        job.has_output, job.output = "output" in document, document.get("output")
        if self._faults.hit("lose-result") is not None:
            job.has_output, job.output = False, None
        if document.get("error") is not None:
            endpoint.jobs.end(job, "FAILED", error=document["error"])
        else:
            endpoint.jobs.end(job, "COMPLETED")

    async def _stream_in(self, request: web.Request) -> web.Response:
        endpoint = self._endpoints.get(request.match_info["endpoint"])
        job = endpoint.jobs.get(request.match_info["id"]) if endpoint is not None else None
        if job is not None:
            body = await request.read()
            if len(body) > STREAM_CHUNK_BYTES:
                return error(400, f"the piece is {len(body)} bytes; the limit is {STREAM_CHUNK_BYTES}")
            document: Any = json.loads(body)
            job.stream.append(document.get("output"))
        return web.json_response({"status": "ok"})

    async def _ping(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})


def _for_worker(job: Job) -> dict[str, Any]:
    document: dict[str, Any] = {"id": job.id, "input": job.input}
    return {**document, "webhook": job.webhook} if job.webhook else document
