"""What RunPod's management API v2 takes and answers, as JSON Schemas of our own, for the parts that this workspace uses.

Restated from RunPod's OpenAPI document 2.0.0 as of 2026-11-24: names, types, ranges and what is required are its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

Schema = dict[str, Any]


def _object(properties: Schema, required: Sequence[str] = (), **more: Any) -> Schema:
    """An object that has no other keys."""
    closed = {"type": "object", "properties": properties, "additionalProperties": False, **more}
    return {**closed, "required": list(required)} if required else closed


def _array(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


TEXT: Schema = {"type": "string"}
NAME: Schema = {"type": "string", "minLength": 1}
BOOLEAN: Schema = {"type": "boolean"}
TEXTS = _array(TEXT)
CUDA_VERSION: Schema = {"type": "string", "pattern": r"^\d+\.\d+$"}
CUDA_FLOOR_OR_NONE: Schema = {"type": "string", "pattern": r"^$|^\d+\.\d+$"}

CONTAINER: Schema = {
    "args": TEXT,
    "disk": {"type": "integer", "minimum": 1},
    "env": {"type": "object", "additionalProperties": TEXT},
    "image": TEXT,
    "ports": TEXTS,
    "registry": {"type": ["string", "null"]},
}
"""Properties of everything that runs a container."""

ENDPOINT_TYPE: Schema = {"enum": ["QUEUE", "LOAD_BALANCER"]}
FLASHBOOT: Schema = {"enum": ["OFF", "FLASHBOOT", "PRIORITY_FLASHBOOT"]}
CATEGORY: Schema = {"enum": ["CPU", "NVIDIA", "AMD"]}
VOLUME_TYPE: Schema = {"enum": ["STANDARD", "HIGH_PERFORMANCE"]}
AVAILABILITY: Schema = {"enum": ["NONE", "LOW", "MEDIUM", "HIGH"]}

QUEUE_DELAY = _object(
    {"type": {"const": "QUEUE_DELAY"}, "queueDelay": {"type": "number", "minimum": 0.5}},
    ["type", "queueDelay"],
)
REQUEST_COUNT = _object(
    {"type": {"const": "REQUEST_COUNT"}, "requestCount": {"type": "integer", "minimum": 1}},
    ["type", "requestCount"],
)
SCALING: Schema = {
    "type": "object",
    "required": ["type"],
    "properties": {"type": {"enum": ["QUEUE_DELAY", "REQUEST_COUNT"]}},
    "allOf": [
        {"if": {"properties": {"type": {"const": name}}, "required": ["type"]}, "then": schema}
        for name, schema in (("QUEUE_DELAY", QUEUE_DELAY), ("REQUEST_COUNT", REQUEST_COUNT))
    ],
}
WORKERS = _object(
    {
        "min": {"type": "integer", "minimum": 0},
        "max": {"type": "integer", "minimum": 0},
        "idleTimeout": {"type": "integer", "minimum": 1, "maximum": 3600},
    }
)
CPUS = _array({"type": "object"}, minItems=1, uniqueItems=True)
"""What a CPU endpoint has; such endpoints are refused here, so their items are not looked into."""

GPU: Schema = {
    "pools": _array(TEXT, minItems=1),
    "excludedTypes": _array({"type": "string", "pattern": r"^\s*[^-\s]"}, uniqueItems=True),
    "count": {"type": "integer", "minimum": 1},
    "allowedCudaVersions": _array(CUDA_VERSION),
}
CREATE_GPU = _object({**GPU, "minCudaVersion": CUDA_VERSION}, ["pools"])
UPDATE_GPU = _object(
    {**GPU, "minCudaVersion": CUDA_FLOOR_OR_NONE}, dependentRequired={"excludedTypes": ["pools"]}
)

ENDPOINT_SETTINGS: Schema = {
    **CONTAINER,
    "name": NAME,
    "scaling": SCALING,
    "cpu": CPUS,
    "dataCenterIds": TEXTS,
    "flashboot": FLASHBOOT,
    "networkVolumes": TEXTS,
    "timeout": {"type": "integer"},
    "workers": WORKERS,
}
CREATE_ENDPOINT = _object(
    {**ENDPOINT_SETTINGS, "type": ENDPOINT_TYPE, "gpu": CREATE_GPU, "templateId": NAME},
    ["name", "type", "scaling"],
    allOf=[
        {"if": {"not": {"required": ["templateId"]}}, "then": {"required": ["image"]}},
        {
            "if": {"required": ["type"], "properties": {"type": {"const": "LOAD_BALANCER"}}},
            "then": {"properties": {"scaling": REQUEST_COUNT}},
        },
    ],
)
"""Body of POST /v2/serverless."""

UPDATE_ENDPOINT = _object({**ENDPOINT_SETTINGS, "gpu": UPDATE_GPU, "templateId": TEXT})
"""Body of PATCH /v2/serverless/{id}."""

TEMPLATE_SETTINGS: Schema = {
    **CONTAINER,
    "name": NAME,
    "allowedCudaVersions": _array(CUDA_VERSION),
    "category": CATEGORY,
    "mounts": _object(
        {"persistent": _object({"size": {"type": "integer", "minimum": 10}, "path": TEXT}, ["size", "path"])}
    ),
    "public": BOOLEAN,
    "serverless": BOOLEAN,
    "startJupyter": BOOLEAN,
    "startSsh": BOOLEAN,
}
CREATE_TEMPLATE = _object(TEMPLATE_SETTINGS, ["name", "image"])
"""Body of POST /v2/templates."""

CREATE_NETWORK_VOLUME = _object(
    {
        "name": NAME,
        "size": {"type": "integer", "minimum": 10, "maximum": 4096},
        "dataCenter": NAME,
        "type": VOLUME_TYPE,
    },
    ["name", "size", "dataCenter"],
)
"""Body of POST /v2/network-volumes."""

ENDPOINT: Schema = {
    "type": "object",
    "required": [
        *("id", "name", "workers", "scaling", "dataCenterIds", "networkVolumes", "timeout"),
        *("flashboot", "createdAt"),
    ],
    "properties": {
        **ENDPOINT_SETTINGS,
        "id": TEXT,
        "type": ENDPOINT_TYPE,
        "gpu": {
            "type": ["object", "null"],
            "required": ["pools", "allowedCudaVersions", "minCudaVersion"],
            "properties": {**GPU, "minCudaVersion": {"type": ["string", "null"]}},
        },
        "workers": {**WORKERS, "required": ["min", "max"]},
        "createdAt": {"type": "string", "format": "date-time"},
    },
}
TEMPLATE: Schema = {
    "type": "object",
    "required": [
        *("id", "name", "image", "args", "disk", "mounts", "ports", "env", "registry", "serverless"),
        *("public", "category", "startSsh", "startJupyter", "allowedCudaVersions"),
    ],
    "properties": {**TEMPLATE_SETTINGS, "id": TEXT},
}
NETWORK_VOLUME: Schema = {
    "type": "object",
    "required": ["id", "name", "size", "dataCenter", "type"],
    "properties": {**CREATE_NETWORK_VOLUME["properties"], "id": TEXT},
}
NETWORK_MOUNT = _object({"volumeId": TEXT, "path": TEXT}, ["volumeId", "path"])
POD: Schema = {
    "type": "object",
    "required": ["id", "name", "status", "mounts", "template"],
    "properties": {
        "id": TEXT,
        "name": TEXT,
        "status": TEXT,
        "template": {"type": ["string", "null"]},
        "mounts": _object({"persistent": {"type": "object"}, "network": _array(NETWORK_MOUNT, maxItems=1)}),
        "cluster": {"type": "object"},
    },
}
"""Of a pod, what tells what it needs: the local RunPod runs none."""

_PRICE: Schema = {"type": "number"}
GPU_TYPE: Schema = {
    "type": "object",
    "required": [
        *("id", "name", "pool", "manufacturer", "memory", "secure", "community", "price", "maxCount"),
    ],
    "properties": {
        "id": TEXT,
        "name": TEXT,
        "pool": {"type": ["string", "null"]},
        "manufacturer": {"enum": ["NVIDIA", "AMD", "UNKNOWN"]},
        "memory": {"type": "integer"},
        "secure": BOOLEAN,
        "community": BOOLEAN,
        "price": {
            "type": "object",
            "required": ["secure", "community"],
            "properties": {"secure": _PRICE, "community": _PRICE, "serverless": _PRICE},
        },
        "maxCount": {"type": "object", "required": ["secure", "community"]},
        "availability": AVAILABILITY,
    },
}
RELEASES: Schema = {
    "type": "object",
    "required": ["rollout", "releases"],
    "properties": {
        "endpointVersion": {"type": ["integer", "null"]},
        "rollout": {
            "type": "object",
            "required": ["inProgress", "workersOnLatest", "workersTotal", "percentOnLatest"],
        },
        "releases": _array(
            {"type": "object", "required": ["id", "source", "createdAt", "workerCount", "diff"]}
        ),
    },
}
WORKERS_OF_ENDPOINT: Schema = {
    "type": "object",
    "required": ["workers", "summary"],
    "properties": {
        "workers": _array(
            {
                "type": "object",
                "required": ["id", "status", "gpuCount", "isStale"],
                "properties": {
                    "status": {"enum": ["RUNNING", "IDLE", "INITIALIZING", "THROTTLED", "UNHEALTHY"]},
                    "uptimeSeconds": {"type": ["integer", "null"], "minimum": 0},
                    "startedAt": {"type": ["string", "null"], "format": "date-time"},
                },
            }
        ),
        "summary": {
            "type": "object",
            "required": ["running", "idle", "initializing", "throttled", "unhealthy", "total"],
        },
        "endpointVersion": {"type": ["integer", "null"]},
    },
}


def _billing(owner: str, amounts: Sequence[str], unique: str) -> Schema:
    money: Schema = {name: {"type": "number"} for name in amounts}
    window = ["startTime", "endTime"]
    record: Schema = {"type": "object", "required": [*window, *amounts, owner], "properties": money}
    query: Schema = {"type": "object", "required": [*window, "bucketSize"]}
    totals: Schema = {"type": "object", "required": list(amounts), "properties": money}
    metadata: Schema = {
        "type": "object",
        "required": ["query", "recordCount", unique, "totals"],
        "properties": {"query": query, "totals": totals},
    }
    return {
        "type": "object",
        "required": ["records", "metadata"],
        "properties": {"records": _array(record), "metadata": metadata},
    }


SERVERLESS_AMOUNTS = ("totalAmount", "gpuAmount", "cpuAmount", "diskAmount", "feeAmount")
VOLUME_AMOUNTS = ("totalAmount", "standardAmount", "highPerformanceAmount")
SERVERLESS_BILLING = _billing("serverlessId", SERVERLESS_AMOUNTS, "uniqueServerlessCount")
VOLUME_BILLING = _billing("networkVolumeId", VOLUME_AMOUNTS, "uniqueNetworkVolumeCount")
ERROR: Schema = {
    "type": "object",
    "required": ["title", "status", "detail"],
    "properties": {"title": TEXT, "status": {"type": "integer"}, "detail": TEXT, "errors": TEXTS},
}


def list_of(name: str, item: Schema) -> Schema:
    """A whole list under its name; the document knows no pages."""
    return {"type": "object", "required": [name], "properties": {name: _array(item)}}


def problems(schema: Mapping[str, Any], value: Any) -> list[str]:
    """What is wrong with a value, each as `<JSON path>: <problem>`; a value of an `env` is never shown."""
    found = Draft202012Validator(schema).iter_errors(value)
    return sorted({f"{error.json_path}: {_message(error)}" for error in found})


def _message(error: ValidationError) -> str:
    if "env" in error.absolute_path:
        return f"must be a {error.validator_value}"
    return error.message
