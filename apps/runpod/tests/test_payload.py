"""What a job's input may be."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from comfy_worker import InputFileRejected, WorkerError, WorkflowRejected
from hypothesis import given
from hypothesis import strategies as st
from ryla_runpod.payload import MAXIMUM_FILE_BYTES, parse_payload

WORKFLOW: dict[str, Any] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}
PICTURE = base64.b64encode(b"picture").decode()


def test_a_bare_workflow_gets_the_id_of_runpod() -> None:
    payload = parse_payload(WORKFLOW, "runpod-id")
    assert (payload.job_id, payload.workflow, payload.files) == ("runpod-id", WORKFLOW, ())


def test_the_callers_id_and_files_come_with_the_wrapped_style() -> None:
    images = [
        {"name": "a.png", "image": PICTURE},
        {"name": "b/c.png", "image": f"data:image/png;base64,{PICTURE}"},
    ]
    payload = parse_payload({"workflow": WORKFLOW, "images": images, "jobId": "mine"}, "runpod-id")
    assert payload.job_id == "mine"
    assert [(file.name, file.content) for file in payload.files] == [
        ("a.png", b"picture"),
        ("b/c.png", b"picture"),
    ]


def test_a_node_called_workflow_is_still_a_bare_workflow() -> None:
    payload = parse_payload({"workflow": WORKFLOW}, "id")
    assert set(payload.workflow) == {"1", "2"}


@pytest.mark.parametrize(
    ("value", "node_id", "words"),
    [
        (None, None, "input must be"),
        ({}, None, "input must be"),
        ({"workflow": []}, None, "object of nodes"),
        ({"workflow": {"nodes": [], "links": []}}, None, "ComfyUI's page"),
        ({"workflow": {"7": {"inputs": {}}}}, "7", "class_type"),
        ({"workflow": {"7": {"class_type": "A", "inputs": {"x": ["8", 0]}}}}, "7", "node 8"),
        ({"workflow": WORKFLOW, "jobId": 5}, None, "jobId"),
    ],
)
def test_a_broken_workflow_is_refused_with_the_node(value: Any, node_id: str | None, words: str) -> None:
    with pytest.raises(WorkflowRejected) as caught:
        parse_payload(value, "id")
    assert caught.value.node_id == node_id
    assert words in caught.value.message
    assert caught.value.to_json()["code"] == "invalid_workflow"


@pytest.mark.parametrize(
    "images",
    [
        "x",
        [{"name": "a.png"}],
        [{"name": "a.png", "image": "not base64!"}],
        [{"name": "a.png", "image": "é"}],
        [{"name": "a.png", "image": "A" * (MAXIMUM_FILE_BYTES * 4 // 3 + 8)}],
    ],
)
def test_broken_files_are_refused(images: Any) -> None:
    with pytest.raises(InputFileRejected):
        parse_payload({"workflow": WORKFLOW, "images": images}, "id")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


@given(JSON | st.fixed_dictionaries({"workflow": st.just(WORKFLOW), "images": JSON}))
def test_any_json_is_taken_or_refused_with_a_stable_code(value: Any) -> None:
    try:
        parse_payload(value, "id")
    except WorkerError as error:
        assert error.code in ("invalid_workflow", "invalid_input_file")  # noqa: PT017
