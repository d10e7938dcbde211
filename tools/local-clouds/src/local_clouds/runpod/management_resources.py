"""Endpoints, templates and network volumes of the local RunPod's management API, and the rules that no schema can say."""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from .management_catalogue import POOLS
from .management_schemas import (
    CREATE_ENDPOINT,
    CREATE_NETWORK_VOLUME,
    CREATE_TEMPLATE,
    UPDATE_ENDPOINT,
    Schema,
    problems,
)

TIMEOUT_MS = 300_000
"""Execution timeout of an endpoint whose creator gives none (the document's default)."""

WORKERS: dict[str, Any] = {"min": 0, "max": 3, "idleTimeout": 10}
"""Workers of an endpoint whose creator gives none (the document's defaults)."""

DISK_GB = 10
"""Container disk where none is given; the document names no default."""

CONTAINER_FIELDS = ("image", "args", "disk", "env", "ports", "registry")

Document = dict[str, Any]

CONTAINER_DEFAULTS: Document = {"args": "", "disk": DISK_GB, "env": {}, "ports": [], "registry": None}

TEMPLATE_DEFAULTS: Document = {
    **CONTAINER_DEFAULTS,
    "mounts": {},
    "serverless": False,
    "public": False,
    "category": "NVIDIA",
    "startSsh": True,
    "startJupyter": True,
    "allowedCudaVersions": [],
}

POD_DEFAULTS: Document = {"status": "RUNNING", "template": None, "mounts": {}}
"""Of a pod that a test puts there: the local RunPod runs none."""


class Refused(Exception):
    """A request that is answered with an error document."""

    def __init__(self, status: int, detail: str, errors: list[str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors


def _check(schema: Schema, body: Any) -> Document:
    found = problems(schema, body)
    if found:
        raise Refused(422, "Request validation failed.", found)
    return body


class Resources:
    """What one account owns. State lives in memory."""

    def __init__(self, urls: Callable[[str], Document]) -> None:
        self.urls = urls
        self.endpoints: dict[str, Document] = {}
        self.releases: dict[str, list[Document]] = {}
        self.templates: dict[str, Document] = {}
        self.volumes: dict[str, Document] = {}
        self.pods: list[Document] = []

    # -- endpoints -------------------------------------------------------------------------------------

    def create_endpoint(self, body: Any) -> Document:
        """Makes an endpoint; raises Refused."""
        request = _check(CREATE_ENDPOINT, body)
        if "cpu" in request and "gpu" in request:
            raise Refused(400, "exactly one of gpu and cpu must be given")
        if "cpu" in request:
            raise Refused(400, "the local RunPod has no CPU endpoints")
        if "gpu" not in request:
            raise Refused(400, "exactly one of gpu and cpu must be given")
        settings = self._with_template(request, {})
        workers = {**WORKERS, **settings.get("workers", {})}
        _check_idle_timeout(settings, settings["type"], settings["scaling"])
        if settings["type"] == "QUEUE" and settings["scaling"]["type"] == "REQUEST_COUNT":
            workers.pop("idleTimeout")
        identifier = _identifier()
        endpoint: Document = {
            "id": identifier,
            "name": settings["name"],
            "type": settings["type"],
            "requestUrls": self.urls(identifier),
            "image": settings["image"],
            "args": settings.get("args", ""),
            "disk": settings.get("disk", DISK_GB),
            "env": dict(settings.get("env", {})),
            "ports": settings.get("ports", []),
            "registry": settings.get("registry"),
            "gpu": _gpu({"count": 1, "allowedCudaVersions": [], "minCudaVersion": None}, settings["gpu"]),
            "workers": workers,
            "scaling": settings["scaling"],
            "dataCenterIds": settings.get("dataCenterIds", []),
            "networkVolumes": settings.get("networkVolumes", []),
            "timeout": settings.get("timeout", TIMEOUT_MS),
            "flashboot": settings.get("flashboot", "OFF"),
            "createdAt": _now(),
        }
        self.check_endpoint(endpoint)
        self.endpoints[identifier] = endpoint
        self.releases[identifier] = [new_release(1, [])]
        return endpoint

    def update_endpoint(self, identifier: str, body: Any) -> tuple[Document, bool]:
        """Changes the fields that are given; answers the endpoint and whether its containers change. Raises Refused."""
        before = self.endpoint(identifier)
        request = _check(UPDATE_ENDPOINT, body)
        if "cpu" in request:
            raise Refused(400, "cpu cannot be given for a GPU endpoint")
        settings = self._with_template(request, before)
        after = {**before, **{key: settings[key] for key in settings if key not in ("gpu", "workers")}}
        after.pop("templateId", None)
        after["workers"] = {**before["workers"], **settings.get("workers", {})}
        _check_idle_timeout(settings, after["type"], after["scaling"])
        if after["type"] == "QUEUE" and after["scaling"]["type"] == "REQUEST_COUNT":
            after["workers"].pop("idleTimeout", None)
        elif "idleTimeout" not in after["workers"]:
            after["workers"]["idleTimeout"] = WORKERS["idleTimeout"]
        after["gpu"] = _gpu(before["gpu"], settings.get("gpu", {}))
        self.check_endpoint(after)
        self.endpoints[identifier] = after
        changed = [key for key in CONTAINER_FIELDS if before[key] != after[key]]
        if changed:
            releases = self.releases[identifier]
            diff = [
                {"field": f"template.{_TEMPLATE_NAMES.get(key, key)}", "old": before[key], "new": after[key]}
                for key in changed
            ]
            releases.insert(0, new_release(len(releases) + 1, diff))
        return after, bool(changed)

    def endpoint(self, identifier: str) -> Document:
        """One endpoint; raises Refused."""
        return _find(self.endpoints, identifier, "endpoint")

    def delete_endpoint(self, identifier: str) -> None:
        """Removes an endpoint; raises Refused."""
        self.endpoint(identifier)
        del self.endpoints[identifier], self.releases[identifier]

    def _with_template(self, request: Document, endpoint: Mapping[str, Any]) -> Document:
        """The request with its template's container settings beneath it."""
        if not request.get("templateId"):
            return request
        template = self.template(request["templateId"])
        if not template["serverless"]:
            raise Refused(422, "the template is not a serverless template")
        container = {key: template[key] for key in CONTAINER_FIELDS}
        merged = {**container, **request, "env": {**template["env"], **request.get("env", {})}}
        gpu = request.get("gpu")
        versions = template["allowedCudaVersions"]
        if (
            not endpoint
            and gpu is not None
            and versions
            and not {"allowedCudaVersions", "minCudaVersion"} & {*gpu}
        ):
            merged["gpu"] = {**gpu, "allowedCudaVersions": versions}
        return merged

    def check_endpoint(self, endpoint: Document) -> None:
        """Rules between fields, and between an endpoint and its volumes; raises Refused."""
        workers, gpu = endpoint["workers"], endpoint["gpu"]
        if workers["min"] > workers["max"]:
            raise Refused(400, "workers.min must not be above workers.max")
        if gpu["allowedCudaVersions"] and gpu["minCudaVersion"]:
            raise Refused(400, "allowedCudaVersions and minCudaVersion are mutually exclusive")
        for pool in gpu["pools"]:
            if pool not in POOLS:
                raise Refused(400, f"unknown GPU pool {pool}")
        cards = {card for pool in gpu["pools"] for card in POOLS[pool]}
        excluded = set(gpu.get("excludedTypes", []))
        if not excluded <= cards:
            raise Refused(400, f"{min(excluded - cards)} is not a GPU type of the selected pools")
        if excluded == cards:
            raise Refused(400, "the selection leaves no GPU type")
        if endpoint["type"] == "LOAD_BALANCER" and endpoint["scaling"]["type"] != "REQUEST_COUNT":
            raise Refused(400, "a LOAD_BALANCER endpoint scales on REQUEST_COUNT")
        self._check_volumes(endpoint)

    def _check_volumes(self, endpoint: Document) -> None:
        centres = endpoint["dataCenterIds"]
        for identifier in endpoint["networkVolumes"]:
            volume = self.volumes.get(identifier)
            if volume is None:
                raise Refused(400, f"network volume {identifier} not found")
            if centres and volume["dataCenter"] not in centres:
                raise Refused(
                    400, f"network volume {identifier} is in {volume['dataCenter']}, outside dataCenterIds"
                )

    # -- templates and network volumes -----------------------------------------------------------------

    def create_template(self, body: Any) -> Document:
        """Makes a template; raises Refused."""
        request = _check(CREATE_TEMPLATE, body)
        template: Document = {**deepcopy(TEMPLATE_DEFAULTS), **request, "id": _identifier(10)}
        self.templates[template["id"]] = template
        return template

    def template(self, identifier: str) -> Document:
        """One template; raises Refused."""
        return _find(self.templates, identifier, "template")

    def delete_template(self, identifier: str) -> None:
        """Removes a template that no pod was made from; raises Refused."""
        self.template(identifier)
        if any(pod["template"] == identifier for pod in self.pods):
            raise Refused(400, "template is in use by a pod and cannot be deleted")
        del self.templates[identifier]

    def create_volume(self, body: Any) -> Document:
        """Makes a network volume; raises Refused."""
        request = _check(CREATE_NETWORK_VOLUME, body)
        volume = {"type": "STANDARD", **request, "id": _identifier(10)}
        self.volumes[volume["id"]] = volume
        return volume

    def volume(self, identifier: str) -> Document:
        """One network volume; raises Refused."""
        return _find(self.volumes, identifier, "network volume")

    def delete_volume(self, identifier: str) -> None:
        """Removes a network volume, whoever mounts it: the document names no reason to refuse. Raises Refused."""
        self.volume(identifier)
        del self.volumes[identifier]


_TEMPLATE_NAMES = {"image": "imageName", "disk": "containerDiskInGb", "args": "dockerArgs"}


def _check_idle_timeout(request: Document, kind: str, scaling: Document) -> None:
    counts = kind == "QUEUE" and scaling["type"] == "REQUEST_COUNT"
    if counts and "idleTimeout" in request.get("workers", {}):
        raise Refused(
            400, "idleTimeout is not applicable to a queue-based endpoint that scales on requestCount"
        )


def _gpu(before: Document, change: Document) -> Document:
    after = {**before, **change}
    if "pools" in change and "excludedTypes" not in change:
        after.pop("excludedTypes", None)
    if "excludedTypes" in after:
        after["excludedTypes"] = [name.strip() for name in after["excludedTypes"]]
        if not after["excludedTypes"]:
            del after["excludedTypes"]
    after["minCudaVersion"] = after["minCudaVersion"] or None
    return after


def new_release(version: int, diff: list[Document]) -> Document:
    """A release as it is listed, but for its count of workers."""
    release: Document = {"id": f"rel_{_identifier(8)}", "version": version, "source": "MANUAL"}
    return {**release, "buildId": None, "createdByUserId": "user_local", "createdAt": _now(), "diff": diff}


def _find(table: Mapping[str, Document], identifier: str, kind: str) -> Document:
    found = table.get(identifier)
    if found is None:
        raise Refused(404, f"{kind} not found")
    return found


def _identifier(length: int = 14) -> str:
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(length))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
