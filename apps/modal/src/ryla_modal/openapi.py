"""Our own OpenAPI document: what this deployment serves."""

from __future__ import annotations

from typing import Any

from . import limits
from .endpoint_inputs import Endpoint
from .openapi_schemas import COUNT, EXTRA_DATA, LABELS, SCHEMAS, Schema, nullable, record, ref

CODES = {
    400: "The request cannot be read: `invalid_request`, `invalid_cursor`, `invalid_metadata_filter`.",
    401: "`unauthorized`: the token is missing or wrong.",
    404: "`not_found` or `blob_not_found`.",
    405: "`method_not_allowed`.",
    409: "`hash_mismatch` or `asset_in_use`.",
    413: "`payload_too_large`: docs/gateway.md has the limits.",
    415: "`unsupported_media_type`: another Content-Type, or a Content-Encoding.",
    416: "`range_not_satisfiable`.",
    422: "Refused as it is: `invalid_workflow`, `workflow_format_ui`, `missing_asset`, `idempotency_key_reuse`, "
    "`metadata_invalid`, `untrusted_url`, `webhooks_not_configured`, `unknown_input`, `missing_input`, "
    "`invalid_input`, `invalid_request`.",
    429: "`rate_limited` or `too_many_streams`; wait for Retry-After seconds.",
    500: "`upstream_error`.",
    503: "`upstream_unreachable`.",
}

IDEMPOTENCY_KEY: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "minLength": 1, "maxLength": limits.KEY_LENGTH, "pattern": "^[!-~][ -~]*$"},
    "description": "Counts once in 24 hours; a second request with it is refused with 422 `idempotency_key_reuse`.",
}
JOB_ID: Schema = {
    "name": "Ryla-Job-Id",
    "in": "header",
    "schema": {"type": "string", "format": "uuid"},
    "description": "The job's id, when the caller mints it.",
}
WEBHOOK_URL: Schema = {
    "name": "Ryla-Webhook-Url",
    "in": "header",
    "schema": {"type": "string", "format": "uri", "maxLength": limits.URL_LENGTH},
    "description": "Is sent a signed message when the job has ended. https, on a public host.",
}
PATH_ID: Schema = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
PATH_HASH: Schema = {"name": "hash", "in": "path", "required": True, "schema": {"type": "string"}}


def openapi_document(endpoint: Endpoint | None) -> dict[str, Any]:
    """The document of a deployment; of an endpoint's with the types of its inputs."""
    paths: dict[str, dict[str, Any]] = {
        "/health": {"get": _operation("health", "Whether this container answers", {200: _json("State")}, ())},
        "/ready": {"get": _operation("ready", "Whether jobs are taken", {200: _json("State")}, (503,))},
        "/openapi.json": {"get": _operation("openapi", "This document", {200: _any_json()}, (401, 429))},
        **_job_paths(),
        **_asset_paths(),
        "/api/ryla/jobs/{id}": {
            "get": _operation(
                "lookUpJob",
                "A job by the caller's id, with what Comfy API v2 has no place for",
                {200: _json("JobDetails")},
                (400, 401, 404, 429),
                [PATH_ID],
            )
        },
        "/api/ryla/run": {"post": _run(endpoint)},
    }
    for operations in paths.values():
        for operation in operations.values():
            operation["responses"]["405"] = _error(405)
            operation["responses"]["500"] = _error(500)
    name = "any workflow" if endpoint is None else f"the endpoint {endpoint.name}"
    return {
        "openapi": "3.0.3",
        "info": {
            "title": f"ComfyUI on Modal: {name}",
            "version": "1.0.0",
            "description": "Comfy API v2 as this gateway serves it, and its extensions under /api/ryla.",
        },
        "security": [{"bearer": []}, {"modalKey": [], "modalSecret": []}, {}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "modalKey": {"type": "apiKey", "in": "header", "name": "Modal-Key"},
                "modalSecret": {"type": "apiKey", "in": "header", "name": "Modal-Secret"},
            },
        },
    }


def _job_paths() -> dict[str, dict[str, Any]]:
    submitted = (400, 401, 413, 415, 422, 429)
    asked = (400, 401, 404, 429)
    return {
        "/api/v2/jobs": {
            "post": _operation(
                "submitJob",
                "Submit a workflow",
                {201: _json("Job")},
                submitted,
                [IDEMPOTENCY_KEY, JOB_ID, WEBHOOK_URL],
                _body("application/json", ref("SubmitJob")),
            ),
            "get": _operation(
                "listJobs",
                "Jobs, the newest first",
                {200: _json("JobPage")},
                (400, 401, 429),
                _list_parameters(),
            ),
        },
        "/api/v2/jobs/{id}": {"get": _operation("getJob", "A job", {200: _json("Job")}, asked, [PATH_ID])},
        "/api/v2/jobs/{id}/workflow": {
            "get": _operation(
                "getJobWorkflow", "The workflow that it ran", {200: _json("JobWorkflow")}, asked, [PATH_ID]
            )
        },
        "/api/v2/jobs/{id}/events": {
            "get": _operation(
                "getJobEvents",
                "Its live events: `status`, `progress`, `preview`, `output`; ends after 140 s, connect again",
                {
                    200: {
                        "description": "Events.",
                        "content": {"text/event-stream": {"schema": {"type": "string"}}},
                    }
                },
                asked,
                [PATH_ID],
            )
        },
        "/api/v2/jobs/{id}/cancel": {
            "post": _operation("cancelJob", "Stop it; may be repeated", {200: _json("Job")}, asked, [PATH_ID])
        },
    }


def _list_parameters() -> list[Schema]:
    return [
        {
            "name": "limit",
            "in": "query",
            "schema": {
                "type": "integer",
                "minimum": 1,
                "maximum": limits.LARGEST_PAGE,
                "default": limits.PAGE_SIZE,
            },
        },
        {
            "name": "cursor",
            "in": "query",
            "schema": {"type": "string"},
            "description": "`next_cursor` of the page before; jobs that came since do not move the pages.",
        },
        {
            "name": "status",
            "in": "query",
            "schema": {"type": "array", "items": ref("JobStatus")},
            "style": "form",
            "explode": False,
        },
        {
            "name": "metadata",
            "in": "query",
            "style": "deepObject",
            "explode": True,
            "schema": {"type": "object", "additionalProperties": {"type": "string"}},
            "description": f"metadata[key]=value, up to {limits.METADATA_FILTERS} of them: jobs that carry all of them.",
        },
    ]


def _asset_paths() -> dict[str, dict[str, Any]]:
    asked = (400, 401, 404, 429)
    content = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
    return {
        "/api/v2/assets": {
            "post": _operation(
                "uploadAsset",
                "Upload a file",
                {201: _json("Asset", "New bytes."), 200: _json("Asset", "Known bytes.")},
                (400, 401, 409, 413, 415, 422, 429),
                [IDEMPOTENCY_KEY],
                _body("multipart/form-data", ref("Upload")),
            )
        },
        "/api/v2/assets/from-hash": {
            "post": _operation(
                "assetFromHash",
                "An asset over bytes that are there",
                {201: _json("Asset")},
                (400, 401, 404, 413, 415, 422, 429),
                body=_body("application/json", ref("FromHash")),
            )
        },
        "/api/v2/assets/by-hash/{hash}": {
            "head": {
                "operationId": "hasBytes",
                "summary": "Whether there are bytes with this hash",
                "parameters": [PATH_HASH],
                "responses": {
                    "200": {"description": "There are."},
                    **{str(code): {"description": CODES[code]} for code in (401, 404, 429)},
                },
            }
        },
        "/api/v2/assets/{id}": {
            "get": _operation("getAsset", "An asset", {200: _json("Asset")}, asked, [PATH_ID]),
            "delete": _operation(
                "deleteAsset",
                "Forget an upload",
                {204: {"description": "Forgotten."}},
                (401, 404, 409, 429),
                [PATH_ID],
            ),
        },
        "/api/v2/assets/{id}/content": {
            "get": _operation(
                "getAssetContent",
                "Its bytes; Range, If-Range and If-None-Match are heeded",
                {
                    200: {"description": "All bytes.", "content": content},
                    206: {"description": "The range.", "content": content},
                    304: {"description": "The caller has them."},
                },
                (401, 404, 416, 429),
                [PATH_ID, {"name": "Range", "in": "header", "schema": {"type": "string"}}],
            )
        },
    }


def _run(endpoint: Endpoint | None) -> dict[str, Any]:
    inputs: Schema = {"type": "object"} if endpoint is None else endpoint.input_schema()
    body = record(
        {
            "inputs": inputs,
            "metadata": nullable(LABELS),
            "extra_data": EXTRA_DATA,
            "webhook": nullable({**record({"url": {"type": "string"}}), "additionalProperties": False}),
        },
        optional=("inputs", "metadata", "extra_data", "webhook"),
    )
    return _operation(
        "run",
        "Run the endpoint's workflow with these inputs; 404 where a deployment runs any workflow",
        {201: _json("Job")},
        (400, 401, 404, 413, 415, 422, 429),
        [IDEMPOTENCY_KEY, JOB_ID],
        _body("application/json", body),
    )


def _operation(
    name: str,
    summary: str,
    answers: dict[int, Any],
    errors: tuple[int, ...],
    parameters: list[Schema] | None = None,
    body: dict[str, Any] | None = None,
) -> dict[str, Any]:
    responses = {str(code): answer for code, answer in answers.items()}
    responses |= {str(code): _error(code) for code in errors}
    operation: dict[str, Any] = {"operationId": name, "summary": summary, "responses": responses}
    if parameters:
        operation["parameters"] = parameters
    if body is not None:
        operation["requestBody"] = body
    return operation


def _json(name: str, description: str = "As asked.") -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": ref(name)}}}


def _any_json() -> dict[str, Any]:
    return {"description": "As asked.", "content": {"application/json": {"schema": {"type": "object"}}}}


def _body(media_type: str, schema: Schema) -> dict[str, Any]:
    return {"required": True, "content": {media_type: {"schema": schema}}}


def _error(code: int) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": CODES[code],
        "content": {"application/json": {"schema": ref("Error")}},
    }
    if code in (429, 503):
        answer["headers"] = {"Retry-After": {"schema": COUNT, "description": "Seconds."}}
    return answer
