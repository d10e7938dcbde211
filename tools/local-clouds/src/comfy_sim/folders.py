"""Where ComfyUI keeps its files: inputs, outputs, temporary files, and the model folders."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

MODEL_SUFFIXES = {".ckpt", ".pt", ".pt2", ".bin", ".pth", ".safetensors", ".pkl", ".sft"}
"""Files that ComfyUI lists as models."""

MODEL_FOLDERS: dict[str, list[str]] = {
    "checkpoints": ["checkpoints"],
    "configs": ["configs"],
    "loras": ["loras"],
    "vae": ["vae"],
    "text_encoders": ["text_encoders", "clip"],
    "diffusion_models": ["unet", "diffusion_models"],
    "clip_vision": ["clip_vision"],
    "style_models": ["style_models"],
    "embeddings": ["embeddings"],
    "diffusers": ["diffusers"],
    "vae_approx": ["vae_approx"],
    "controlnet": ["controlnet", "t2i_adapter"],
    "gligen": ["gligen"],
    "upscale_models": ["upscale_models"],
    "custom_nodes": [],
    "hypernetworks": ["hypernetworks"],
    "photomaker": ["photomaker"],
    "classifiers": ["classifiers"],
    "model_patches": ["model_patches"],
    "audio_encoders": ["audio_encoders"],
}
"""Model kinds of ComfyUI 0.3.64 and their folders below `models`, in the order that GET /models lists them."""

LEGACY_NAMES = {"unet": "diffusion_models", "clip": "text_encoders"}

STANDALONE_MODELS: dict[str, list[str]] = {
    "checkpoints": ["random-sd15.safetensors"],
    "diffusion_models": ["flux1-schnell.safetensors"],
    "text_encoders": ["clip_l.safetensors", "t5xxl_fp16.safetensors"],
    "vae": ["ae.safetensors"],
}
"""Models that a comfy-sim without any model folder claims to have, so that it can be tried alone."""

MODEL_INPUTS: dict[str, str] = {
    "ckpt_name": "checkpoints",
    "unet_name": "diffusion_models",
    "clip_name": "text_encoders",
    "clip_name1": "text_encoders",
    "clip_name2": "text_encoders",
    "clip_name3": "text_encoders",
    "clip_name4": "text_encoders",
    "vae_name": "vae",
    "lora_name": "loras",
    "control_net_name": "controlnet",
    "style_model_name": "style_models",
    "gligen_name": "gligen",
    "hypernetwork_name": "hypernetworks",
    "photomaker_model_name": "photomaker",
    "audio_encoder_name": "audio_encoders",
}
"""Input name to model folder, for inputs whose choices are the files of a folder."""

MODEL_INPUTS_BY_CLASS: dict[tuple[str, str], str] = {
    ("CLIPVisionLoader", "clip_name"): "clip_vision",
    ("UpscaleModelLoader", "model_name"): "upscale_models",
    ("ModelPatchLoader", "name"): "model_patches",
}


@dataclass(frozen=True)
class SavePlace:
    """Where a saving node writes, and the number that its next file has."""

    folder: Path
    filename: str
    counter: int
    subfolder: str


@dataclass(frozen=True)
class Folders:
    """The folders of one server. `standalone` lists STANDALONE_MODELS besides what the folders hold."""

    input: Path
    output: Path
    temp: Path
    model_paths: Mapping[str, Sequence[Path]] = field(default_factory=dict[str, Sequence[Path]])
    standalone: bool = False

    def create(self) -> None:
        """Makes the folders that the server writes to."""
        for folder in (self.input, self.output, self.temp):
            folder.mkdir(parents=True, exist_ok=True)

    def of_type(self, kind: str) -> Path | None:
        """The folder of `input`, `output` or `temp`; None for another name."""
        return {"input": self.input, "output": self.output, "temp": self.temp}.get(kind)

    def annotated(self, name: str, default: str) -> Path:
        """Path of a file named as ComfyUI does: `picture.png`, or `picture.png [output]` for another folder."""
        for kind in ("input", "output", "temp"):
            if name.endswith(f"[{kind}]"):
                name, default = name[: -len(kind) - 3], kind
                break
        folder = self.of_type(default)
        if folder is None:
            raise ValueError(f"no folder is called {default}")
        return folder / name

    def input_files(self) -> list[str]:
        """Names of the files that lie directly in the input folder, sorted."""
        return sorted(entry.name for entry in self.input.iterdir() if entry.is_file())

    def models(self, kind: str) -> list[str] | None:
        """Names of the models of a kind, relative to their folder and sorted; None for an unknown kind."""
        kind = LEGACY_NAMES.get(kind, kind)
        if kind not in MODEL_FOLDERS:
            return None
        found: set[str] = set(STANDALONE_MODELS.get(kind, [])) if self.standalone else set()
        for folder in self.model_paths.get(kind, []):
            for directory, _, names in os.walk(folder, followlinks=True):
                found |= {
                    str((Path(directory) / name).relative_to(folder))
                    for name in names
                    if Path(name).suffix.lower() in MODEL_SUFFIXES
                }
        return sorted(found)

    def save_place(self, prefix: str, kind: str, width: int, height: int) -> SavePlace:
        """Where a file with this prefix goes: prefixes may hold a subfolder and ComfyUI's %variables%."""
        root = self.output if kind == "output" else self.temp
        now = time.localtime()
        values = {"width": width, "height": height, "year": now.tm_year}
        values |= {"month": f"{now.tm_mon:02}", "day": f"{now.tm_mday:02}", "hour": f"{now.tm_hour:02}"}
        values |= {"minute": f"{now.tm_min:02}", "second": f"{now.tm_sec:02}"}
        for name, value in values.items():
            prefix = prefix.replace(f"%{name}%", str(value))
        normal = os.path.normpath(prefix)
        subfolder, filename = os.path.split(normal)
        folder = Path(os.path.abspath(root / subfolder))
        if not folder.is_relative_to(root.absolute()):
            raise RuntimeError(
                "**** ERROR: Saving image outside the output folder is not allowed."
                f"\n full_output_folder: {folder}\n         output_dir: {root}"
                f"\n         commonpath: {os.path.commonpath((root, folder))}"
            )
        folder.mkdir(parents=True, exist_ok=True)
        return SavePlace(folder, filename, _next_counter(folder, filename), subfolder)


def _next_counter(folder: Path, filename: str) -> int:
    highest = 0
    for entry in folder.iterdir():
        if entry.name.startswith(f"{filename}_"):
            digits = entry.name[len(filename) + 1 :].split("_")[0]
            highest = max(highest, int(digits)) if digits.isdigit() else highest
    return highest + 1


def model_paths(base: Path | None, extra_files: Sequence[Path]) -> dict[str, list[Path]]:
    """Model folders below `base`/models and in ComfyUI's extra-model-paths YAML files."""
    paths: dict[str, list[Path]] = {kind: [] for kind in MODEL_FOLDERS}
    if base is not None:
        for kind, names in MODEL_FOLDERS.items():
            paths[kind] += [base / "models" / name for name in names]
    for file in extra_files:
        for kind, folders in _extra_paths(file):
            paths.setdefault(LEGACY_NAMES.get(kind, kind), []).extend(folders)
    return paths


def _extra_paths(file: Path) -> list[tuple[str, list[Path]]]:
    document: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    found: list[tuple[str, list[Path]]] = []
    for section in (document or {}).values():
        values: dict[str, Any] = dict(section or {})
        base = Path(os.path.expandvars(os.path.expanduser(str(values.pop("base_path", "") or file.parent))))
        values.pop("is_default", None)
        for kind, lines in values.items():
            names = [line.strip() for line in str(lines or "").splitlines() if line.strip()]
            found.append((kind, [base / name for name in names]))
    return found
