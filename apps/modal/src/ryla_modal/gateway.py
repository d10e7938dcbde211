"""The web gateway: Comfy API v2, and our look-up under /api/ryla. Plain ASGI; it knows no cloud."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import re
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .api_error import ApiError
from .jobs import TERMINAL, URL_LIFETIME, Jobs
from .stores import Blob, FileStore, KeyValueStore, file_pieces, new_asset, timestamp

MAXIMUM_JSON = 16 * 1024 * 1024
"""Bytes of a JSON body."""

MAXIMUM_UPLOAD = 100 * 1024 * 1024
"""Bytes of an upload (Comfy API v2: about 100 MB in one request)."""

STREAM_SECONDS = 140.0
"""An event stream ends before Modal cuts it at 150 s; clients connect again and get a snapshot."""

EVENT_INTERVAL = 0.25
KEEPALIVE = 15.0
"""Seconds between comments on a quiet stream; the official SDKs give up after 45."""

OPEN_PATHS = ("/health",)
log = logging.getLogger("ryla_modal")


class BearerAuth:
    """Refuses requests without the right token with 401, before anything else runs."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on when it may."""
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, self._expected):
                error = ApiError(
                    401, "unauthorized", "Send Authorization: Bearer with this deployment's token."
                )
                await JSONResponse(error.to_json(), 401)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class Gateway:
    """The routes."""

    def __init__(self, jobs: Jobs, store: KeyValueStore, files: FileStore) -> None:
        self._jobs = jobs
        self._store = store
        self._files = files

    def application(self, token: str | None = None) -> Starlette:
        """The ASGI application; with a token, only callers who send it are let in."""
        middleware = [Middleware(BearerAuth, token=token)] if token is not None else []
        return Starlette(
            routes=[
                Route("/health", self._health),
                Route("/api/v2/jobs", self._post_job, methods=["POST"]),
                Route("/api/v2/jobs", self._list_jobs),
                Route("/api/v2/jobs/{id}", self._get_job),
                Route("/api/v2/jobs/{id}/workflow", self._get_workflow),
                Route("/api/v2/jobs/{id}/events", self._get_events),
                Route("/api/v2/jobs/{id}/cancel", self._cancel_job, methods=["POST"]),
                Route("/api/v2/assets", self._post_asset, methods=["POST"]),
                Route("/api/v2/assets/from-hash", self._asset_from_hash, methods=["POST"]),
                Route("/api/v2/assets/by-hash/{hash}", self._head_asset, methods=["HEAD"]),
                Route("/api/v2/assets/{id}", self._get_asset, methods=["GET"]),
                Route("/api/v2/assets/{id}", self._delete_asset, methods=["DELETE"]),
                Route("/api/v2/assets/{id}/content", self._get_content),
                Route("/api/ryla/jobs/{id}", self._look_up),
            ],
            middleware=middleware,
            exception_handlers=EXCEPTION_HANDLERS,
        )

    async def _health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    # -- jobs ------------------------------------------------------------------------------------------

    async def _post_job(self, request: Request) -> Response:
        document = await read_json(request)
        for reserved in ("webhook_url", "inputs"):
            if reserved in document:
                raise ApiError(422, "invalid_request", f"`{reserved}` is reserved and not accepted.")
        job = await self._jobs.submit(
            document.get("workflow"),
            job_id=_job_id(request.headers.get("ryla-job-id")),
            idempotency_key=request.headers.get("idempotency-key"),
            extra_data=_extra_data(document.get("extra_data")),
        )
        log.info("job %s accepted", job["id"])
        return JSONResponse(_absolute(request, job), 201)

    async def _list_jobs(self, _: Request) -> Response:
        raise ApiError(
            501, "not_implemented", "Jobs are not listed here; look one up at /api/ryla/jobs/{id}."
        )

    async def _get_job(self, request: Request) -> Response:
        return JSONResponse(_absolute(request, await self._jobs.get(request.path_params["id"])))

    async def _look_up(self, request: Request) -> Response:
        details = await self._jobs.details(request.path_params["id"])
        return JSONResponse({**details, "job": _absolute(request, details["job"])})

    async def _get_workflow(self, request: Request) -> Response:
        return JSONResponse(await self._jobs.workflow(request.path_params["id"]))

    async def _cancel_job(self, request: Request) -> Response:
        return JSONResponse(_absolute(request, await self._jobs.cancel(request.path_params["id"])))

    async def _get_events(self, request: Request) -> Response:
        job_id: str = request.path_params["id"]
        await self._jobs.get(job_id)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        events = self._events(request, job_id)
        return StreamingResponse(events, media_type="text/event-stream", headers=headers)

    async def _events(self, request: Request, job_id: str) -> AsyncIterator[str]:
        """Snapshots as they change; outputs come before the terminal status, after which the stream ends."""
        opened = spoke = time.monotonic()
        told: dict[str, Any] = {}
        sent_outputs: set[str] = set()
        while time.monotonic() - opened < STREAM_SECONDS:
            job = _absolute(request, await self._jobs.get(job_id))
            ended = job["status"] in TERMINAL
            pieces: list[str] = []
            if not ended and told.get("status") != job["status"]:
                pieces.append(
                    _event("status", {"status": job["status"], "queue_position": job["queue_position"]})
                )
            if job["progress"] is not None and told.get("progress") != job["progress"]:
                pieces.append(_event("progress", job["progress"]))
            preview = None if ended else await self._jobs.preview(job_id)
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

    # -- assets ----------------------------------------------------------------------------------------

    async def _post_asset(self, request: Request) -> Response:
        request = Request(request.scope, _limited(request.receive))
        if not request.headers.get("content-type", "").startswith("multipart/form-data"):
            raise ApiError(400, "invalid_request", "Send the file as multipart/form-data.")
        async with request.form(max_files=1) as form:
            file = form.get("file")
            content_type, file_path = form.get("content_type"), form.get("file_path")
            if (
                not isinstance(file, UploadFile)
                or not isinstance(content_type, str)
                or not isinstance(file_path, str)
            ):
                raise ApiError(422, "invalid_request", "`file`, `content_type` and `file_path` are needed.")
            if not re.fullmatch(r"[\w.+-]+/[\w.+-]+(; ?[\w.+-]+=[\w.+-]+)*", content_type, re.ASCII):
                raise ApiError(
                    422, "invalid_request", "`content_type` must be a media type, such as image/png."
                )
            blob = await self._files.write(_upload_pieces(file))
            expected = form.get("expected_hash")
            if isinstance(expected, str) and expected and expected != blob.hash:
                raise ApiError(409, "hash_mismatch", f"The bytes have the hash {blob.hash}, not {expected}.")
            expires_in = _expires_in(form.get("expires_in"))
        asset = new_asset(blob, content_type, file_path, expires_in=expires_in)
        await self._store.put(f"asset:{asset['id']}", asset)
        await self._files.commit()
        return JSONResponse(shown_asset(asset, _origin(request), blob.is_new), 201 if blob.is_new else 200)

    async def _asset_from_hash(self, request: Request) -> Response:
        document = await read_json(request)
        content_hash = document.get("hash")
        path = await self._files.path(content_hash) if isinstance(content_hash, str) else None
        if path is None or not isinstance(content_hash, str):
            raise ApiError(404, "blob_not_found", "There are no bytes with this hash.")
        blob = Blob(content_hash, path.stat().st_size, False)
        file_path = str(document.get("file_path") or "")
        asset = new_asset(blob, "", file_path, expires_in=_expires_in(document.get("expires_in")))
        await self._store.put(f"asset:{asset['id']}", asset)
        return JSONResponse(shown_asset(asset, _origin(request), False), 201)

    async def _head_asset(self, request: Request) -> Response:
        found = await self._files.path(request.path_params["hash"])
        return Response(status_code=404 if found is None else 200)

    async def _asset(self, request: Request) -> dict[str, Any]:
        asset = await self._store.get(f"asset:{request.path_params['id']}")
        if asset is None or asset["expires_at"] < timestamp():
            raise ApiError(404, "not_found", f"There is no asset {request.path_params['id']}.")
        return asset

    async def _get_asset(self, request: Request) -> Response:
        return JSONResponse(shown_asset(await self._asset(request), _origin(request)))

    async def _delete_asset(self, request: Request) -> Response:
        asset = await self._asset(request)
        if asset["job_id"] is not None:
            raise ApiError(409, "asset_in_use", "The asset is an output of a job that is kept.")
        await self._store.pop(f"asset:{asset['id']}")
        return Response(status_code=204)

    async def _get_content(self, request: Request) -> Response:
        asset = await self._asset(request)
        path = await self._files.path(asset["hash"])
        if path is None:
            raise ApiError(404, "not_found", "The bytes of this asset are no longer kept.")
        size = path.stat().st_size
        headers = {
            "Accept-Ranges": "bytes",
            "ETag": f'"{asset["hash"]}"',
            "X-Content-Type-Options": "nosniff",
        }
        span = _range(request.headers.get("range"), size)
        if span is None:
            return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})
        start, end = span
        status = 200
        if request.headers.get("range") and (start, end) != (0, size):
            status = 206
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        headers["Content-Length"] = str(end - start)
        pieces = file_pieces(path, start, end - start)
        return StreamingResponse(pieces, status, headers, media_type=asset["content_type"])


def _origin(request: Request) -> str:
    """Where the caller reached us. Content URLs must be absolute: the official SDKs refuse relative ones."""
    host = request.headers.get("host", "")
    # Modal's own hosts speak TLS only, whatever the proxy in front of the container says.
    scheme = "https" if host.endswith(".modal.run") else request.headers.get("x-forwarded-proto")
    return f"{scheme or request.url.scheme}://{host}{request.headers.get('x-forwarded-prefix', '')}"


def _absolute(request: Request, job: dict[str, Any]) -> dict[str, Any]:
    origin = _origin(request)
    return {**job, "outputs": [{**output, "url": origin + output["url"]} for output in job["outputs"]]}


def shown_asset(asset: Mapping[str, Any], origin: str, created_new: bool | None = None) -> dict[str, Any]:
    """An asset in the shape of Comfy API v2."""
    names = ("id", "hash", "size_bytes", "content_type", "file_path", "created_at", "expires_at", "job_id")
    document = {name: asset[name] for name in names}
    document["url"] = f"{origin}/api/v2/assets/{asset['id']}/content"
    document["url_expires_at"] = timestamp(time.time() + URL_LIFETIME)
    return document if created_new is None else {**document, "created_new": created_new}


async def read_json(request: Request) -> dict[str, Any]:
    """The body as a JSON object. Raises ApiError 400, or 413 for a body over the limit."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAXIMUM_JSON:
            raise ApiError(413, "payload_too_large", f"A JSON body may have {MAXIMUM_JSON} bytes.")
    try:
        document = json.loads(bytes(body), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "invalid_request", f"The body is not JSON: {error}.") from None
    if not isinstance(document, dict):
        raise ApiError(400, "invalid_request", "The body must be a JSON object.")
    return document


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _job_id(value: str | None) -> str | None:
    if value is None:
        return None
    try:
        return str(uuid.UUID(value))
    except ValueError:
        raise ApiError(400, "invalid_request", "Ryla-Job-Id must be a UUID.") from None


def _extra_data(value: Any) -> dict[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, dict) or not set(value) <= {"api_key_comfy_org"}:
        raise ApiError(422, "invalid_request", "`extra_data` takes `api_key_comfy_org` only.")
    return value


def _expires_in(value: Any) -> float | None:
    if value in (None, ""):
        return None
    try:
        seconds = int(value)
    except (TypeError, ValueError):
        seconds = 0
    if not 60 <= seconds <= 604_800:
        raise ApiError(422, "invalid_request", "`expires_in` must be from 60 to 604800 seconds.")
    return seconds


def _range(header: str | None, size: int) -> tuple[int, int] | None:
    """Start and end of a Range header; the whole file without one; None when it cannot be satisfied."""
    if header is None:
        return 0, size
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", header.strip())
    if found is None or found.groups() == ("", ""):
        return 0, size
    first, last = found.groups()
    if first == "":
        return (max(0, size - int(last)), size) if int(last) else None
    start = int(first)
    end = min(size, int(last) + 1) if last else size
    return (start, end) if start < end else None


async def _upload_pieces(file: UploadFile) -> AsyncIterator[bytes]:
    while piece := await file.read(1 << 20):
        yield piece


def _limited(receive: Receive) -> Receive:
    """Receives no more than an upload may have, whatever Content-Length says."""
    received = 0

    async def limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MAXIMUM_UPLOAD + (1 << 16):  # the other form fields
            raise ApiError(413, "payload_too_large", f"An upload may have {MAXIMUM_UPLOAD} bytes.")
        return message

    return limited


def _event(kind: str, data: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n"


async def _refused(_: Request, error: Exception) -> Response:
    if not isinstance(error, ApiError):
        raise error
    return JSONResponse(error.to_json(), error.status)


async def _http_error(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    code = {404: "not_found", 405: "invalid_request", 413: "payload_too_large"}.get(status, "invalid_request")
    text = error.detail if isinstance(error, HTTPException) else "error"
    return JSONResponse(ApiError(status, code, text).to_json(), status)


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
