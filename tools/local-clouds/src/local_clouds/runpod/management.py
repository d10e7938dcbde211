"""RunPod's management API v2, locally: endpoints as code against it, without an account.

Every request is checked against schemas of our own, and so is every answer before it leaves.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from aiohttp import web

from ..faults import Faults, UnknownFault
from . import management_schemas as schemas
from .account import fill
from .answers import cut, half
from .management_billing import VolumeLedger, billing, serverless_records, volume_records, window
from .management_catalogue import gpu_types
from .management_logs import log_lines, send_lines, worker_list
from .management_resources import POD_DEFAULTS, Refused, Resources
from .management_workers import JobApi, ManagedWorkers
from .network_volumes import NetworkVolumes
from .worker_log import LogLine

FAULTS = {
    "latency-ms": "an operation takes longer: latency-ms=500, or latency-ms=<operation>/500",
    "http-error": "an operation fails and does nothing: http-error=500, or http-error=<operation>/503",
    "error-after-accept": "an operation is done, then answered with an error: <operation>/500",
    "rate-limit": "an operation answers 429, with Retry-After when a value in seconds is given: <operation>/2",
    "drop-before-accept": "an operation is not done and the connection is cut: <operation>/",
    "drop-after-accept": "an operation is done, then the connection is cut: <operation>/",
    "html-502": "a proxy's page instead of an answer: <operation>/",
    "truncated-json": "an answer is cut in half: <operation>/",
    "malformed-json": "an answer says that it is JSON and is not: <operation>/",
    "answer-field": "a field of every resource in an answer is left out or another: "
    'answer-field=<operation>/flashboot, answer-field=<operation>/flashboot="TURBO"',
    "cut-logs": "a stream of logs is cut after so many lines: cut-logs=2",
    "availability": "stock of every GPU type: availability=NONE",
}
"""Faults of the local management API; operations are named as in RunPod's document, such as createEndpoint."""

MAXIMUM_JOURNAL = 1000
Handler = Callable[[web.Request, Any], "Answer | Awaitable[Answer]"]


@dataclass(frozen=True)
class Answer:
    """What an operation answers."""

    body: Any = None
    status: int = 200
    lines: AsyncIterator[LogLine] | None = None
    """Sent as events in place of a body."""


class RunPodManagement:
    """The management API of one account. Its endpoints take jobs at the job API beside it."""

    def __init__(self, jobs: JobApi, volumes: NetworkVolumes) -> None:
        self._jobs = jobs
        self._volumes = volumes
        self.faults = Faults(FAULTS)
        self.resources = Resources(self._request_urls)
        self.workers = ManagedWorkers(jobs)
        self.journal: list[dict[str, Any]] = []
        self._bills: dict[str, list[dict[str, Any]]] = {"serverless": [], "networkVolumes": []}
        self._billed_since = datetime.now(UTC)
        self._volume_ledger = VolumeLedger()

    def hold(self, account: Mapping[str, Any]) -> None:
        """Takes what `read_account` gave, before anything else is made. Raises Refused."""
        fill(self.resources, account)
        for volume in self.resources.volumes.values():
            self._volumes.add(volume)
            self._volume_ledger.begin(volume)
        for endpoint in self.resources.endpoints.values():
            self.workers.configure(endpoint, new_release=False)

    def application(self) -> web.Application:
        """Routes below /v2, and control routes below /_local."""
        app = web.Application()
        operations: list[tuple[str, str, str, Handler, schemas.Schema | None]] = [
            (
                *("GET", "/v2/serverless", "listEndpoints", self._list_endpoints),
                schemas.list_of("endpoints", schemas.ENDPOINT),
            ),
            ("POST", "/v2/serverless", "createEndpoint", self._create_endpoint, schemas.ENDPOINT),
            ("GET", "/v2/serverless/{id}", "getEndpoint", self._get_endpoint, schemas.ENDPOINT),
            ("PATCH", "/v2/serverless/{id}", "updateEndpoint", self._update_endpoint, schemas.ENDPOINT),
            ("DELETE", "/v2/serverless/{id}", "deleteEndpoint", self._delete_endpoint, None),
            (
                *("GET", "/v2/serverless/{id}/releases", "listEndpointReleases", self._releases),
                schemas.RELEASES,
            ),
            (
                *("GET", "/v2/serverless/{id}/workers", "listEndpointWorkers", self._list_workers),
                schemas.WORKERS_OF_ENDPOINT,
            ),
            (
                *("GET", "/v2/serverless/{id}/workers/{worker}/logs", "getWorkerLogs", self._worker_logs),
                None,
            ),
            (
                *("GET", "/v2/templates", "listTemplates", self._list_templates),
                schemas.list_of("templates", schemas.TEMPLATE),
            ),
            ("POST", "/v2/templates", "createTemplate", self._create_template, schemas.TEMPLATE),
            ("GET", "/v2/templates/{id}", "getTemplate", self._get_template, schemas.TEMPLATE),
            ("DELETE", "/v2/templates/{id}", "deleteTemplate", self._delete_template, None),
            (
                *("GET", "/v2/network-volumes", "listNetworkVolumes", self._list_volumes),
                schemas.list_of("networkVolumes", schemas.NETWORK_VOLUME),
            ),
            (
                *("POST", "/v2/network-volumes", "createNetworkVolume", self._create_volume),
                schemas.NETWORK_VOLUME,
            ),
            ("GET", "/v2/network-volumes/{id}", "getNetworkVolume", self._get_volume, schemas.NETWORK_VOLUME),
            ("DELETE", "/v2/network-volumes/{id}", "deleteNetworkVolume", self._delete_volume, None),
            ("GET", "/v2/pods", "listPods", self._list_pods, schemas.list_of("pods", schemas.POD)),
            (
                *("GET", "/v2/catalog/gpus", "listGpuTypes", self._gpus),
                schemas.list_of("gpus", schemas.GPU_TYPE),
            ),
            (
                *("GET", "/v2/billing/serverless", "getServerlessBilling", self._bill_serverless),
                schemas.SERVERLESS_BILLING,
            ),
            (
                *("GET", "/v2/billing/network-volumes", "getNetworkVolumeBilling", self._bill_volumes),
                schemas.VOLUME_BILLING,
            ),
        ]
        for method, path, name, handler, schema in operations:
            app.router.add_route(method, path, self._operation(name, handler, schema))
        app.router.add_route("*", "/v2/{rest:.*}", self._unknown)
        app.router.add_routes(
            [
                web.get("/_local/state", self._get_state),
                web.delete("/_local/state", self._delete_state),
                web.get("/_local/requests", self._get_requests),
                web.delete("/_local/requests", self._delete_requests),
                web.put("/_local/worker", self._put_worker),
                web.put("/_local/secrets", self._put_secrets),
                web.put("/_local/billing", self._put_billing),
                web.put("/_local/pods", self._put_pods),
                web.get("/_local/faults", self._get_faults),
                web.put("/_local/faults", self._put_faults),
                web.delete("/_local/faults", self._delete_faults),
            ]
        )
        return app

    # -- one request -----------------------------------------------------------------------------------

    def _operation(
        self, name: str, handler: Handler, schema: schemas.Schema | None
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            identifier = f"req_{secrets.token_hex(6)}"
            body, problem = await _body(request)
            entry = {
                "operation": name,
                "method": request.method,
                "path": request.path[request.path.index("/v2") :],
                "query": dict(request.query),
                "body": body,
                "status": None,
                "requestId": identifier,
            }
            self.journal.append(entry)
            del self.journal[:-MAXIMUM_JOURNAL]
            refused = self._unauthorized(request) or problem
            response = (
                _error(refused) if refused else await self._answer(name, handler, schema, request, body)
            )
            entry["status"] = response.status
            if not response.prepared:
                response.headers["x-request-id"] = identifier
            return response

        return handle

    async def _answer(
        self, name: str, handler: Handler, schema: schemas.Schema | None, request: web.Request, body: Any
    ) -> web.StreamResponse:
        early = await self._fault_before(name, request)
        if early is not None:
            return early
        try:
            result = handler(request, body)
            answer = result if isinstance(result, Answer) else await result
        except Refused as refused:
            return _error(refused)
        wrong = schemas.problems(schema, answer.body) if schema is not None else []
        assert not wrong, f"{name} would answer what its schema does not allow: {wrong}"
        return await self._fault_after(name, request, answer)

    async def _fault_before(self, name: str, request: web.Request) -> web.StreamResponse | None:
        await asyncio.sleep(float(self.faults.hit("latency-ms", name) or 0) / 1000)
        if self.faults.hit("drop-before-accept", name) is not None:
            return cut(request)
        if (seconds := self.faults.hit("rate-limit", name)) is not None:
            limited = _error(Refused(429, "rate limit exceeded for the minute window"))
            if seconds:
                limited.headers["Retry-After"] = seconds
            return limited
        if (status := self.faults.hit("http-error", name)) is not None:
            return _error(Refused(int(status or 500), "injected fault"))
        if self.faults.hit("html-502", name) is not None:
            page = "<html><head><title>502 Bad Gateway</title></head><body>cloudflare</body></html>"
            return web.Response(status=502, text=page, content_type="text/html")
        return None

    async def _fault_after(self, name: str, request: web.Request, answer: Answer) -> web.StreamResponse:
        if self.faults.hit("drop-after-accept", name) is not None:
            return cut(request)
        if (status := self.faults.hit("error-after-accept", name)) is not None:
            return _error(Refused(int(status or 500), "injected fault"))
        if self.faults.hit("malformed-json", name) is not None:
            return web.Response(status=answer.status, text="{]", content_type="application/json")
        if self.faults.hit("truncated-json", name) is not None:
            return await half(request, json.dumps(answer.body).encode())
        if answer.lines is not None:
            cut_after = self.faults.hit("cut-logs")
            return await send_lines(request, answer.lines, int(cut_after) if cut_after else None)
        if answer.status == 204:
            return web.Response(status=204)
        body = answer.body
        if (change := self.faults.hit("answer-field", name)) is not None:
            body = _with_field(body, change)
        return web.json_response(body, status=answer.status)

    def _unauthorized(self, request: web.Request) -> Refused | None:
        given = request.headers.get("Authorization")
        if given is None:
            return Refused(401, "missing bearer token")
        return None if given == f"Bearer {self._jobs.api_key}" else Refused(401, "invalid bearer token")

    async def _unknown(self, request: web.Request) -> web.StreamResponse:
        refused = self._unauthorized(request)
        return _error(refused or Refused(404, "resource not found"))

    # -- operations ------------------------------------------------------------------------------------

    def _list_endpoints(self, _request: web.Request, _body: Any) -> Answer:
        return Answer({"endpoints": list(self.resources.endpoints.values())})

    def _create_endpoint(self, _request: web.Request, body: Any) -> Answer:
        endpoint = self.resources.create_endpoint(body)
        self.workers.configure(endpoint, new_release=False)
        return Answer(endpoint, 201)

    def _get_endpoint(self, request: web.Request, _body: Any) -> Answer:
        return Answer(self.resources.endpoint(request.match_info["id"]))

    def _update_endpoint(self, request: web.Request, body: Any) -> Answer:
        endpoint, new_release = self.resources.update_endpoint(request.match_info["id"], body)
        self.workers.configure(endpoint, new_release=new_release)
        return Answer(endpoint)

    async def _delete_endpoint(self, request: web.Request, _body: Any) -> Answer:
        identifier = request.match_info["id"]
        self.resources.delete_endpoint(identifier)
        await self.workers.remove(identifier)
        return Answer(None, 204)

    def _releases(self, request: web.Request, _body: Any) -> Answer:
        identifier = request.match_info["id"]
        self.resources.endpoint(identifier)
        rollout = self.workers.rollout(identifier)
        releases = self.resources.releases[identifier]
        counts = [rollout["workersOnLatest"], *[0] * (len(releases) - 1)]
        return Answer(
            {
                "endpointVersion": releases[0]["version"],
                "rollout": rollout,
                "releases": [
                    {**release, "workerCount": count} for release, count in zip(releases, counts, strict=True)
                ],
            }
        )

    def _list_workers(self, request: web.Request, _body: Any) -> Answer:
        identifier = request.match_info["id"]
        endpoint = self.resources.endpoint(identifier)
        version = self.resources.releases[identifier][0]["version"]
        return Answer(worker_list(endpoint, version, *self.workers.of(identifier)))

    def _worker_logs(self, request: web.Request, _body: Any) -> Answer:
        identifier, worker_id = request.match_info["id"], request.match_info["worker"]
        self.resources.endpoint(identifier)
        found = next((each for each in self.workers.of(identifier)[0] if each.id == worker_id), None)
        if found is None:
            raise Refused(404, "worker not found")
        return Answer(lines=log_lines(found.log, request.query, request.headers.get("Last-Event-ID")))

    def _list_templates(self, _request: web.Request, _body: Any) -> Answer:
        return Answer({"templates": list(self.resources.templates.values())})

    def _create_template(self, _request: web.Request, body: Any) -> Answer:
        return Answer(self.resources.create_template(body), 201)

    def _get_template(self, request: web.Request, _body: Any) -> Answer:
        return Answer(self.resources.template(request.match_info["id"]))

    def _delete_template(self, request: web.Request, _body: Any) -> Answer:
        self.resources.delete_template(request.match_info["id"])
        return Answer(None, 204)

    def _list_volumes(self, _request: web.Request, _body: Any) -> Answer:
        return Answer({"networkVolumes": list(self.resources.volumes.values())})

    def _create_volume(self, _request: web.Request, body: Any) -> Answer:
        volume = self.resources.create_volume(body)
        self._volumes.add(volume)
        self._volume_ledger.begin(volume)
        return Answer(volume, 201)

    def _get_volume(self, request: web.Request, _body: Any) -> Answer:
        return Answer(self.resources.volume(request.match_info["id"]))

    async def _delete_volume(self, request: web.Request, _body: Any) -> Answer:
        identifier = request.match_info["id"]
        self.resources.delete_volume(identifier)
        self._volume_ledger.end(identifier)
        await self._volumes.remove(identifier)
        return Answer(None, 204)

    def _list_pods(self, request: web.Request, _body: Any) -> Answer:
        members = request.query.get("includeClusterPods") == "true"
        return Answer({"pods": [pod for pod in self.resources.pods if members or "cluster" not in pod]})

    def _gpus(self, request: web.Request, _body: Any) -> Answer:
        include, product = request.query.get("include"), request.query.get("product")
        if include not in (None, "AVAILABILITY"):
            raise Refused(422, "Request validation failed.", ["include: must be AVAILABILITY"])
        if (include is None) != (product is None):
            raise Refused(400, "include=AVAILABILITY and product go together")
        if product is not None and not set(product.split(",")) <= {"POD", "CLUSTER", "SERVERLESS"}:
            raise Refused(422, "Request validation failed.", ["product: must be POD, CLUSTER or SERVERLESS"])
        stock = self.faults.hit("availability") or "HIGH"
        return Answer({"gpus": gpu_types(stock if include else None)})

    def _bill_serverless(self, request: web.Request, _body: Any) -> Answer:
        asked = window(request.query, datetime.now(UTC))
        lives = [life for life in self._jobs.worker_lives() if life.begin >= self._billed_since]
        records = [*self._bills["serverless"], *serverless_records(lives, asked)]
        owner, unique = "serverlessId", "uniqueServerlessCount"
        return Answer(billing(records, asked, request.query, owner, unique, schemas.SERVERLESS_AMOUNTS))

    def _bill_volumes(self, request: web.Request, _body: Any) -> Answer:
        asked = window(request.query, datetime.now(UTC))
        records = [*self._bills["networkVolumes"], *volume_records(self._volume_ledger.lives(), asked)]
        owner, unique = "networkVolumeId", "uniqueNetworkVolumeCount"
        return Answer(billing(records, asked, request.query, owner, unique, schemas.VOLUME_AMOUNTS))

    def _request_urls(self, identifier: str) -> dict[str, str]:
        base = f"{self._jobs.api_url}/{identifier}"
        paths = {
            "run": "run",
            "runSync": "runsync",
            "status": "status/{job_id}",
            "stream": "stream/{job_id}",
            "cancel": "cancel/{job_id}",
            "retry": "retry/{job_id}",
            "purgeQueue": "purge-queue",
            "health": "health",
        }
        return {name: f"{base}/{path}" for name, path in paths.items()}

    # -- control routes --------------------------------------------------------------------------------

    async def _get_state(self, _: web.Request) -> web.Response:
        resources = self.resources
        return web.json_response(
            {
                "endpoints": list(resources.endpoints.values()),
                "templates": list(resources.templates.values()),
                "networkVolumes": list(resources.volumes.values()),
                "s3": self._volumes.describe(),
            }
        )

    async def _delete_state(self, _: web.Request) -> web.Response:
        self.workers.secrets = {}
        for identifier in list(self.resources.endpoints):
            await self.workers.remove(identifier)
        self.resources = Resources(self._request_urls)
        self.journal.clear()
        self.faults.remove()
        self._bills = {"serverless": [], "networkVolumes": []}
        self._billed_since = datetime.now(UTC)
        self._volume_ledger = VolumeLedger()
        return web.Response(status=204)

    async def _get_requests(self, _: web.Request) -> web.Response:
        return web.json_response({"requests": self.journal})

    async def _delete_requests(self, _: web.Request) -> web.Response:
        self.journal.clear()
        return web.Response(status=204)

    async def _put_worker(self, request: web.Request) -> web.Response:
        try:
            self.workers.use(await request.json(), self.resources.endpoints)
        except (ValueError, TypeError) as error:
            return _error(Refused(400, str(error)))
        return web.Response(status=204)

    async def _put_secrets(self, request: web.Request) -> web.Response:
        self.workers.secrets = {str(name): str(value) for name, value in (await request.json()).items()}
        return web.Response(status=204)

    async def _put_billing(self, request: web.Request) -> web.Response:
        self._bills.update(await request.json())
        return web.Response(status=204)

    async def _put_pods(self, request: web.Request) -> web.Response:
        pods = [{**POD_DEFAULTS, **pod} for pod in await request.json()]
        wrong = [problem for pod in pods for problem in schemas.problems(schemas.POD, pod)]
        if wrong:
            return _error(Refused(400, "; ".join(wrong)))
        self.resources.pods = pods
        return web.Response(status=204)

    async def _get_faults(self, _: web.Request) -> web.Response:
        return web.json_response(self.faults.to_json())

    async def _put_faults(self, request: web.Request) -> web.Response:
        try:
            for spec in await request.json():
                self.faults.add(str(spec))
        except UnknownFault as error:
            return _error(Refused(400, str(error)))
        return web.json_response(self.faults.to_json())

    async def _delete_faults(self, _: web.Request) -> web.Response:
        self.faults.remove()
        return web.json_response(self.faults.to_json())


async def _body(request: web.Request) -> tuple[Any, Refused | None]:
    raw = await request.read()
    if not raw:
        missing = Refused(400, "a JSON body is required") if request.method in ("POST", "PATCH") else None
        return None, missing
    try:
        return json.loads(raw), None
    except ValueError:
        return None, Refused(400, "the body is not JSON")


def _error(refused: Refused) -> web.Response:
    document: dict[str, Any] = {
        "title": HTTPStatus(refused.status).phrase,
        "status": refused.status,
        "detail": refused.detail,
    }
    if refused.errors:
        document["errors"] = refused.errors
    return web.json_response(document, status=refused.status, content_type="application/problem+json")


def _with_field(body: Any, change: str) -> Any:
    """The answer with one field of its resource, or of every resource in its list, left out or another."""
    name, equals, value = change.partition("=")
    if isinstance(body, Mapping) and "id" not in body:
        return {
            key: [_with_field(item, change) for item in items] if isinstance(items, list) else items
            for key, items in body.items()
        }
    kept = {key: item for key, item in body.items() if key != name}
    return {**kept, name: json.loads(value)} if equals else kept
