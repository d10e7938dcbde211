"""Puts the parallel reader into a running ComfyUI: its loader maps, and models are filled in bulk.

Three functions are wrapped, none is replaced for good:
- `comfy.utils.load_torch_file` gives mapped tensors for safetensors files, as ComfyUI's own does;
- `torch.nn.Module.load_state_dict` fills parameters on a GPU from the file in parallel, and lets parameters in memory
  lie in the mapping instead of being copied;
- `comfy.model_patcher.ModelPatcher.load` brings such parameters onto the GPU in parallel, and copies those that stay
  into memory.
What was read onto the GPU ahead (gpu_read_ahead.py) is handed over instead of read.
Whatever is not as expected is left to ComfyUI: a tensor that was changed, another type, too little memory.
"""

# torch is ComfyUI's: it is no dependency of the workspace.
# pyright: reportMissingImports=false

from __future__ import annotations

import functools
import inspect
import logging
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from . import memory
from .gpu_start import SMALLEST, GpuStart
from .header import WeightsUnsupported
from .torch_mapped import MappedFile, Place, any_mapped, open_tensors, place_of, unwritten
from .torch_transfer import Transfer, free_device_memory, total_bytes, transfer

LOG_PREFIX = "comfy_worker weights:"
"""Begins every line that the hook writes to ComfyUI's log."""

TESTED_VERSIONS = ("0.3.64",)
"""ComfyUI versions that the hook was run against."""

GPU_MARGIN = 1 << 30
"""Bytes of GPU memory that a bulk load leaves free for what comes after it."""

LOAD_TORCH_FILE = ("ckpt", "safe_load", "device", "return_metadata")
LOAD = ("self", "device_to", "lowvram_model_memory", "force_patch_weights", "full_load")


@dataclass(slots=True)
class _Told:
    """What was said once already."""

    reasons: set[str] = field(default_factory=set[str])

    def once(self, reason: str) -> None:
        if reason not in self.reasons:
            self.reasons.add(reason)
            say(f"left to ComfyUI's own loader: {reason}")


_told = _Told()


def say(message: str) -> None:
    """One line in ComfyUI's log."""
    if logging.getLogger().handlers:
        logging.info("%s %s", LOG_PREFIX, message)
    else:  # logging would set itself up, before ComfyUI does
        print(LOG_PREFIX, message, flush=True)


_gpu = GpuStart(say)


def install(
    comfy_version: str,
    *,
    force: bool = False,
    files: Sequence[str] = (),
    serving: Callable[[], bool] = lambda: True,
) -> bool:
    """Wraps ComfyUI's functions; False, with the reason in the log, when this ComfyUI is not one that we know.

    `force` ignores the version, never the signatures. `files` are read onto the GPU ahead, from the page cache alone
    until ComfyUI is `serving`; `watch_prompts` must follow.
    """
    problem = _unknown(comfy_version, force)
    if problem:
        say(f"off: {problem}")
        _gpu.release("our loader is off")
        return False
    utils, patcher = sys.modules["comfy.utils"], sys.modules["comfy.model_patcher"]
    own_loader = utils.load_torch_file
    ours = _load_torch_file(own_loader, utils)
    for module in list(sys.modules.values()):
        # Not getattr: transformers' lazy modules answer it with 2 s of imports.
        if getattr(module, "__dict__", {}).get("load_torch_file") is own_loader:
            setattr(module, "load_torch_file", ours)  # noqa: B010  (pyright: modules are not typed here)
    patcher.ModelPatcher.load = _load(patcher.ModelPatcher.load)
    torch.nn.Module.load_state_dict = _load_state_dict(torch.nn.Module.load_state_dict)
    say(f"on, for ComfyUI {comfy_version}")
    management, ops = sys.modules.get("comfy.model_management"), sys.modules.get("comfy.ops")
    _gpu.begin(management, getattr(ops, "scaled_dot_product_attention", None), files, serving)
    return True


def begin_early(
    comfy_version: str, *, force: bool, files: Sequence[str], serving: Callable[[], bool]
) -> None:
    """Begins on the GPU before ComfyUI's modules are imported, where its arguments allow; `install` must follow."""
    if force or comfy_version in TESTED_VERSIONS:
        _gpu.begin_early(sys.modules["comfy.cli_args"].args, files, serving)


def _unknown(version: str, force: bool) -> str | None:
    if not force and version not in TESTED_VERSIONS:
        return f"ComfyUI {version} was not tested with it (COMFYUI_WEIGHTS=force tries)"
    utils, patcher = sys.modules.get("comfy.utils"), sys.modules.get("comfy.model_patcher")
    if utils is None or patcher is None:
        return "ComfyUI's modules are not where they were"
    for function, names in ((utils.load_torch_file, LOAD_TORCH_FILE), (patcher.ModelPatcher.load, LOAD)):
        if tuple(inspect.signature(function).parameters) != names:
            return f"{function.__qualname__} takes other arguments"
    return None


def _load_torch_file(own: Callable[..., Any], utils: Any) -> Callable[..., Any]:
    @functools.wraps(own)
    def load_torch_file(
        ckpt: Any, safe_load: bool = False, device: Any = None, return_metadata: bool = False
    ) -> Any:
        reason = _not_ours(str(ckpt), device, utils)
        if reason is None:
            try:
                tensors, metadata = open_tensors(os.fspath(ckpt))
                return (tensors, metadata) if return_metadata else tensors
            except (WeightsUnsupported, OSError) as error:
                reason = str(error)
        _told.once(reason)
        return own(ckpt, safe_load=safe_load, device=device, return_metadata=return_metadata)

    return load_torch_file


def _not_ours(path: str, device: Any, utils: Any) -> str | None:
    if not path.lower().endswith((".safetensors", ".sft")):
        return f"files of type {os.path.splitext(path)[1] or 'without an ending'}"
    if device is not None and torch.device(device).type != "cpu":
        return f"files read straight to {device}"
    if getattr(utils, "DISABLE_MMAP", False):
        return "--disable-mmap"
    return None


def _load_state_dict(own: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(own)
    def load_state_dict(self: Any, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        if assign or not any_mapped():
            return own(self, state_dict, strict=strict, assign=assign)
        return own(self, _filled(self, state_dict), strict=strict)

    return load_state_dict


def _filled(module: torch.nn.Module, state_dict: Any) -> Any:
    """Fills parameters from their files, and gives a state dict in which those stand for themselves.

    Copying a parameter onto itself does nothing, so torch's own code goes on checking names and shapes.
    """
    try:
        found = _found(module, state_dict)
        if not found:
            return state_dict
        done = [*_lay_in_mapping(found), *_fill_on_gpu(found)]
    except Exception as error:
        _told.once(f"a state dict, because of {type(error).__name__}: {error}")
        return state_dict
    result = OrderedDict(state_dict)
    metadata = getattr(state_dict, "_metadata", None)
    if metadata is not None:
        setattr(result, "_metadata", metadata)  # noqa: B010
    result.update({one.name: one.parameter for one in done})
    return result


@dataclass(slots=True)
class _Found:
    name: str
    parameter: torch.nn.Parameter
    tensor: torch.Tensor
    place: Place


def _found(module: torch.nn.Module, state_dict: Any) -> list[_Found]:
    found: list[_Found] = []
    for name, parameter in module.named_parameters(remove_duplicate=False):
        tensor = state_dict.get(name)
        if not isinstance(tensor, torch.Tensor) or type(parameter) is not torch.nn.Parameter:
            continue
        if (
            tensor.dtype != parameter.dtype
            or tensor.shape != parameter.shape
            or not parameter.is_contiguous()
        ):
            continue
        place = place_of(tensor) if tensor.numel() * tensor.element_size() >= SMALLEST else None
        if place is not None:
            found.append(_Found(name, parameter, tensor, place))
    # One that stays in memory becomes the mapped tensor itself, with whatever was written to it.
    clean = _clean(one.place for one in found if one.parameter.device.type == "cuda")
    return [one for one in found if one.parameter.device.type == "cpu" or one.place.file.base in clean]


def _clean(places: Iterable[Place]) -> set[int]:
    files: dict[int, MappedFile] = {place.file.base: place.file for place in places}
    clean = unwritten(files.values()) if files else set[int]()
    if len(clean) < len(files):
        _told.once("tensors of a file that was changed in memory, or where the kernel does not tell")
    return clean


def _lay_in_mapping(found: list[_Found]) -> list[_Found]:
    in_memory = [one for one in found if one.parameter.device.type == "cpu"]
    for one in in_memory:
        one.parameter.data = one.tensor.detach()
    return in_memory


def _fill_on_gpu(found: list[_Found]) -> list[_Found]:
    on_gpu = [one for one in found if one.parameter.device.type == "cuda"]
    rest = _hand_over([(one.parameter, one.place) for one in on_gpu])
    _timed([Transfer(place, parameter) for parameter, place in rest])
    return on_gpu


_Mapped = tuple[torch.nn.Parameter, Place]


def _hand_over(mapped: list[_Mapped]) -> list[_Mapped]:
    """Gives parameters what was read ahead for them; those for which nothing was are left."""
    started = time.monotonic()
    taken = _gpu.take([place for _, place in mapped])
    if not taken:
        return mapped
    for number, content in taken.items():
        parameter = mapped[number][0]
        parameter.data = content.view(parameter.dtype).view(parameter.shape)
    places = [mapped[number][1] for number in taken]
    device = mapped[next(iter(taken))][0].device
    say(
        f"handed over {total_bytes(places)} bytes of {_names(places)}, read ahead to {device}, "
        f"after {time.monotonic() - started:.3f} s"
    )
    return [one for number, one in enumerate(mapped) if number not in taken]


def watch_prompts() -> None:
    """To be called once ComfyUI's module `execution` is there."""
    _gpu.watch_prompts(sys.modules["execution"])


def _load(own: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(own)
    def load(
        self: Any,
        device_to: Any = None,
        lowvram_model_memory: Any = 0,
        force_patch_weights: bool = False,
        full_load: bool = False,
    ) -> Any:
        _gpu.wait()
        if not any_mapped():
            return own(self, device_to, lowvram_model_memory, force_patch_weights, full_load)
        try:
            if device_to is not None and torch.device(device_to).type == "cuda":
                if full_load:
                    _bring(self, torch.device(device_to))
                else:
                    _gpu.release("a model is loaded only in part")
        except Exception as error:
            _told.once(f"a model, because of {type(error).__name__}: {error}")
        result = own(self, device_to, lowvram_model_memory, force_patch_weights, full_load)
        try:
            _into_memory(self.model)
        except Exception as error:
            _told.once(f"a model that stays in memory, because of {type(error).__name__}: {error}")
        return result

    return load


def _mapped_parameters(model: torch.nn.Module) -> list[tuple[str, torch.nn.Parameter, Place]]:
    mapped: list[tuple[str, torch.nn.Parameter, Place]] = []
    for name, parameter in model.named_parameters():
        place = place_of(parameter)
        if place is not None:
            mapped.append((name, parameter, place))
    clean = _clean(place for _, _, place in mapped)
    return [one for one in mapped if one[2].file.base in clean]


def _bring(patcher: Any, device: torch.device) -> None:
    """Onto the GPU, all but what a LoRA changes: ComfyUI keeps the original of that in memory."""
    mapped = [(name, (parameter, place)) for name, parameter, place in _mapped_parameters(patcher.model)]
    _gpu.take([one[1] for name, one in mapped if name in patcher.patches])  # and that is the end of it
    rest = _hand_over([one for name, one in mapped if name not in patcher.patches])
    needed = total_bytes(place for _, place in rest)
    if not needed:
        return
    if needed + GPU_MARGIN > free_device_memory(device):
        _told.once(f"a model of {needed / 1e9:.1f} GB, for which the GPU has too little memory left")
        return
    targets = [torch.empty_like(parameter.data, device=device) for parameter, _ in rest]
    _timed([Transfer(place, target) for (_, place), target in zip(rest, targets, strict=True)])
    for (parameter, _), target in zip(rest, targets, strict=True):
        parameter.data = target


def _into_memory(model: torch.nn.Module) -> None:
    """What stays on the CPU is used again and again: memory of its own, not pages that the system may drop."""
    mapped = _mapped_parameters(model)
    needed = total_bytes(place for _, _, place in mapped)
    if not needed:
        return
    if not memory.fits(needed):
        _told.once(f"{needed / 1e9:.1f} GB stay mapped, because memory is short")
        return
    targets = [torch.empty_like(parameter.data) for _, parameter, _ in mapped]
    _timed([Transfer(place, target) for (_, _, place), target in zip(mapped, targets, strict=True)])
    for (_, parameter, _), target in zip(mapped, targets, strict=True):
        parameter.data = target


def _timed(transfers: list[Transfer]) -> None:
    if not transfers:
        return
    started = time.monotonic()
    nbytes = transfer(transfers)
    seconds = time.monotonic() - started
    device = transfers[0].target.device
    say(f"read {nbytes} bytes of {_names(one.place for one in transfers)} to {device} in {seconds:.3f} s")


def _names(places: Iterable[Place]) -> str:
    return ", ".join(sorted({os.path.basename(place.file.path) for place in places}))
