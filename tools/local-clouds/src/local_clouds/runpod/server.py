"""The local RunPod: one HTTP server with the job API, the workers' control plane, the management API, control routes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from ..faults import Faults, UnknownFault
from .answers import error
from .endpoints import Endpoints
from .job_api import JobApi
from .jobs import milliseconds
from .management import RunPodManagement
from .management_billing import Life
from .management_resources import Refused
from .network_volumes import NetworkVolumes
from .webhooks import Webhooks
from .worker_api import WorkerApi
from .workers import EndpointConfig

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
        self._webhooks = Webhooks(self.faults)
        self.endpoints = Endpoints(self.faults, now, self._webhooks.ended, self._environment, log)
        self._job_api = JobApi(self.endpoints, self.faults, api_key, now)
        self._worker_api = WorkerApi(self.endpoints, self.faults)
        self.volumes = NetworkVolumes(state_dir / "volumes")
        self._s3_port = s3_port
        self.management = RunPodManagement(self, self.volumes)
        self._account = account
        self._runner: web.AppRunner | None = None
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
        self.endpoints.start()

    async def stop(self) -> None:
        """Ends every worker and stops listening."""
        self._webhooks.stop()
        await self.endpoints.stop()
        await self.volumes.stop()
        if self._runner is not None:
            await self._runner.cleanup()

    def _application(self) -> web.Application:
        app = web.Application(client_max_size=1 << 30)
        app.add_subapp("/management", self.management.application())
        app.router.add_routes(
            [
                web.get("/_local/state", self._get_state),
                web.get("/_local/faults", self._get_faults),
                web.put("/_local/faults", self._put_faults),
                web.delete("/_local/faults", self._delete_faults),
                web.put("/_local/endpoints/{endpoint}", self._put_endpoint),
                web.delete("/_local/endpoints/{endpoint}", self._delete_endpoint),
                *self._worker_api.routes(),
                *self._job_api.routes(),
            ]
        )
        return app

    def register(self, endpoint_id: str, config: EndpointConfig) -> None:
        """Makes an endpoint take jobs, or gives it other workers."""
        self.endpoints.register(endpoint_id, config)

    async def unregister(self, endpoint_id: str) -> None:
        """Ends an endpoint's workers and forgets its jobs."""
        await self.endpoints.unregister(endpoint_id)

    def worker_lives(self) -> list[Life]:
        """What workers are billed for."""
        return self.endpoints.worker_lives()

    def _environment(self, endpoint_id: str, worker_id: str) -> Mapping[str, str]:
        base = f"{self.api_url}/{endpoint_id}"
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

    # -- control routes --------------------------------------------------------------------------------

    async def _put_endpoint(self, request: web.Request) -> web.Response:
        endpoint_id = request.match_info["endpoint"]
        try:
            config = EndpointConfig.from_json(await request.json())
        except (ValueError, TypeError) as wrong:
            return error(400, str(wrong))
        self.register(endpoint_id, config)
        return web.json_response({"id": endpoint_id, "url": f"{self.api_url}/{endpoint_id}"})

    async def _delete_endpoint(self, request: web.Request) -> web.Response:
        if request.match_info["endpoint"] not in self.endpoints:
            return error(404, "endpoint not found")
        await self.unregister(request.match_info["endpoint"])
        return web.Response(status=204)

    async def _get_state(self, _: web.Request) -> web.Response:
        return web.json_response({"endpoints": self.endpoints.describe()})

    async def _get_faults(self, _: web.Request) -> web.Response:
        return web.json_response(self.faults.to_json())

    async def _put_faults(self, request: web.Request) -> web.Response:
        try:
            for spec in await request.json():
                self.faults.add(str(spec))
        except UnknownFault as unknown:
            return error(400, str(unknown))
        return web.json_response(self.faults.to_json())

    async def _delete_faults(self, _: web.Request) -> web.Response:
        self.faults.remove()
        return web.json_response(self.faults.to_json())
