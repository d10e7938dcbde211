"""What is read ahead becomes a model's parameters, and is given back as soon as ComfyUI could want the memory.

Needs torch, which is no dependency of the workspace: CI skips this file. Without a GPU the memory is the machine's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from comfy_worker.weights import comfy_hook, gpu_read_ahead, torch_mapped  # noqa: E402
from comfy_worker.weights.chunks import Chunk  # noqa: E402
from comfy_worker.weights.gpu_read_ahead import GpuSink, ReadAheadModels  # noqa: E402
from comfy_worker.weights.gpu_start import GpuStart  # noqa: E402
from comfy_worker.weights.staging import Fill, Staging  # noqa: E402
from test_weights_torch import Patcher, save  # noqa: E402

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class MemorySink:
    """The GPU's sink, in memory."""

    def fits(self, nbytes: int, held: int) -> bool:
        return True

    def allocate(self, sizes: Sequence[int]) -> list[Any]:
        with torch.inference_mode():
            return [torch.empty(size, dtype=torch.uint8) for size in sizes]

    def copy(self, chunk: Chunk, fill: Fill, targets: Sequence[Any]) -> bool:
        buffer = bytearray(chunk.nbytes)
        if not fill(memoryview(buffer), chunk.offset):
            return False
        content = torch.frombuffer(buffer, dtype=torch.uint8)
        with torch.inference_mode():
            for piece in chunk.pieces:
                target = targets[piece.target].narrow(0, piece.target_offset, piece.nbytes)
                target.copy_(content.narrow(0, piece.chunk_offset, piece.nbytes))
        return True


class Ahead:
    """One read-ahead that has ended."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.said: list[str] = []
        sink = GpuSink(DEVICE) if DEVICE.type == "cuda" else MemorySink()
        self.staging: Staging[Any] = Staging(
            sink, hurried=lambda: True, say=self.said.append, smallest=1000, threads=3, chunk_bytes=70_000
        )
        self.models = ReadAheadModels(self.staging, DEVICE, self.said.append)
        self.staging.open(str(file) for file in files)
        for thread in self.staging.start():
            thread.join(30)


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Ahead]]:
    begun: list[Ahead] = []

    def begin(*files: Path) -> Ahead:
        one = Ahead(files)
        begun.append(one)
        start = GpuStart(one.said.append)
        monkeypatch.setattr(start, "_models", one.models)
        monkeypatch.setattr(comfy_hook, "_gpu", start)
        monkeypatch.setattr(comfy_hook, "SMALLEST", 1000)
        monkeypatch.setattr(comfy_hook, "say", one.said.append)
        return one

    yield begin
    for one in begun:
        one.staging.release()


@pytest.fixture
def model() -> Any:
    module = torch.nn.Sequential(torch.nn.Linear(300, 200), torch.nn.Linear(200, 300)).half()
    return module.requires_grad_(False)


@pytest.fixture
def file(tmp_path: Path, model: Any) -> Path:
    content = {name: torch.randn_like(tensor) for name, tensor in model.state_dict().items()}
    return save(tmp_path / "models" / "model.safetensors", content)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()


def lay(model: Any, file: Path) -> dict[str, Any]:
    """Puts a model's parameters into the mapped file, as ComfyUI's load does through the hook; the file's content."""
    opened, _ = torch_mapped.open_tensors(str(file))
    want = {name: tensor.clone() for name, tensor in opened.items()}
    state = comfy_hook._filled(model, opened)
    torch.nn.Module.load_state_dict(model, state)
    return want


@pytest.mark.parametrize("inference", [False, True])
def test_a_model_gets_what_was_read_ahead(
    ahead: Callable[..., Ahead], model: Any, file: Path, inference: bool
) -> None:
    one = ahead(file)
    with torch.inference_mode(inference):
        want = lay(model, file)
        comfy_hook._bring(Patcher(model), DEVICE)
        model.to(DEVICE)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor.cpu(), want[name]), name
        assert tensor.device.type == DEVICE.type
    assert torch_mapped.place_of(model[0].weight) is None
    assert one.staging.nbytes == 0
    assert [line for line in one.said if line.startswith("handed over 240000 bytes of model.safetensors")]


def test_what_a_lora_changes_stays_with_comfyui(
    ahead: Callable[..., Ahead], model: Any, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = ahead(file)
    monkeypatch.setattr(comfy_hook, "free_device_memory", lambda _: 0)
    want = lay(model, file)
    patcher = Patcher(model)
    patcher.patches = {"0.weight": "a LoRA"}
    comfy_hook._bring(patcher, DEVICE)
    assert torch_mapped.place_of(model[0].weight) is not None
    assert torch_mapped.place_of(model[1].weight) is None
    assert torch.equal(model[1].weight.cpu(), want["1.weight"])
    assert one.staging.nbytes == 0


def test_what_was_changed_in_memory_is_not_replaced(
    ahead: Callable[..., Ahead], model: Any, file: Path
) -> None:
    one = ahead(file)
    lay(model, file)
    model[0].weight.data[3, 4] = 7.0
    comfy_hook._bring(Patcher(model), DEVICE)
    assert model[0].weight[3, 4] == 7.0
    one.models.release("the end")


def test_a_file_that_changed_after_it_was_read_is_read_again(
    ahead: Callable[..., Ahead], model: Any, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = ahead(file)
    other = {name: torch.randn_like(tensor) for name, tensor in model.state_dict().items()}
    before = file.stat()
    save(file, other)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    monkeypatch.setattr(comfy_hook, "free_device_memory", lambda _: 1 << 40)
    lay(model, file)
    comfy_hook._bring(Patcher(model), DEVICE)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor.cpu(), other[name]), name
    assert one.staging.nbytes == 0


def prompt(*names: str) -> dict[str, Any]:
    return {
        str(number): {"class_type": "Loader", "inputs": {"list": [{"name": name}], "seed": 1}}
        for number, name in enumerate(names)
    }


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("model.safetensors", True),
        ("models/model.safetensors", True),
        ("./models//model.safetensors", True),
        ("del.safetensors", False),
        ("other/model.safetensors", False),
        ("a model.safetensors in a text", False),
    ],
)
def test_a_workflow_keeps_what_it_names(
    ahead: Callable[..., Ahead], file: Path, name: str, kept: bool
) -> None:
    one = ahead(file)
    one.models.keep_named(prompt("x.ckpt", name))
    assert (one.staging.nbytes > 0) == kept


def execution(executed: list[Any]) -> Any:
    class PromptExecutor:
        def execute(self, prompt: Any, prompt_id: str, extra_data: Any = None) -> None:
            executed.append((prompt_id, extra_data))
            if prompt_id == "broken":
                raise RuntimeError("broken")

    return SimpleNamespace(PromptExecutor=PromptExecutor)


@pytest.mark.parametrize("prompt_id", ["1", "broken"])
def test_nothing_is_kept_when_the_workflow_has_ended(
    ahead: Callable[..., Ahead], file: Path, prompt_id: str
) -> None:
    one = ahead(file)
    executed: list[Any] = []
    module = execution(executed)
    one.models.watch_prompts(module)
    for _ in range(2):
        with pytest.raises(RuntimeError) if prompt_id == "broken" else nullcontext():
            module.PromptExecutor().execute(prompt("model.safetensors"), prompt_id, extra_data=3)
    assert executed == [(prompt_id, 3)] * 2
    assert one.staging.nbytes == 0
    assert len([line for line in one.said if "the workflow has ended" in line]) == 1


def management(free: int, asked: list[Any]) -> ModuleType:
    """comfy.model_management's two functions, in a module of that name."""
    module = ModuleType("comfy.model_management")
    setattr(module, "FREE", free)  # noqa: B010
    setattr(module, "asked", asked)  # noqa: B010
    code = (
        "def get_free_memory(dev=None, torch_free_too=False):\n"
        "    return (FREE, 0) if torch_free_too else FREE\n"
        "def free_memory(memory_required, device, keep_loaded=[]):\n"
        "    asked.append(memory_required)\n"
        "    return get_free_memory(device) > memory_required\n"
    )
    exec(code, module.__dict__)
    return module


def test_it_is_given_back_when_comfyui_needs_more_memory_than_is_free(
    ahead: Callable[..., Ahead], file: Path
) -> None:
    one = ahead(file)
    asked: list[Any] = []
    module = management(1000, asked)
    one.models.watch_memory(module)
    assert module.free_memory(900, DEVICE, keep_loaded=[])
    assert one.staging.nbytes > 0
    assert not module.free_memory(1100, DEVICE)
    assert one.staging.nbytes == 0
    assert asked == [900, 1100]
    assert [line for line in one.said if "ComfyUI needs the memory" in line]


def test_it_is_given_back_when_something_that_computes_asks_what_is_free(
    ahead: Callable[..., Ahead], file: Path
) -> None:
    one = ahead(file)
    module = management(1000, [])
    one.models.watch_memory(module)
    assert module.get_free_memory(torch.device("meta")) == 1000
    assert one.staging.nbytes > 0
    assert module.get_free_memory(DEVICE, torch_free_too=True) == (1000, 0)
    assert one.staging.nbytes == 0


def test_half_of_the_free_memory_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_read_ahead, "free_device_memory", lambda _: 100)
    monkeypatch.setattr(gpu_read_ahead, "CudaCopies", lambda *_: None)
    sink = GpuSink(torch.device("cuda"))
    assert sink.fits(50, 0)
    assert not sink.fits(51, 0)
    assert sink.fits(25, 50)  # of 150, if nothing was held
    assert not sink.fits(26, 50)
