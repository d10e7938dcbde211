"""The HTTP server of the local RunPod: job API, worker control plane, control routes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from ..faults import Faults, UnknownFault
from .jobs import Job, JobTable, milliseconds
from .limits import (
    EXECUTION_TIMEOUT_MS,
    EXECUTION_TIMEOUT_RANGE_MS,
    RESULT_BYTES,
    RUN_BODY_BYTES,
    RUN_RETENTION_MS,
    RUNSYNC_BODY_BYTES,
    RUNSYNC_RETENTION_MS,
    RUNSYNC_WAIT_MS,
    STREAM_CHUNK_BYTES,
    TTL_MS,
    TTL_RANGE_MS,
    WEBHOOK_RETRIES,
    WEBHOOK_RETRY_MS,
)
from .management import RunPodManagement
from .management_resources import Refused
from .network_volumes import NetworkVolumes
from .rate_limit import RateLimits
from .workers import EndpointConfig, Worker, WorkerPool

FAULTS = {
    "latency-ms": "an operation takes longer: latency-ms=500, or latency-ms=<run|status|…>/500",
    "http-error": "an operation fails: http-error=500, or http-error=<operation>/503",
    "rate-limit": "an operation answers 429, with Retry-After when a value in seconds is given: <operation>/2",
    "drop-before-accept": "POST /run: the connection is cut and no job is taken",
    "drop-after-accept": "POST /run: the job is taken, then the connection is cut",
    "truncated-json": "GET /status: the answer is cut in half",
    "malformed-json": "GET /status: the answer is no JSON",
    "lose-result": "a worker's result is lost: COMPLETED without output",
    "kill-worker": "the worker is killed when it takes a job",
    "cold-start-latency-ms": "a worker starts this much later",
    "duplicate-webhook": "each webhook is sent twice",
    "late-webhook-ms": "webhooks are sent this much later",
}
"""Faults of the local RunPod."""

TAKE_POLL_S = 15.0
"""Seconds that a worker's request for a job is held."""

TICK_S = 0.2
STOP_CHECK_S = 0.25
"""Seconds after which a held request sees that its worker shall stop."""


class Endpoint:
    """One serverless queue endpoint: its jobs, its workers, its limits."""

    def __init__(self, table: JobTable, pool: WorkerPool) -> None:
        self.jobs = table
        self.pool = pool
        self.rates = RateLimits()


class LocalRunPod:
    """Serves any number of endpoints, which are registered by control route. State lives in memory."""

    def __init__(
        self,
        state_dir: Path,
        host: str = "127.0.0.1",
        port: int = 0,
        api_key: str = "rk-local",
        worker_environment: Mapping[str, str] | None = None,
        faults: Iterable[str] = (),
        log: Callable[[str], None] = print,
        now: Callable[[], float] = milliseconds,
        account: Mapping[str, Any] | None = None,
        s3_port: int = 0,
    ) -> None:
        """`account` is what `read_account` gave: it is there from the start. Raises Refused where it contradicts itself."""
        self._state_dir = state_dir
        self._host = host
        self._port = port
        self.api_key = api_key
        self._worker_environment = dict(worker_environment or {})
        self.faults = Faults(FAULTS, faults)
        self._log = log
        self._now = now
        self.endpoints: dict[str, Endpoint] = {}
        self.volumes = NetworkVolumes(state_dir / "volumes")
        self._s3_port = s3_port
        self.management = RunPodManagement(self, self.volumes)
        self._account = account
        self._runner: web.AppRunner | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._webhooks: set[asyncio.Task[None]] = set()
        self.base_url = ""

    @property
    def api_url(self) -> str:
        """Address of the job API, up to /v2."""
        return f"{self.base_url}/v2"

    @property
    def management_url(self) -> str:
        """Address of the management API, up to /v2; RunPod has it on a host of its own."""
        return f"{self.base_url}/management/v2"

    async def start(self) -> None:
        """Listens."""
        self._state_dir.mkdir(parents=True, exist_ok=True)
        self._runner = web.AppRunner(
            self._application(), access_log=None, shutdown_timeout=1, handler_cancellation=True
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        self.base_url = f"http://{self._host}:{self._runner.addresses[0][1]}"
        await self.volumes.start(self._host, self._s3_port)
        if self._account is not None:
            try:
                self.management.hold(self._account)
            except Refused:
                await self.stop()
                raise
        self._ticker = asyncio.create_task(self._tick())

    async def stop(self) -> None:
        """Ends every worker and stops listening."""
        if self._ticker is not None:
            self._ticker.cancel()
        for task in list(self._webhooks):
            task.cancel()
        await asyncio.gather(*(endpoint.pool.stop() for endpoint in self.endpoints.values()))
        await self.volumes.stop()
        if self._runner is not None:
            await self._runner.cleanup()

    def _application(self) -> web.Application:
        app = web.Application(client_max_size=1 << 30)
        app.add_subapp("/management", self.management.application())
        api = "/v2/{endpoint}"
        app.router.add_routes(
            [
                web.get("/_local/state", self._get_state),
                web.get("/_local/faults", self._get_faults),
                web.put("/_local/faults", self._put_faults),
                web.delete("/_local/faults", self._delete_faults),
                web.put("/_local/endpoints/{endpoint}", self._put_endpoint),
                web.delete("/_local/endpoints/{endpoint}", self._delete_endpoint),
                web.get(f"{api}/job-take/{{worker}}", self._take),
                web.get(f"{api}/job-take-batch/{{worker}}", self._take_batch),
                web.get(f"{api}/job-stop/{{worker}}", self._job_stop),
                web.post(f"{api}/job-done/{{worker}}/{{id}}", self._done),
                web.post(f"{api}/job-stream/{{worker}}/{{id}}", self._stream_in),
                web.get(f"{api}/ping/{{worker}}", self._ping),
                web.post(f"{api}/run", self._operation("run", self._run)),
                web.post(f"{api}/runsync", self._operation("runsync", self._runsync)),
                web.get(f"{api}/status/{{id}}", self._operation("status", self._status)),
                web.get(f"{api}/stream/{{id}}", self._operation("stream", self._stream)),
                web.post(f"{api}/cancel/{{id}}", self._operation("cancel", self._cancel)),
                web.post(f"{api}/retry/{{id}}", self._operation("retry", self._retry)),
                web.post(f"{api}/purge-queue", self._operation("purge-queue", self._purge)),
                web.get(f"{api}/health", self._operation("health", self._health)),
            ]
        )
        return app

    # -- job API ---------------------------------------------------------------------------------------

    def _operation(
        self, name: str, handler: Callable[[web.Request, Endpoint], Awaitable[web.StreamResponse]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            if request.headers.get("Authorization") != f"Bearer {self.api_key}":
                return _error(401, "Unauthorized")
            endpoint = self.endpoints.get(request.match_info["endpoint"])
            if endpoint is None:
                return _error(404, "endpoint not found")
            await asyncio.sleep(float(self.faults.hit("latency-ms", name) or 0) / 1000)
            status = self.faults.hit("http-error", name)
            if status is not None:
                return _error(int(status or 500), "injected fault")
            limited = self.faults.hit("rate-limit", name)
            with endpoint.rates.call(name) as allowed:
                if limited is not None or not allowed:
                    headers = {"Retry-After": limited} if limited else {}
                    return _error(429, "too many requests", headers)
                return await handler(request, endpoint)

        return handle

    async def _accept(
        self, request: web.Request, endpoint: Endpoint, limit: int, retention: float
    ) -> Job | web.Response:
        body = await request.read()
        if len(body) > limit:
            return _error(400, f"request body is {len(body)} bytes; the limit is {limit}")
        try:
            document: Any = json.loads(body)
        except ValueError:
            return _error(400, "the body is not JSON")
        if not isinstance(document, dict) or "input" not in document:
            return _error(400, "`input` is required")
        try:
            job = self._job(document, retention)
        except (TypeError, ValueError) as error:
            return _error(400, str(error))
        endpoint.jobs.add(job)
        self._scale(endpoint)
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
        if self.faults.hit("drop-before-accept") is not None:
            return _drop(request)
        job = await self._accept(request, endpoint, RUN_BODY_BYTES, RUN_RETENTION_MS)
        if not isinstance(job, Job):
            return job
        if self.faults.hit("drop-after-accept") is not None:
            return _drop(request)
        return web.json_response({"id": job.id, "status": "IN_QUEUE"})

    async def _runsync(self, request: web.Request, endpoint: Endpoint) -> web.StreamResponse:
        least, most, usual = RUNSYNC_WAIT_MS
        try:
            wait = min(max(float(request.query.get("wait", usual)), least), most)
        except ValueError:
            return _error(400, "`wait` must be a number of milliseconds")
        job = await self._accept(request, endpoint, RUNSYNC_BODY_BYTES, RUNSYNC_RETENTION_MS)
        if not isinstance(job, Job):
            return job
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(job.changed.wait(), wait / 1000)
        return web.json_response(job.envelope() if job.terminal else {"id": job.id, "status": job.status})

    async def _status(self, request: web.Request, endpoint: Endpoint) -> web.StreamResponse:
        job = endpoint.jobs.get(request.match_info["id"])
        if job is None:
            return _error(404, "job not found")
        if "ttl" in request.query:
            try:
                job.expires = self._now() + float(request.query["ttl"])
            except ValueError:
                return _error(400, "`ttl` must be a number of milliseconds")
        if self.faults.hit("malformed-json") is not None:
            return web.Response(text="<html>bad gateway</html>", content_type="application/json")
        if self.faults.hit("truncated-json") is not None:
            return await _half(request, json.dumps(job.envelope()).encode())
        return web.json_response(job.envelope())

    async def _stream(self, request: web.Request, endpoint: Endpoint) -> web.StreamResponse:
        job = endpoint.jobs.get(request.match_info["id"])
        if job is None:
            return _error(404, "job not found")
        new, job.streamed = job.stream[job.streamed :], len(job.stream)
        return web.json_response({"status": job.status, "stream": [{"output": item} for item in new]})

    async def _cancel(self, request: web.Request, endpoint: Endpoint) -> web.StreamResponse:
        job = endpoint.jobs.get(request.match_info["id"])
        if job is None or job.terminal:
            return _error(404, "job not found or already finished")
        worker = endpoint.pool.workers.get(job.worker_id or "")
        endpoint.jobs.end(job, "CANCELLED")
        if worker is not None:
            # The SDK has a stop channel since 1.12: the worker is told, and frees itself.
            worker.order_stop(job.id)
        return web.json_response({"id": job.id, "status": "CANCELLED"})

    async def _retry(self, request: web.Request, endpoint: Endpoint) -> web.StreamResponse:
        job = endpoint.jobs.get(request.match_info["id"])
        if job is None:
            return _error(404, "job not found")
        if job.status not in ("FAILED", "TIMED_OUT"):
            return _error(400, f"a job that is {job.status} cannot be retried")
        endpoint.jobs.again(job)
        self._scale(endpoint)
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

    # -- worker control plane --------------------------------------------------------------------------

    def _worker(self, request: web.Request) -> tuple[Endpoint, Worker] | None:
        endpoint = self.endpoints.get(request.match_info["endpoint"])
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
        if taken and self.faults.hit("kill-worker") is not None:
            endpoint.pool.kill(worker)
        return taken

    async def _take(self, request: web.Request) -> web.Response:
        jobs = await self._next_jobs(request, 1)
        return web.json_response(_for_worker(jobs[0])) if jobs else web.Response(status=204)

    async def _take_batch(self, request: web.Request) -> web.Response:
        size = request.query.get("batch_size", "1")
        if not size.isdecimal():
            return _error(400, "`batch_size` must be a number")
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
        endpoint = self.endpoints.get(request.match_info["endpoint"])
        job = endpoint.jobs.get(request.match_info["id"]) if endpoint is not None else None
        body = await request.read()
        if endpoint is None or job is None:
            return web.json_response({"error": "job not found"}, status=404)
        worker = endpoint.pool.workers.get(request.match_info["worker"])
        too_large = len(body) > RESULT_BYTES
        try:
            document: Any = {} if too_large else json.loads(body)
        except ValueError:
            return _error(400, "the result is not JSON")
        if document.get("status") == "IN_PROGRESS":
            if job.status == "IN_PROGRESS":
                job.output, job.has_output = document.get("output"), True
            return web.json_response({"status": "ok"})
        if worker is not None:
            worker.let_go(job.id)
            worker.handled += 1
        self._result(endpoint, job, document)
        if too_large:
            return _error(400, f"the result is {len(body)} bytes; the limit is {RESULT_BYTES}")
        if worker is not None and document.get("stopPod"):
            await endpoint.pool.stop_worker(worker)
        return web.json_response({"status": "ok"})

    def _result(self, endpoint: Endpoint, job: Job, document: dict[str, Any]) -> None:
        if job.terminal:
            return
        job.has_output, job.output = "output" in document, document.get("output")
        if self.faults.hit("lose-result") is not None:
            job.has_output, job.output = False, None
        if document.get("error") is not None:
            endpoint.jobs.end(job, "FAILED", error=document["error"])
        else:
            endpoint.jobs.end(job, "COMPLETED")

    async def _stream_in(self, request: web.Request) -> web.Response:
        endpoint = self.endpoints.get(request.match_info["endpoint"])
        job = endpoint.jobs.get(request.match_info["id"]) if endpoint is not None else None
        if job is not None:
            body = await request.read()
            if len(body) > STREAM_CHUNK_BYTES:
                return _error(400, f"the piece is {len(body)} bytes; the limit is {STREAM_CHUNK_BYTES}")
            document: Any = json.loads(body)
            job.stream.append(document.get("output"))
        return web.json_response({"status": "ok"})

    async def _ping(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    def _environment(self, endpoint_id: str) -> Callable[[str], Mapping[str, str]]:
        base = f"{self.api_url}/{endpoint_id}"

        def environment(worker_id: str) -> Mapping[str, str]:
            return {
                **self._worker_environment,
                "RUNPOD_WEBHOOK_GET_JOB": f"{base}/job-take/$ID?gpu=local",
                "RUNPOD_WEBHOOK_POST_OUTPUT": f"{base}/job-done/$RUNPOD_POD_ID/$ID?gpu=local",
                "RUNPOD_WEBHOOK_POST_STREAM": f"{base}/job-stream/$RUNPOD_POD_ID/$ID?gpu=local",
                "RUNPOD_WEBHOOK_PING": f"{base}/ping/$RUNPOD_POD_ID",
                "RUNPOD_AI_API_KEY": self.api_key,
                "RUNPOD_POD_ID": worker_id,
                "RUNPOD_ENDPOINT_ID": endpoint_id,
                # The platform's machines pass these checks; a laptop need not.
                "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
                "RUNPOD_SKIP_GPU_CHECK": "true",
                "RUNPOD_DEBUG_LEVEL": "INFO",
                "PYTHONUNBUFFERED": "1",
            }

        return environment

    def _scale(self, endpoint: Endpoint) -> None:
        endpoint.pool.scale(endpoint.jobs.waiting(), self.faults.seconds("cold-start-latency-ms"))

    def _worker_gone(self, endpoint_id: str) -> Callable[[Worker], None]:
        def gone(worker: Worker) -> None:
            """A worker that ends with a job in its hands: the job fails, and says so."""
            endpoint = self.endpoints.get(endpoint_id)
            if endpoint is None:
                return
            for job in list(worker.jobs.values()):
                code = worker.process.returncode if worker.process is not None else None
                text = f"worker {worker.id} exited with code {code} while the job was running"
                error = {"code": "worker_lost", "message": text, "retryable": True}
                endpoint.jobs.end(job, "FAILED", error=json.dumps(error))
            self._scale(endpoint)

        return gone

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            for endpoint in list(self.endpoints.values()):
                for job in endpoint.jobs.overdue():
                    worker = endpoint.pool.workers.get(job.worker_id or "")
                    endpoint.jobs.end(job, "TIMED_OUT", error="job timed out: executionTimeout was reached")
                    if worker is not None:
                        endpoint.pool.kill(worker)
                for job in endpoint.jobs.sweep():
                    worker = endpoint.pool.workers.get(job.worker_id or "")
                    if worker is not None:
                        worker.order_stop(job.id)
                for worker in list(endpoint.pool.workers.values()):
                    if worker.holds_on():
                        endpoint.pool.kill(worker)
                self._scale(endpoint)
                endpoint.pool.end_idle()

    # -- webhooks --------------------------------------------------------------------------------------

    def _ended(self, job: Job) -> None:
        if job.webhook:
            for _ in range(2 if self.faults.hit("duplicate-webhook") is not None else 1):
                task = asyncio.create_task(self._notify(job, job.webhook))
                self._webhooks.add(task)
                task.add_done_callback(self._webhooks.discard)

    async def _notify(self, job: Job, url: str) -> None:
        await asyncio.sleep(self.faults.seconds("late-webhook-ms"))
        timeout = aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            for attempt in range(WEBHOOK_RETRIES + 1):
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with session.post(url, json=job.envelope(with_input=True)) as response:
                        if response.status == 200:
                            return
                if attempt < WEBHOOK_RETRIES:
                    await asyncio.sleep(WEBHOOK_RETRY_MS / 1000)

    # -- control routes --------------------------------------------------------------------------------

    async def _put_endpoint(self, request: web.Request) -> web.Response:
        endpoint_id = request.match_info["endpoint"]
        try:
            config = EndpointConfig.from_json(await request.json())
        except (ValueError, TypeError) as error:
            return _error(400, str(error))
        self.register(endpoint_id, config)
        return web.json_response({"id": endpoint_id, "url": f"{self.api_url}/{endpoint_id}"})

    def register(self, endpoint_id: str, config: EndpointConfig) -> None:
        """Makes an endpoint take jobs, or gives it other workers."""
        existing = self.endpoints.get(endpoint_id)
        if existing is not None:
            existing.pool.config = config
        else:
            table = JobTable(self._now, self._ended)
            pool = WorkerPool(
                endpoint_id, config, self._environment(endpoint_id), self._worker_gone(endpoint_id), self._log
            )
            self.endpoints[endpoint_id] = Endpoint(table, pool)
        self._scale(self.endpoints[endpoint_id])

    async def _delete_endpoint(self, request: web.Request) -> web.Response:
        if request.match_info["endpoint"] not in self.endpoints:
            return _error(404, "endpoint not found")
        await self.unregister(request.match_info["endpoint"])
        return web.Response(status=204)

    async def unregister(self, endpoint_id: str) -> None:
        """Ends an endpoint's workers and forgets its jobs."""
        endpoint = self.endpoints.pop(endpoint_id, None)
        if endpoint is not None:
            await endpoint.pool.stop()

    async def _get_state(self, _: web.Request) -> web.Response:
        endpoints = {
            endpoint_id: {
                "workers": [worker.to_json() for worker in endpoint.pool.workers.values()],
                "workersStarted": endpoint.pool.started,
                "jobs": {job.id: job.status for job in endpoint.jobs.all()},
                "queued": endpoint.jobs.waiting(),
            }
            for endpoint_id, endpoint in self.endpoints.items()
        }
        return web.json_response({"endpoints": endpoints})

    async def _get_faults(self, _: web.Request) -> web.Response:
        return web.json_response(self.faults.to_json())

    async def _put_faults(self, request: web.Request) -> web.Response:
        try:
            for spec in await request.json():
                self.faults.add(str(spec))
        except UnknownFault as error:
            return _error(400, str(error))
        return web.json_response(self.faults.to_json())

    async def _delete_faults(self, _: web.Request) -> web.Response:
        self.faults.remove()
        return web.json_response(self.faults.to_json())


def _for_worker(job: Job) -> dict[str, Any]:
    document: dict[str, Any] = {"id": job.id, "input": job.input}
    return {**document, "webhook": job.webhook} if job.webhook else document


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response({"error": message}, status=status, headers=headers)


def _drop(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _half(request: web.Request, body: bytes) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={"Content-Length": str(len(body)), "Content-Type": "application/json"}
    )
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.abort()
    return response
