"""Jobs: Comfy API v2, and what it lacks under /api/ryla."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from . import request_values
from .api_error import ApiError
from .endpoint_inputs import Endpoint
from .event_stream import EventStreams
from .jobs import TERMINAL, Jobs
from .limits import LARGEST_PAGE, METADATA_FILTERS, PAGE_SIZE
from .request_body import is_deeper_than, read_json
from .stores import FileStore, file_pieces
from .webhooks import SECRETS_VARIABLE, Notifier, check_webhook_url

STATUSES = ("queued", "running", "canceling", *TERMINAL)


class JobRoutes:
    """`/api/v2/jobs` and `/api/ryla`."""

    def __init__(
        self,
        jobs: Jobs,
        files: FileStore,
        *,
        endpoint: Endpoint | None = None,
        notifier: Notifier | None = None,
        private_webhooks: bool = False,
    ) -> None:
        """Without `endpoint` there are no typed inputs, without `notifier` no webhooks."""
        self._jobs = jobs
        self._files = files
        self._streams = EventStreams(jobs)
        self._endpoint = endpoint
        self._notifier = notifier
        self._private_webhooks = private_webhooks

    def routes(self) -> list[Route]:
        """For the application."""
        return [
            Route("/api/v2/jobs", self._post, methods=["POST"]),
            Route("/api/v2/jobs", self._list, methods=["GET"]),
            Route("/api/v2/jobs/{id}", self._get, methods=["GET"]),
            Route("/api/v2/jobs/{id}/workflow", self._workflow, methods=["GET"]),
            Route("/api/v2/jobs/{id}/events", self._events, methods=["GET"]),
            Route("/api/v2/jobs/{id}/cancel", self._cancel, methods=["POST"]),
            Route("/api/ryla/run", self._run, methods=["POST"]),
            Route("/api/ryla/jobs/{id}", self._look_up, methods=["GET"]),
        ]

    async def _post(self, request: Request) -> Response:
        document = await read_json(request)
        for reserved in ("webhook_url", "webhook", "inputs"):
            if reserved in document:
                message = f"`{reserved}` is not accepted here; see Ryla-Webhook-Url and /api/ryla/run."
                raise ApiError(422, "invalid_request", message)
        return await self._submit(
            request, document.get("workflow"), document, webhook=request.headers.get("ryla-webhook-url")
        )

    async def _run(self, request: Request) -> Response:
        endpoint = self._endpoint
        if endpoint is None:
            message = "This deployment runs any workflow and has no inputs of its own; use POST /api/v2/jobs."
            raise ApiError(404, "not_found", message)
        document = await read_json(request)
        inputs, webhook = document.get("inputs", {}), document.get("webhook")
        if not isinstance(inputs, dict) or is_deeper_than(inputs):
            raise ApiError(422, "invalid_request", "`inputs` must be an object.")
        if webhook is not None and (
            not isinstance(webhook, dict) or set(webhook) != {"url"} or not isinstance(webhook["url"], str)
        ):
            raise ApiError(422, "invalid_request", "`webhook` must be an object with `url`.")
        workflow, defaults = endpoint.apply(inputs)
        files: dict[str, str] = {}
        for name, path in defaults.items():
            files[name] = (await self._files.write(file_pieces(path))).hash
        if files:
            await self._files.commit()
        return await self._submit(
            request, workflow, document, webhook=webhook["url"] if webhook else None, files=files
        )

    async def _submit(
        self,
        request: Request,
        workflow: Any,
        document: Mapping[str, Any],
        *,
        webhook: Any,
        files: Mapping[str, str] | None = None,
    ) -> Response:
        headers = request.headers
        origin = request_values.origin(headers, request.url.scheme)
        job = await self._jobs.submit(
            workflow,
            job_id=request_values.caller_job_id(headers),
            idempotency_key=request_values.idempotency_key(headers),
            extra_data=request_values.extra_data(document),
            metadata=request_values.metadata(document.get("metadata")),
            webhook_url=self._webhook_url(webhook),
            files=files,
            on_stored=None if webhook is None or self._notifier is None else self._notifier.watch,
        )
        request.state.job = job["id"]
        return JSONResponse(_absolute(job, origin), 201)

    def _webhook_url(self, value: Any) -> str | None:
        if value is None:
            return None
        if self._notifier is None:
            message = f"This deployment sends no webhooks: its secret ryla-secrets has no {SECRETS_VARIABLE}."
            raise ApiError(422, "webhooks_not_configured", message)
        return check_webhook_url(value, allow_private=self._private_webhooks)

    async def _list(self, request: Request) -> Response:
        query = request.query_params
        jobs, following = await self._jobs.page(
            limit=_limit(query), before=_cursor(query), labels=_labels(query), statuses=_statuses(query)
        )
        page: dict[str, Any] = {"jobs": jobs}
        if following is not None:
            page["next_cursor"] = base64.urlsafe_b64encode(f"jobs:{following}".encode()).decode()
        return JSONResponse(page)

    async def _get(self, request: Request) -> Response:
        return await self._shown(request, await self._jobs.get(request.path_params["id"]))

    async def _cancel(self, request: Request) -> Response:
        return await self._shown(request, await self._jobs.cancel(request.path_params["id"]))

    async def _shown(self, request: Request, job: dict[str, Any]) -> Response:
        request.state.job = job["id"]
        return JSONResponse(_absolute(job, request_values.origin(request.headers, request.url.scheme)))

    async def _look_up(self, request: Request) -> Response:
        details = await self._jobs.details(request.path_params["id"])
        request.state.job = details["job"]["id"]
        origin = request_values.origin(request.headers, request.url.scheme)
        return JSONResponse({**details, "job": _absolute(details["job"], origin)})

    async def _workflow(self, request: Request) -> Response:
        return JSONResponse(await self._jobs.workflow(request.path_params["id"]))

    async def _events(self, request: Request) -> Response:
        origin = request_values.origin(request.headers, request.url.scheme)
        job_id: str = request.path_params["id"]
        events = await self._streams.open(job_id, lambda job: _absolute(job, origin))
        request.state.job = job_id
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(events, media_type="text/event-stream", headers=headers)


def _absolute(job: dict[str, Any], origin: str) -> dict[str, Any]:
    return {**job, "outputs": [{**output, "url": origin + output["url"]} for output in job["outputs"]]}


def _limit(query: QueryParams) -> int:
    text = query.get("limit", str(PAGE_SIZE))
    if not re.fullmatch("[0-9]{1,4}", text) or not 1 <= int(text) <= LARGEST_PAGE:
        raise ApiError(400, "invalid_request", f"`limit` must be from 1 to {LARGEST_PAGE}.")
    return int(text)


def _cursor(query: QueryParams) -> int | None:
    text = query.get("cursor")
    if text is None:
        return None
    try:
        found = re.fullmatch(rb"jobs:([0-9]{1,15})", base64.b64decode(text, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        found = None
    if found is None:
        raise ApiError(400, "invalid_cursor", "This cursor did not come from an earlier page.")
    return int(found.group(1))


def _labels(query: QueryParams) -> dict[str, str]:
    labels: dict[str, str] = {}
    for name, value in query.multi_items():
        found = re.fullmatch(r"metadata\[(.*)\]", name, re.DOTALL)
        if found is None:
            if name.startswith("metadata"):
                raise ApiError(400, "invalid_metadata_filter", "Write metadata[key]=value.")
            continue
        problem = request_values.label_problem(found.group(1), value)
        if found.group(1) in labels:
            problem = "it occurs twice"
        if problem is not None:
            message = f"The filter on {found.group(1)[:60]!r} is not valid: {problem}."
            raise ApiError(400, "invalid_metadata_filter", message)
        labels[found.group(1)] = value
    if len(labels) > METADATA_FILTERS:
        message = f"There may be {METADATA_FILTERS} metadata filters; there are {len(labels)}."
        raise ApiError(400, "invalid_metadata_filter", message)
    return labels


def _statuses(query: QueryParams) -> frozenset[str]:
    statuses = [status for text in query.getlist("status") for status in text.split(",")]
    for status in statuses:
        if status not in STATUSES:
            raise ApiError(400, "invalid_request", f"`status` must be of {', '.join(STATUSES)}.")
    return frozenset(statuses)
