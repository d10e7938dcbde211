"""JSON Schemas (OpenAPI 3.0) of what the gateway answers and takes."""

from __future__ import annotations

from typing import Any

from . import limits

Schema = dict[str, Any]


def nullable(schema: Schema) -> Schema:
    """The schema or null."""
    return {"allOf": [schema], "nullable": True} if "$ref" in schema else {**schema, "nullable": True}


def ref(name: str) -> Schema:
    """A schema of `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def record(properties: dict[str, Schema], optional: tuple[str, ...] = ()) -> Schema:
    """An object with these properties, all of them there but the optional ones."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
MOMENT: Schema = {"type": "string", "format": "date-time"}
ID: Schema = {"type": "string", "format": "uuid"}
HASH: Schema = {"type": "string", "pattern": "^blake3:[0-9a-f]{64}$"}
LIFETIME: Schema = {"type": "integer", "minimum": 60, "maximum": 604_800, "description": "Seconds."}
LABELS: Schema = {
    "type": "object",
    "maxProperties": limits.METADATA_PAIRS,
    "additionalProperties": TEXT,
    "description": f"Labels. Keys have 1 to {limits.METADATA_KEY_LENGTH} characters of A-Z a-z 0-9 _ - . and values "
    f"up to {limits.METADATA_VALUE_BYTES} bytes without control characters.",
}
EXTRA_DATA: Schema = {
    "type": "object",
    "properties": {"api_key_comfy_org": {"type": "string", "maxLength": 4096}},
    "additionalProperties": False,
}
WORKFLOW: Schema = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": limits.NODES,
    "additionalProperties": {
        "type": "object",
        "required": ["class_type", "inputs"],
        "properties": {"class_type": {"type": "string", "minLength": 1}, "inputs": {"type": "object"}},
    },
    "description": "Nodes by id, in API format. A core/ASSET reference may stand for a file's name.",
}

SCHEMAS: dict[str, Schema] = {
    "Error": record(
        {
            "error": record(
                {"code": TEXT, "message": TEXT, "details": {"type": "object", "additionalProperties": True}},
                optional=("details",),
            )
        }
    ),
    "JobStatus": {
        "type": "string",
        "enum": ["queued", "running", "canceling", "succeeded", "failed", "canceled", "expired"],
    },
    "Progress": record(
        {
            "value": {"type": "number", "minimum": 0, "maximum": 1},
            "nodes_done": COUNT,
            "nodes_total": COUNT,
            "current_node": nullable(TEXT),
            "current_node_class": nullable(TEXT),
            "step": nullable(COUNT),
            "steps": nullable(COUNT),
            "message": nullable(TEXT),
        }
    ),
    "Output": record(
        {
            "node_id": TEXT,
            "name": TEXT,
            "type": {"type": "string", "enum": ["image", "video", "audio", "text", "file", "latent"]},
            "content_type": TEXT,
            "size_bytes": COUNT,
            "id": ID,
            "hash": HASH,
            "url": {"type": "string", "format": "uri"},
            "url_expires_at": MOMENT,
            "job_id": ID,
        }
    ),
    "JobError": record(
        {
            "code": TEXT,
            "message": TEXT,
            "node_id": nullable(TEXT),
            "class_type": nullable(TEXT),
            "traceback": nullable(TEXT),
        }
    ),
    "Job": record(
        {
            "id": ID,
            "status": ref("JobStatus"),
            "created_at": MOMENT,
            "started_at": nullable(MOMENT),
            "completed_at": nullable(MOMENT),
            "expires_at": MOMENT,
            "queue_position": nullable(COUNT),
            "progress": nullable(ref("Progress")),
            "outputs": {"type": "array", "items": ref("Output")},
            "error": nullable(ref("JobError")),
            "metrics": {"type": "object", "additionalProperties": nullable(COUNT)},
            "metadata": LABELS,
            "urls": record({"self": TEXT, "events": TEXT, "cancel": TEXT}),
        }
    ),
    "ListedJob": record(
        {
            "id": ID,
            "status": ref("JobStatus"),
            "create_time": MOMENT,
            "update_time": MOMENT,
            "deployment_id": nullable(TEXT),
            "metadata": LABELS,
        }
    ),
    "JobPage": record(
        {"jobs": {"type": "array", "items": ref("ListedJob")}, "next_cursor": TEXT}, optional=("next_cursor",)
    ),
    "JobWorkflow": record({"workflow": {"type": "object"}, "format": {"type": "string", "enum": ["api"]}}),
    "JobDetails": record(
        {
            "job": ref("Job"),
            "payloadSha256": TEXT,
            "attempt": COUNT,
            "workerId": nullable(TEXT),
            "timings": record(
                {"queueMs": nullable(COUNT), "coldStartMs": nullable(COUNT), "executionMs": nullable(COUNT)}
            ),
            "metrics": nullable(
                record(
                    {
                        **dict.fromkeys(("queueMs", "bootMs", "modelLoadMs", "samplingMs"), nullable(COUNT)),
                        **dict.fromkeys(("encodeMs", "uploadMs", "peakMemoryBytes"), nullable(COUNT)),
                        "gpu": nullable(TEXT),
                    }
                )
            ),
            "webhook": nullable(
                record(
                    {
                        "state": {"type": "string", "enum": ["pending", "delivered", "failed"]},
                        "attempts": COUNT,
                        "error": nullable(TEXT),
                    }
                )
            ),
        }
    ),
    "Asset": record(
        {
            "id": ID,
            "hash": HASH,
            "size_bytes": COUNT,
            "content_type": TEXT,
            "file_path": TEXT,
            "created_at": MOMENT,
            "expires_at": MOMENT,
            "job_id": nullable(ID),
            "url": {"type": "string", "format": "uri"},
            "url_expires_at": MOMENT,
            "created_new": {"type": "boolean"},
        },
        optional=("created_new",),
    ),
    "AssetReference": record(
        {
            "__type": {"type": "string", "enum": ["core/ASSET"]},
            "info": record({"id": ID, "hash": HASH, "file_path": TEXT}, optional=("hash", "file_path")),
        }
    ),
    "SubmitJob": record(
        {"workflow": WORKFLOW, "extra_data": EXTRA_DATA, "metadata": nullable(LABELS)},
        optional=("extra_data", "metadata"),
    ),
    "Upload": record(
        {
            "file": {"type": "string", "format": "binary"},
            "content_type": {"type": "string", "example": "image/png"},
            "file_path": {"type": "string", "maxLength": limits.FILE_PATH_BYTES, "example": "photo.png"},
            "expected_hash": HASH,
            "tags": {"type": "array", "items": TEXT, "maxItems": limits.TAGS},
            "expires_in": LIFETIME,
        },
        optional=("expected_hash", "tags", "expires_in"),
    ),
    "FromHash": record(
        {
            "hash": TEXT,
            "file_path": {"type": "string", "maxLength": limits.FILE_PATH_BYTES},
            "tags": {"type": "array", "items": TEXT, "maxItems": limits.TAGS},
            "expires_in": nullable(LIFETIME),
        },
        optional=("file_path", "tags", "expires_in"),
    ),
    "State": record({"status": TEXT}),
}
"""Named schemas of the document."""
