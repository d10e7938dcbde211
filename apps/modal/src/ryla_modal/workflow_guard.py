"""Refuses workflows that cannot run, before any GPU is asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from .api_error import ApiError
from .limits import JSON_DEPTH, NODES
from .request_body import is_deeper_than
from .request_values import leads_out

LOADED_FILES = ("audio", "file", "image", "latent", "mask", "video")
"""Inputs of the Load… nodes that name a file of ComfyUI's input folder."""

Workflow = dict[str, Any]


def check_workflow(value: Any, known_classes: Collection[str] | None) -> Workflow:
    """A workflow in API format whose links lead to nodes and whose classes are known.

    `known_classes` None means that only a worker can tell. Raises ApiError 422: `workflow_format_ui`, or
    `invalid_workflow` with `details.node_id` and ComfyUI-like `details.node_errors`.
    """
    if not isinstance(value, dict) or not value:
        raise ApiError(
            422, "invalid_workflow", "The workflow must be an object of nodes by id, in API format."
        )
    if isinstance(value.get("nodes"), list):
        raise ApiError(
            422,
            "workflow_format_ui",
            "This is a workflow as ComfyUI's page saves it; export it with Save (API Format).",
        )
    workflow: Workflow = value
    if is_deeper_than(workflow):
        raise ApiError(422, "invalid_workflow", f"The workflow is nested deeper than {JSON_DEPTH} levels.")
    if len(workflow) > NODES:
        raise ApiError(422, "invalid_workflow", f"The workflow has more than {NODES} nodes.")
    for node_id, node in workflow.items():
        _check_node(workflow, node_id, node, known_classes)
    _check_cycles(workflow)
    return workflow


def _check_node(workflow: Workflow, node_id: str, node: Any, known_classes: Collection[str] | None) -> None:
    if not isinstance(node, dict):
        raise node_error(node_id, None, "invalid_node", f"Node {node_id} must be an object.")
    class_type: Any = node.get("class_type")
    if not isinstance(class_type, str) or not class_type:
        raise node_error(node_id, None, "missing_class_type", f"Node {node_id} has no class_type.")
    if not isinstance(node.get("inputs"), dict):
        raise node_error(
            node_id, class_type, "invalid_inputs", f"Node {node_id} ({class_type}) has no inputs object."
        )
    if known_classes is not None and class_type not in known_classes:
        text = f"Node {node_id}: there is no node class {class_type!r} on this deployment."
        raise node_error(node_id, class_type, "unknown_node_class", text)
    inputs: Mapping[str, Any] = node["inputs"]
    for name, value in inputs.items():
        if is_link(value) and (value[0] not in workflow or value[1] < 0):
            end = f"node {value[0]}" if value[1] >= 0 else f"output {value[1]} of node {value[0]}"
            text = f"Node {node_id} ({class_type}), input {name}: linked to {end}, which does not exist."
            raise node_error(node_id, class_type, "dangling_link", text)
        if isinstance(value, str) and _names_file(class_type, name) and leads_out(value):
            text = f"Node {node_id} ({class_type}), input {name}: the file name leads out of its folder."
            raise node_error(node_id, class_type, "unsafe_path", text)


def _names_file(class_type: str, name: str) -> bool:
    """Whether an input is the name of a file, as far as names tell; ComfyUI checks each when it opens it."""
    if name in ("filename_prefix", "subfolder", "filename") or name.endswith("_name"):
        return True
    return class_type.startswith("Load") and name in LOADED_FILES


def _check_cycles(workflow: Workflow) -> None:
    """ComfyUI would run into its recursion limit."""
    done = set[str]()
    for start in workflow:
        if start in done:
            continue
        path = {start: None}
        stack = [(start, _sources(workflow, start))]
        while stack:
            node_id, sources = stack[-1]
            source = next(sources, None)
            if source is None:
                stack.pop()
                path.pop(node_id)
                done.add(node_id)
            elif source in path:
                class_type: str = workflow[source]["class_type"]
                text = f"Node {source} ({class_type}) is linked to itself, directly or through others."
                raise node_error(source, class_type, "cyclic_link", text)
            elif source not in done:
                path[source] = None
                stack.append((source, _sources(workflow, source)))


def _sources(workflow: Workflow, node_id: str) -> Iterator[str]:
    return (value[0] for value in workflow[node_id]["inputs"].values() if is_link(value))


def node_error(node_id: str, class_type: str | None, kind: str, message: str) -> ApiError:
    """422 invalid_workflow that blames one node."""
    entry = {"class_type": class_type, "errors": [{"type": kind, "message": message}]}
    return ApiError(422, "invalid_workflow", message, {"node_id": node_id, "node_errors": {node_id: entry}})


def is_link(value: Any) -> bool:
    """Whether an input value is `[node_id, output_index]`."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int)
    )


def asset_references(value: Any) -> Iterator[dict[str, Any]]:
    """All `{"__type": "core/ASSET", "info": {…}}` in a JSON value."""
    stack = [value]
    while stack:
        current = stack.pop()
        if isinstance(current, dict):
            if current.get("__type") == "core/ASSET":
                yield current
            else:
                stack.extend(current.values())
        elif isinstance(current, list):
            stack.extend(current)


def replace_assets(value: Any, names: Mapping[str, str]) -> Any:
    """A copy of a JSON value in which each asset reference is the name of its staged file."""
    if isinstance(value, dict):
        if value.get("__type") == "core/ASSET":
            return names[value["info"]["id"]]
        return {key: replace_assets(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [replace_assets(item, names) for item in value]
    return value


def set_prompt(workflow: Workflow, prompt: str) -> Workflow:
    """A copy in which the text that leads to a sampler's `positive` input is `prompt`.

    Raises ApiError 422 when no such text is found.
    """
    changed = {node_id: {**node, "inputs": dict(node["inputs"])} for node_id, node in workflow.items()}
    starts = [
        node["inputs"]["positive"] for node in workflow.values() if is_link(node["inputs"].get("positive"))
    ]
    starts += [
        node["inputs"]["conditioning"]
        for node in workflow.values()
        if node["class_type"] == "BasicGuider" and is_link(node["inputs"].get("conditioning"))
    ]
    found, seen = False, set[str]()
    stack = [link[0] for link in starts]
    while stack:
        node_id = stack.pop()
        if node_id in seen or node_id not in changed:
            continue
        seen.add(node_id)
        inputs = changed[node_id]["inputs"]
        texts = [
            name
            for name in ("text", "prompt", "clip_l", "t5xxl", "text_g", "text_l")
            if isinstance(inputs.get(name), str)
        ]
        for name in texts:
            inputs[name] = prompt
            found = True
        if not texts:
            stack += [value[0] for value in inputs.values() if is_link(value)]
    if not found:
        raise ApiError(
            422, "invalid_workflow", "The workflow has no prompt text before a sampler's positive input."
        )
    return changed
