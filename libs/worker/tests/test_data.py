"""Names, kinds, progress, events and configuration: what needs no engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from comfy_worker import (
    EngineConfig,
    EngineNotConfigured,
    InputFileRejected,
    LogLine,
    OutOfMemory,
    Output,
    OutputMissing,
    Preview,
    Progress,
    ResultKept,
    WorkerError,
)
from comfy_worker.__main__ import main
from comfy_worker.client import split_input_name
from comfy_worker.event_queue import EventQueue
from comfy_worker.node_failure import node_failure
from comfy_worker.outputs import outputs_of
from comfy_worker.process import extra_model_paths
from comfy_worker.progress import ProgressTracker
from hypothesis import given
from hypothesis import strategies as st


async def nothing(_: Output) -> AsyncIterator[bytes]:
    return
    yield b""


@pytest.mark.parametrize(
    ("key", "filename", "kind", "content_type"),
    [
        ("images", "a.png", "image", "image/png"),
        ("gifs", "a.mp4", "video", "video/mp4"),
        ("gifs", "a.unknown", "video", "application/octet-stream"),
        ("audio", "a.flac", "audio", None),
        ("3d", "a.glb", "file", "model/gltf-binary"),
        ("latents", "a.latent", "latent", "application/octet-stream"),
        ("images", "a.webp", "image", "image/webp"),
    ],
)
def test_kind_by_name_then_by_key(key: str, filename: str, kind: str, content_type: str | None) -> None:
    (output,) = outputs_of("1", {key: [{"filename": filename, "subfolder": "s", "type": "output"}]}, nothing)
    assert (output.kind, output.subfolder) == (kind, "s")
    assert content_type is None or output.content_type == content_type


@pytest.mark.parametrize(
    ("filename", "subfolder", "folder"),
    [
        ("../a.png", "", "output"),
        ("a.png", "../x", "output"),
        ("a.png", "/etc", "output"),
        ("a.png", "..\\x", "output"),
        ("/etc/passwd", "", "output"),
        ("..", "", "output"),
        ("", "", "output"),
        ("a\0.png", "", "output"),
        ("a.png", "", "user"),
    ],
)
def test_outputs_outside_comfyuis_folders_are_refused(filename: str, subfolder: str, folder: str) -> None:
    ui = {"images": [{"filename": filename, "subfolder": subfolder, "type": folder}]}
    with pytest.raises(OutputMissing):
        list(outputs_of("1", ui, nothing))


@pytest.mark.parametrize("name", ["../a", "/a", "a/../b", "a//b", "", ".", "a/.", "\\a", "..\\a", "a\0"])
def test_input_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(InputFileRejected):
        split_input_name(name)


@given(st.text())
def test_accepted_input_names_stay_below_the_input_folder(name: str) -> None:
    try:
        folder, file = split_input_name(name)
    except InputFileRejected:
        return
    root = Path("/input")
    assert (root / folder / file).resolve().is_relative_to(root)
    assert file


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("torch.OutOfMemoryError", "x"),
        ("RuntimeError", "CUDA out of memory. Tried to allocate 2 GiB"),
        ("RuntimeError", "Allocation on device 0 would exceed allowed memory"),
    ],
)
def test_out_of_memory_by_type_or_message(kind: str, message: str) -> None:
    data = {"exception_type": kind, "exception_message": message, "node_id": "3", "node_type": "KSampler"}
    error = node_failure("j", data)
    assert isinstance(error, OutOfMemory)
    assert error.to_json()["nodeId"] == "3"


def test_every_error_has_a_code_of_its_own() -> None:
    found, stack = list[type[WorkerError]](), [WorkerError]
    while stack:
        kind = stack.pop()
        found.append(kind)
        stack += kind.__subclasses__()
    found.remove(ResultKept)  # to a caller it is a job that was claimed; only a worker tells it apart
    assert len({kind.code for kind in found}) == len(found) >= 12


@given(st.lists(st.tuples(st.sampled_from("abcx"), st.integers(0, 3)), max_size=40))
def test_progress_never_falls_and_stays_in_range(steps: list[tuple[str, int]]) -> None:
    workflow = {
        "a": {"class_type": "A", "inputs": {}},
        "b": {"class_type": "B", "inputs": {"x": ["a", 0]}},
        "c": {"class_type": "C", "inputs": {"x": ["b", 0]}},
    }
    tracker, last = ProgressTracker(workflow), 0.0
    for node, action in steps:
        match action:
            case 0:
                tracker.executing(node)
            case 1:
                tracker.step(node, 1, 4)
            case 2:
                tracker.finished(node)
            case _:
                tracker.cached([node])
        progress = tracker.snapshot()
        assert last <= progress.value <= 1
        assert progress.nodes_done <= progress.nodes_total
        last = progress.value
    tracker.all_done()
    assert tracker.snapshot().value == 1


def test_progress_tells_node_class_and_steps() -> None:
    tracker = ProgressTracker({"3": {"class_type": "KSampler", "inputs": {}}})
    tracker.executing("3")
    tracker.step("3", 5, 20)
    snapshot = tracker.snapshot()
    assert snapshot.to_json() == {
        "value": 0.25,
        "nodes_done": 0,
        "nodes_total": 1,
        "current_node": "3",
        "current_node_class": "KSampler",
        "step": 5,
        "steps": 20,
        "message": "KSampler 5/20",
    }


async def test_unread_snapshots_are_replaced_and_the_rest_kept() -> None:
    queue = EventQueue()
    for number in range(1000):
        queue.put(Progress(number / 1000, number, 1000))
        queue.put(Preview("1", "image/jpeg", b"x"))
    queue.put(LogLine("info", "here"))
    queue.put(Progress(1, 1000, 1000))
    assert len(queue) == 4
    queue.close()
    kinds = [type(event) for event in [await queue.get() for _ in range(5)]]
    assert kinds == [Progress, Preview, LogLine, Progress, type(None)]


async def test_listener_of_an_empty_queue_wakes_up() -> None:
    queue = EventQueue()
    listener = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.put(LogLine("info", "now"))
    assert await listener == LogLine("info", "now")


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"COMFYUI_DIR": "/nowhere"},
        {"COMFYUI_URL": "localhost:8188"},
        {"COMFYUI_URL": "http://h", "COMFYUI_START_TIMEOUT": "soon"},
        {"COMFYUI_URL": "http://h", "COMFYUI_START_TIMEOUT": "-1"},
    ],
)
def test_there_is_no_default_engine(env: dict[str, str]) -> None:
    with pytest.raises(EngineNotConfigured) as caught:
        EngineConfig.from_env(env)
    assert caught.value.code == "engine_not_configured"


def test_configuration_is_read_from_the_environment(tmp_path: Path) -> None:
    (tmp_path / "main.py").touch()
    config = EngineConfig.from_env(
        {
            "COMFYUI_DIR": str(tmp_path),
            "COMFYUI_PYTHON": "/opt/python",
            "COMFYUI_ARGS": "--cpu --preview-method 'latent2rgb'",
            "COMFYUI_MODELS_DIR": "/root/models",
        }
    )
    assert config.args == ("--cpu", "--preview-method", "latent2rgb")
    assert (config.python, config.models_dir) == (Path("/opt/python"), Path("/root/models"))


def test_model_paths_hold_old_and_new_folder_names() -> None:
    text = extra_model_paths(Path('/models: "a" #b'))
    assert 'base_path: "/models: \\"a\\" #b"' in text
    for name in ("diffusion_models", "unet", "text_encoders", "clip", "checkpoints", "loras", "vae"):
        assert f"    {name}\n" in text


@pytest.mark.parametrize("content", ["{", "[]", '{"nodes": []}'])
def test_command_line_explains_a_wrong_workflow_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    file = tmp_path / "w.json"
    file.write_text(content)
    monkeypatch.setattr("sys.argv", ["comfy_worker", "run", str(file)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert str(file) in capsys.readouterr().err
