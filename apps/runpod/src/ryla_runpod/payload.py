"""What arrives as a job's `input`: a bare workflow, or `{workflow, images, jobId}`."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from comfy_worker import InputFile, InputFileRejected, WorkflowRejected
from comfy_worker.remote_input import RemoteInput

MAXIMUM_FILE_BYTES = 20 * 1024 * 1024
"""Largest input file; RunPod's largest request is 20 MB."""


@dataclass(frozen=True)
class Payload:
    """A checked input."""

    job_id: str
    workflow: Mapping[str, Any]
    files: tuple[InputFile, ...]
    remote: tuple[RemoteInput, ...] = ()
    """Files that are given by their address, to be fetched before the job runs."""
    api_key_comfy_org: str | None = None


def parse_payload(value: Any, runpod_id: str) -> Payload:
    """Reads either style. Raises WorkflowRejected or InputFileRejected."""
    if not isinstance(value, dict) or not value:
        raise WorkflowRejected(
            "The job's input must be a workflow, or an object with `workflow`.", job_id=runpod_id
        )
    wrapped = "workflow" in value and "class_type" not in value
    job_id = value.get("jobId") if wrapped else None
    if job_id is not None and not isinstance(job_id, str):
        raise WorkflowRejected("`jobId` must be a text.", job_id=runpod_id)
    identity = job_id or runpod_id
    workflow = check_workflow(value["workflow"] if wrapped else value, identity)
    images: Any = value.get("images") or [] if wrapped else []
    if not isinstance(images, list):
        raise InputFileRejected("`images` must be a list of {name, image or url}.", job_id=identity)
    given = [_file(entry, identity) for entry in images]
    files = tuple(file for file in given if isinstance(file, InputFile))
    remote = tuple(file for file in given if isinstance(file, RemoteInput))
    key = value.get("comfy_org_api_key") if wrapped else None
    return Payload(identity, workflow, files, remote, key if isinstance(key, str) else None)


def check_workflow(value: Any, job_id: str) -> Mapping[str, Any]:
    """A workflow in API format whose links lead to nodes. Raises WorkflowRejected with the node's id."""
    if not isinstance(value, dict) or not value:
        raise WorkflowRejected("The workflow must be an object of nodes by id, in API format.", job_id=job_id)
    if isinstance(value.get("nodes"), list):
        raise WorkflowRejected(
            "This is a workflow as ComfyUI's page saves it.",
            job_id=job_id,
            hint="Export it with Save (API Format).",
        )
    for node_id, node in value.items():
        class_type = node.get("class_type") if isinstance(node, dict) else None
        inputs = node.get("inputs") if isinstance(node, dict) else None
        if not isinstance(class_type, str) or not isinstance(inputs, dict):
            text = f"Node {node_id} must have a class_type and inputs."
            raise WorkflowRejected(text, job_id=job_id, node_id=str(node_id))
        for name, link in inputs.items():
            is_link = (
                isinstance(link, list)
                and len(link) == 2
                and isinstance(link[0], str)
                and isinstance(link[1], int)
            )
            if is_link and link[0] not in value:
                text = f"Node {node_id} ({class_type}), input {name}: linked to node {link[0]}, which does not exist."
                raise WorkflowRejected(text, job_id=job_id, node_id=str(node_id), class_type=class_type)
    return value


def _file(entry: Any, job_id: str) -> InputFile | RemoteInput:
    fields: Mapping[str, Any] = entry if isinstance(entry, dict) else {}
    name, image = fields.get("name"), fields.get("image", fields.get("url"))
    if not isinstance(name, str) or not isinstance(image, str):
        raise InputFileRejected("Each of `images` must have `name` and `image` or `url`.", job_id=job_id)
    if "url" in fields or image.startswith(("http://", "https://")):
        return RemoteInput(name, image)
    data = image.partition(",")[2] if image.startswith("data:") else image
    if len(data) > MAXIMUM_FILE_BYTES * 4 / 3:
        raise InputFileRejected(
            f"The file {name!r} is larger than {MAXIMUM_FILE_BYTES} bytes.", job_id=job_id
        )
    try:
        content = base64.b64decode(data, validate=True)
    except ValueError as error:
        raise InputFileRejected(f"The file {name!r} is not valid base64: {error}.", job_id=job_id) from error
    return InputFile(name, content)
