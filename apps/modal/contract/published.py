"""The published OpenAPI document of Comfy API v2, out of comfy-sdk's source distribution."""

from __future__ import annotations

import copy
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import yaml

SDK = "comfy-sdk==0.5.0"

PROSE = {
    "400": "`invalid_request`: malformed",
    "405": "the method does not exist here",
    "413": "`payload_too_large`",
    "415": "another Content-Type or a Content-Encoding",
    "422": "`invalid_request`: a value out of its bounds",
    "429": "`rate_limited`",
}
"""Refusals that the document's operations leave out and HTTP or its error list has. With the error envelope."""


def published_document(folder: Path) -> dict[str, Any]:
    """Fetches the document; it is not kept in this repository."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    # Building needs nothing: the archive is only opened.
    subprocess.run([*command, "--no-binary", ":all:", "--dest", str(folder), SDK], check=True)
    (archive,) = folder.glob("comfy_sdk-*.tar.gz")
    with tarfile.open(archive) as content:
        (member,) = [name for name in content.getnames() if name.endswith("/spec/openapi.yaml")]
        file = content.extractfile(member)
        assert file is not None
        return yaml.safe_load(file)


LIST: dict[str, Any] = {
    "operationId": "listJobs",
    "parameters": [
        {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 100}},
        {"name": "cursor", "in": "query", "schema": {"type": "string", "maxLength": 100}},
    ],
    "responses": {
        "200": {
            "description": "A page, as the SDKs read it.",
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["jobs"],
                        "properties": {
                            "next_cursor": {"type": "string"},
                            "jobs": {
                                "type": "array",
                                "items": {
                                    "type": "object",
                                    "required": ["id", "status", "create_time", "update_time", "metadata"],
                                    "properties": {
                                        "id": {"type": "string"},
                                        "status": {"$ref": "#/components/schemas/JobStatus"},
                                        "create_time": {"type": "string", "format": "date-time"},
                                        "update_time": {"type": "string", "format": "date-time"},
                                        "deployment_id": {"type": "string", "nullable": True},
                                        "metadata": {
                                            "type": "object",
                                            "additionalProperties": {"type": "string"},
                                        },
                                    },
                                },
                            },
                        },
                    }
                }
            },
        },
        "401": {"$ref": "#/components/responses/Unauthorized"},
    },
}
"""`GET /api/v2/jobs`, which the SDKs send and the document lacks."""

EVENT: dict[str, Any] = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "event": {"type": "string", "enum": ["status", "progress", "preview", "output", "log"]},
        "data": {"type": "string"},
    },
}
"""One event of a stream; the document has the stream as one text, schemathesis reads it event by event."""


def with_prose(document: dict[str, Any], samples: dict[str, Any]) -> dict[str, Any]:
    """The document with the refusals of PROSE, and with ids and bodies of `samples` among what is generated."""
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorEnvelope"}}}
    document["paths"]["/api/v2/jobs"]["get"] = copy.deepcopy(LIST)
    with_events(document)
    for operations in document["paths"].values():
        for method, operation in operations.items():
            for code, text in PROSE.items():
                answer: dict[str, Any] = {"description": text}
                if method != "head":
                    answer["content"] = error
                operation["responses"].setdefault(code, answer)
    _known(document["components"]["parameters"]["JobId"], samples["jobs"])
    _known(document["components"]["parameters"]["AssetId"], samples["assets"])
    _known(document["components"]["parameters"]["BlakeHash"], samples["hashes"])
    body = document["paths"]["/api/v2/jobs"]["post"]["requestBody"]["content"]["application/json"]
    body["examples"] = {"picture": {"value": {"workflow": samples["workflow"]}}}
    content = document["paths"]["/api/v2/assets/{id}/content"]["get"]["responses"]
    for code in ("200", "206"):  # the document has one media type, the bytes have their own
        content[code]["content"] = {"*/*": content[code]["content"]["application/octet-stream"]}
    return document


def with_events(document: dict[str, Any]) -> None:
    """Describes the events of a job's stream, in a document of theirs or ours."""
    answer = document["paths"]["/api/v2/jobs/{id}/events"]["get"]["responses"]["200"]
    answer["content"]["text/event-stream"]["schema"] = EVENT


def _known(parameter: dict[str, Any], values: list[str]) -> None:
    parameter["schema"] = {"anyOf": [{"type": "string", "enum": values}, {"type": "string", "minLength": 1}]}
    parameter["example"] = values[0]
