"""The web gateway: Comfy API v2, and ours under /api/ryla. Plain ASGI; it knows no cloud."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .access import Access
from .api_error import ApiError
from .asset_routes import AssetRoutes
from .endpoint_inputs import Endpoint
from .job_routes import JobRoutes
from .jobs import Jobs
from .openapi import openapi_document
from .stores import FileStore, KeyValueStore
from .webhooks import Notifier

READY_SECONDS = 5.0
"""For the store to answer."""

log = logging.getLogger("ryla_modal")


class Gateway:
    """The application and its parts. It holds no state: another one over the same store continues where it ended."""

    def __init__(
        self,
        jobs: Jobs,
        store: KeyValueStore,
        files: FileStore,
        *,
        endpoint: Endpoint | None = None,
        notifier: Notifier | None = None,
        private_webhooks: bool = False,
    ) -> None:
        """`endpoint`: whose inputs /api/ryla/run takes. `notifier`: tells webhooks of ended jobs."""
        self._store = store
        self._jobs = JobRoutes(
            jobs, files, endpoint=endpoint, notifier=notifier, private_webhooks=private_webhooks
        )
        self._assets = AssetRoutes(store, files)
        self._document = openapi_document(endpoint)

    def application(self, access: Access | None = None) -> Starlette:
        """The ASGI application."""
        application = Starlette(
            routes=[
                Route("/health", self._health, methods=["GET"]),
                Route("/ready", self._ready, methods=["GET"]),
                Route("/openapi.json", self._openapi, methods=["GET"]),
                *self._jobs.routes(),
                *self._assets.routes(),
            ],
            middleware=(access or Access()).middleware(),
            exception_handlers=EXCEPTION_HANDLERS,
        )
        application.router.redirect_slashes = False  # a redirect would repeat whatever Host was sent
        return application

    async def _health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _ready(self, _: Request) -> Response:
        try:
            await asyncio.wait_for(self._store.get("ready"), READY_SECONDS)
        except Exception as error:  # whatever a store raises, it is not ready
            log.warning("not ready: %s", type(error).__name__)
            message = "The job store does not answer."
            raise ApiError(503, "upstream_unreachable", message, retry_after=5) from None
        return JSONResponse({"status": "ready"})

    async def _openapi(self, _: Request) -> Response:
        return JSONResponse(self._document)


async def _refused(_: Request, error: Exception) -> Response:
    if not isinstance(error, ApiError):
        raise error
    return JSONResponse(error.to_json(), error.status, error.headers())


async def _http_error(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    codes = {404: "not_found", 405: "method_not_allowed", 413: "payload_too_large"}
    text = error.detail if isinstance(error, HTTPException) else "error"
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    return JSONResponse(
        ApiError(status, codes.get(status, "invalid_request"), text).to_json(), status, headers
    )


async def _unexpected(_: Request, error: Exception) -> Response:
    log.error("unexpected %s", type(error).__name__, exc_info=error)
    message = "The request could not be processed. Try again; the deployment's log says more."
    return JSONResponse(ApiError(500, "upstream_error", message).to_json(), 500)


EXCEPTION_HANDLERS: Mapping[Any, Any] = {
    ApiError: _refused,
    HTTPException: _http_error,
    Exception: _unexpected,
}
"""Every error of both web functions in the API's envelope."""
