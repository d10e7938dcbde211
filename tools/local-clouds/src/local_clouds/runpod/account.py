"""An account that is there from the start: endpoints, templates and network volumes under the ids that RunPod gave them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from .management_resources import (
    CONTAINER_DEFAULTS,
    TEMPLATE_DEFAULTS,
    TIMEOUT_MS,
    Document,
    Resources,
    new_release,
)
from .management_schemas import ENDPOINT, NETWORK_VOLUME, TEMPLATE, Schema, problems

COLLECTIONS: Mapping[str, Schema] = {
    "networkVolumes": NETWORK_VOLUME,
    "templates": TEMPLATE,
    "endpoints": ENDPOINT,
}
IGNORED = ("gpus",)
"""The catalogue is RunPod's, not the account's."""

DEFAULTS: Mapping[str, Document] = {
    "networkVolumes": {"type": "STANDARD"},
    "templates": TEMPLATE_DEFAULTS,
    "endpoints": {
        **CONTAINER_DEFAULTS,
        "type": "QUEUE",
        "dataCenterIds": [],
        "networkVolumes": [],
        "timeout": TIMEOUT_MS,
        "flashboot": "OFF",
        "createdAt": "2026-01-01T00:00:00.000Z",
    },
}
"""What an export may lack: the values that RunPod has for it."""


class InvalidAccount(ValueError):
    """The file is no account; the message lists every problem with its place."""


def read_account(file: Path) -> Document:
    """Reads a file in the form of the API v2: `{"endpoints": […], "templates": […], "networkVolumes": […]}`. Raises InvalidAccount."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidAccount(f"{file} cannot be read: {error}") from error
    if not isinstance(document, dict) or not all(isinstance(items, list) for items in document.values()):
        raise InvalidAccount(f"{file} is no object of lists: {', '.join(COLLECTIONS)}.")
    found = [problem for name in document for problem in _problems(name, document[name])]
    if found:
        raise InvalidAccount(
            f"{file} is no account of the API v2:\n" + "\n".join(f"  {each}" for each in found)
        )
    return document


def fill(resources: Resources, account: Mapping[str, Any]) -> None:
    """Puts what `read_account` gave into an empty account. Raises Refused where an endpoint contradicts the rest."""
    for volume in _complete("networkVolumes", account):
        resources.volumes[volume["id"]] = volume
    for template in _complete("templates", account):
        resources.templates[template["id"]] = template
    for endpoint in _complete("endpoints", account):
        resources.check_endpoint(endpoint)
        resources.endpoints[endpoint["id"]] = {**endpoint, "requestUrls": resources.urls(endpoint["id"])}
        resources.releases[endpoint["id"]] = [new_release(1, [])]


def _complete(name: str, account: Mapping[str, Any]) -> Iterator[Document]:
    for item in account.get(name, []):
        yield {**deepcopy(DEFAULTS[name]), **item}


def _problems(name: str, items: list[Any]) -> Iterator[str]:
    if name in IGNORED:
        return
    if name not in COLLECTIONS:
        yield f"{name}: there is no such list"
        return
    for index, item in enumerate(items):
        whole = {**DEFAULTS[name], **item} if isinstance(item, dict) else item
        for problem in problems(COLLECTIONS[name], whole):
            yield f"{name}/{index}{problem.removeprefix('$')}"
