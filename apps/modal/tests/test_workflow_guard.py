"""What the gateway refuses before a GPU is asked for."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ryla_modal.api_error import ApiError
from ryla_modal.core_nodes import CORE_NODE_CLASSES
from ryla_modal.workflow_guard import asset_references, check_workflow, replace_assets, set_prompt

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


def refusal(workflow: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        check_workflow(workflow, CORE_NODE_CLASSES)
    return caught.value


def test_accepts_a_workflow_in_api_format(picture: dict[str, Any]) -> None:
    assert check_workflow(picture, CORE_NODE_CLASSES) is picture


def test_names_the_node_of_an_unknown_class(picture: dict[str, Any]) -> None:
    picture["7"] = {"class_type": "NoSuchNode", "inputs": {}}
    error = refusal(picture)
    assert (error.status, error.code) == (422, "invalid_workflow")
    assert error.details["node_id"] == "7"
    assert error.details["node_errors"]["7"]["errors"][0]["type"] == "unknown_node_class"
    assert "7" in error.message
    assert "NoSuchNode" in error.message


def test_leaves_unknown_classes_to_the_worker_when_the_catalogue_is_not_known() -> None:
    check_workflow({"1": {"class_type": "NoSuchNode", "inputs": {}}}, None)


def test_refuses_the_format_of_the_user_interface() -> None:
    assert refusal({"nodes": [], "links": [], "version": 0.4}).code == "workflow_format_ui"


def test_names_both_ends_of_a_dangling_link(picture: dict[str, Any]) -> None:
    picture["2"]["inputs"]["images"] = ["99", 0]
    error = refusal(picture)
    assert error.details["node_id"] == "2"
    assert "99" in error.message


@pytest.mark.parametrize(
    "workflow",
    [None, [], "text", {}, {"1": None}, {"1": {"class_type": 3}}, {"1": {"class_type": "SaveImage"}}],
)
def test_refuses_what_is_no_workflow(workflow: Any) -> None:
    assert refusal(workflow).code == "invalid_workflow"


def test_refuses_deep_nesting(picture: dict[str, Any]) -> None:
    deep: Any = 1
    for _ in range(900):
        deep = [deep]
    picture["1"]["inputs"]["width"] = deep
    assert "nested" in refusal(picture).message


@given(JSON)
def test_any_json_is_accepted_or_refused_with_a_reason(value: Any) -> None:
    with contextlib.suppress(ApiError):
        assert check_workflow(value, CORE_NODE_CLASSES) is value


@given(JSON)
def test_asset_references_are_found_at_any_depth(value: Any) -> None:
    reference = {"__type": "core/ASSET", "info": {"id": "a"}}
    nested = {"x": [value, {"y": [reference]}]}
    assert list(asset_references(nested)) == [reference]
    assert replace_assets(nested, {"a": "a.png"})["x"][1] == {"y": ["a.png"]}


def test_prompt_replaces_the_positive_text_only() -> None:
    workflow: dict[str, Any] = {
        "1": {"class_type": "CLIPTextEncode", "inputs": {"text": "old"}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "bad"}},
        "3": {"class_type": "FluxGuidance", "inputs": {"conditioning": ["1", 0]}},
        "4": {"class_type": "KSampler", "inputs": {"positive": ["3", 0], "negative": ["2", 0]}},
    }
    changed = set_prompt(workflow, "new")
    assert changed["1"]["inputs"]["text"] == "new"
    assert changed["2"]["inputs"]["text"] == "bad"
    assert workflow["1"]["inputs"]["text"] == "old"


def test_prompt_without_a_place_for_it_is_refused(picture: dict[str, Any]) -> None:
    with pytest.raises(ApiError):
        set_prompt(picture, "new")
