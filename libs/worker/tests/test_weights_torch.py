"""The reader with torch, where torch can be imported: it is no dependency of the workspace, so CI skips this file."""

from __future__ import annotations

import gc
import json
import logging
import struct
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from comfy_worker.weights import comfy_hook, torch_mapped, torch_transfer  # noqa: E402
from comfy_worker.weights.header import WeightsInvalid, WeightsUnsupported  # noqa: E402

NAMES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.bool: "BOOL",
}


def save(path: Path, tensors: dict[str, Any], pad: int = 8) -> Path:
    header: dict[str, Any] = {}
    data = b""
    for name, tensor in tensors.items():
        raw = bytes(tensor.contiguous().reshape(-1).view(torch.uint8).numpy()) if tensor.numel() else b""
        header[name] = {
            "dtype": NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    content = json.dumps(header).encode()
    content += b" " * (-len(content) % pad)
    path.write_bytes(struct.pack("<Q", len(content)) + content + data)
    return path


@pytest.fixture
def model() -> Any:
    module = torch.nn.Sequential(torch.nn.Linear(300, 200), torch.nn.Linear(200, 300)).half()
    return module.requires_grad_(False)


@pytest.fixture
def file(tmp_path: Path, model: Any) -> Path:
    return save(
        tmp_path / "model.safetensors", {name: torch.randn_like(t) for name, t in model.state_dict().items()}
    )


def test_mapped_tensors_are_those_of_the_file(tmp_path: Path) -> None:
    tensors = {
        "b": torch.tensor([[True, False]]),
        "half": torch.randn(3, 5).half(),
        "long": torch.arange(7),
        "none": torch.empty(0, 3),
        "scalar": torch.tensor(2.5),
    }
    ordered = dict(sorted(tensors.items(), key=lambda item: -item[1].element_size()))
    opened, metadata = torch_mapped.open_tensors(str(save(tmp_path / "a.safetensors", ordered)))
    assert metadata is None
    for name, tensor in tensors.items():
        assert torch.equal(opened[name], tensor), name
        assert opened[name].dtype == tensor.dtype


def test_a_tensor_that_torch_could_not_align_is_left_to_others(tmp_path: Path) -> None:
    path = save(tmp_path / "a.safetensors", {"b": torch.tensor([True]), "f": torch.randn(4)})
    with pytest.raises(WeightsUnsupported, match="aligned"):
        torch_mapped.open_tensors(str(path))


def test_a_tensor_knows_its_place_and_so_do_its_slices_and_nothing_else_does(file: Path) -> None:
    opened, _ = torch_mapped.open_tensors(str(file))
    weight = opened["0.weight"]
    place = torch_mapped.place_of(weight)
    assert place is not None
    below = torch_mapped.place_of(weight[10:])
    assert below is not None
    assert below.offset == place.offset + 10 * 300 * 2
    assert torch_mapped.place_of(weight.t()) is None
    assert torch_mapped.place_of(weight.clone()) is None
    assert torch_mapped.place_of(torch.randn(10)) is None


def test_a_mapping_ends_with_its_last_tensor(file: Path) -> None:
    opened, _ = torch_mapped.open_tensors(str(file))
    last = opened["1.weight"]
    del opened
    gc.collect()
    assert torch_mapped.any_mapped()
    assert last.sum().isfinite()
    del last
    gc.collect()
    assert not torch_mapped.any_mapped()


@pytest.mark.parametrize(("threads", "chunk_bytes"), [(1, 7), (4, 1000), (8, 1 << 20)])
def test_a_transfer_fills_every_target(file: Path, threads: int, chunk_bytes: int) -> None:
    opened, _ = torch_mapped.open_tensors(str(file))
    places = {name: torch_mapped.place_of(tensor) for name, tensor in opened.items()}
    targets = {name: torch.full_like(tensor, float("nan")) for name, tensor in opened.items()}
    transfers = [torch_transfer.Transfer(places[name], targets[name]) for name in opened if places[name]]
    torch_transfer.transfer(transfers, threads=threads, chunk_bytes=chunk_bytes)
    for name, tensor in opened.items():
        assert torch.equal(targets[name], tensor)


def test_a_mapping_that_was_written_is_known(file: Path) -> None:
    opened, _ = torch_mapped.open_tensors(str(file))
    place = torch_mapped.place_of(opened["0.weight"])
    assert place is not None
    opened["0.weight"].sum()
    assert torch_mapped.unwritten([place.file]) == {place.file.base}
    opened["0.weight"].data.mul_(2)  # `data` has a version counter of its own, so torch could not tell
    assert torch_mapped.unwritten([place.file]) == set()
    assert torch_mapped.unwritten([place.file], proc="/nonexistent") == set()


class Patcher:
    """ComfyUI's ModelPatcher as far as the hook knows it: what it calls, with the arguments it takes."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.patches: dict[str, Any] = {}

    def load(
        self,
        device_to: Any = None,
        lowvram_model_memory: int = 0,
        force_patch_weights: bool = False,
        full_load: bool = False,
    ) -> None:
        self.model.to(device_to)


def own_loader(ckpt: Any, safe_load: bool = False, device: Any = None, return_metadata: bool = False) -> Any:
    return ("own", str(ckpt))


@pytest.fixture
def comfy(monkeypatch: pytest.MonkeyPatch) -> Any:
    utils, patcher, vision = (
        ModuleType("comfy.utils"),
        ModuleType("comfy.model_patcher"),
        ModuleType("comfy.vision"),
    )
    utils.load_torch_file = own_loader  # pyright: ignore[reportAttributeAccessIssue]
    vision.load_torch_file = own_loader  # pyright: ignore[reportAttributeAccessIssue]
    patcher.ModelPatcher = type("ModelPatcher", (Patcher,), {"load": Patcher.load})  # pyright: ignore[reportAttributeAccessIssue]
    for module in (utils, patcher, vision):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(torch.nn.Module, "load_state_dict", torch.nn.Module.load_state_dict)
    monkeypatch.setattr(comfy_hook, "_told", comfy_hook._Told())
    monkeypatch.setattr(comfy_hook, "SMALLEST", 1000)
    return utils


def expected(file: Path) -> dict[str, Any]:
    opened, _ = torch_mapped.open_tensors(str(file))
    return {name: tensor.clone() for name, tensor in opened.items()}


@pytest.mark.parametrize("inference", [False, True])
def test_a_model_loads_as_ever_but_from_the_file(
    comfy: Any, model: Any, file: Path, caplog: pytest.LogCaptureFixture, inference: bool
) -> None:
    caplog.set_level(logging.INFO)
    assert comfy_hook.install("0.3.64")
    assert sys.modules["comfy.vision"].load_torch_file is comfy.load_torch_file
    want = expected(file)
    with torch.inference_mode(inference):
        state = comfy.load_torch_file(str(file))
        assert model.load_state_dict(state, strict=True).missing_keys == []
        assert torch_mapped.place_of(model[0].weight) is not None
        del state
        sys.modules["comfy.model_patcher"].ModelPatcher(model).load(torch.device("cpu"), full_load=True)
    assert torch_mapped.place_of(model[0].weight) is None
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, want[name]), name
    assert "bytes of model.safetensors to cpu in" in caplog.text
    gc.collect()
    assert not torch_mapped.any_mapped()


def test_a_module_that_imports_when_it_is_asked_is_not_asked(
    comfy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    lazy = ModuleType("lazy")
    lazy.__getattr__ = asked.append  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "lazy", lazy)
    assert comfy_hook.install("0.3.64")
    assert "load_torch_file" not in asked


def test_what_was_changed_in_memory_is_never_read_from_the_file_again(
    comfy: Any, model: Any, file: Path
) -> None:
    comfy_hook.install("0.3.64")
    model.load_state_dict(comfy.load_torch_file(str(file)))
    model[0].weight.data[3, 4] = 7.0
    want = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    sys.modules["comfy.model_patcher"].ModelPatcher(model).load(torch.device("cpu"), full_load=True)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, want[name]), name


def test_another_type_or_shape_is_torchs_business(comfy: Any, model: Any, file: Path) -> None:
    comfy_hook.install("0.3.64")
    want = expected(file)
    model.float().load_state_dict(comfy.load_torch_file(str(file)))
    assert torch.equal(model[0].weight, want["0.weight"].float())
    other = torch.nn.Sequential(torch.nn.Linear(200, 300)).half()
    with pytest.raises(RuntimeError, match="size mismatch"):
        other.load_state_dict(comfy.load_torch_file(str(file)), strict=False)
    assert other[0].weight.shape == (300, 200)


def test_missing_and_unexpected_names_are_reported_as_ever(comfy: Any, model: Any, file: Path) -> None:
    comfy_hook.install("0.3.64")
    state = comfy.load_torch_file(str(file))
    state["extra"] = state.pop("0.bias")
    result = model.load_state_dict(state, strict=False)
    assert (result.missing_keys, result.unexpected_keys) == (["0.bias"], ["extra"])


def test_without_enough_memory_a_model_stays_mapped_and_right(
    comfy: Any, model: Any, file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    comfy_hook.install("0.3.64")
    want = expected(file)
    monkeypatch.setattr(comfy_hook.memory, "fits", lambda _: False)
    model.load_state_dict(comfy.load_torch_file(str(file)))
    sys.modules["comfy.model_patcher"].ModelPatcher(model).load(torch.device("cpu"))
    assert torch_mapped.place_of(model[0].weight) is not None
    assert torch.equal(model[0].weight, want["0.weight"])
    assert "because memory is short" in caplog.text


@pytest.mark.parametrize("name", ["a.ckpt", "a.gguf", "a.pth", "a"])
def test_other_files_are_left_to_comfyui_and_the_log_says_so_once(
    comfy: Any, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    comfy_hook.install("0.3.64")
    for _ in range(2):
        assert comfy.load_torch_file(str(tmp_path / name)) == ("own", str(tmp_path / name))
    assert caplog.text.count("left to ComfyUI's own loader") == 1


def test_a_broken_file_is_an_error_that_names_it(comfy: Any, file: Path) -> None:
    comfy_hook.install("0.3.64")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(WeightsInvalid, match=r"model\.safetensors.*was not copied to its end"):
        comfy.load_torch_file(str(file))


def test_a_comfyui_that_is_not_known_keeps_its_loader(comfy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not comfy_hook.install("9.9.9")
    monkeypatch.setattr(comfy, "load_torch_file", lambda path, other: None)
    assert not comfy_hook.install("0.3.64", force=True)
    monkeypatch.delitem(sys.modules, "comfy.utils")
    assert not comfy_hook.install("0.3.64")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_model_goes_from_the_file_to_the_gpu(comfy: Any, model: Any, file: Path) -> None:
    comfy_hook.install("0.3.64")
    want = expected(file)
    with torch.inference_mode():
        model.load_state_dict(comfy.load_torch_file(str(file)))
        sys.modules["comfy.model_patcher"].ModelPatcher(model).load(torch.device("cuda"), full_load=True)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor.cpu(), want[name]), name
