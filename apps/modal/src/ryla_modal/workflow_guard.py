"""Refuses workflows that cannot run, before any GPU is asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from .api_error import ApiError

MAXIMUM_NODES = 20_000
MAXIMUM_DEPTH = 64
"""Levels of lists and objects; widgets nest a handful."""

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
    if _is_deeper_than(workflow, MAXIMUM_DEPTH):
        raise ApiError(422, "invalid_workflow", f"The workflow is nested deeper than {MAXIMUM_DEPTH} levels.")
    if len(workflow) > MAXIMUM_NODES:
        raise ApiError(422, "invalid_workflow", f"The workflow has more than {MAXIMUM_NODES} nodes.")
    for node_id, node in workflow.items():
        _check_node(workflow, node_id, node, known_classes)
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
        if is_link(value) and value[0] not in workflow:
            text = f"Node {node_id} ({class_type}), input {name}: linked to node {value[0]}, which does not exist."
            raise node_error(node_id, class_type, "dangling_link", text)


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


def _is_deeper_than(value: Any, levels: int) -> bool:
    level = [value]
    for _ in range(levels):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


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
