"""The node catalogue of ComfyUI 0.3.64, with choices that depend on the files of this server filled in."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from . import COMFYUI_VERSION
from .folders import MODEL_INPUTS, MODEL_INPUTS_BY_CLASS, Folders

NodeInfo = Mapping[str, Any]

VAE_PIXEL_SPACE = "pixel_space"
"""VAELoader offers it besides the files (ComfyUI 0.3.64)."""


@cache
def recorded() -> dict[str, dict[str, Any]]:
    """What `GET /object_info` of a ComfyUI without any model answered; texts were removed from it."""
    data = resources.files("comfy_sim").joinpath(f"data/object_info.core-{COMFYUI_VERSION}.json")
    return json.loads(data.read_text(encoding="utf-8"))


class Catalogue:
    """Answers what nodes there are and what their inputs accept, here and now."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._nodes = recorded()

    def __contains__(self, class_type: object) -> bool:
        return class_type in self._nodes

    def static(self, class_type: str) -> NodeInfo:
        """A node's entry without choices of files: types, outputs, categories."""
        return self._nodes[class_type]

    def is_output(self, class_type: str) -> bool:
        """Whether the node is one that ends a graph."""
        return bool(self._nodes[class_type].get("output_node"))

    def inputs(self, class_type: str) -> dict[str, dict[str, list[Any]]]:
        """`{"required": {name: [type, options]}, "optional": …}` with the choices of files filled in."""
        info = self._nodes[class_type].get("input", {})
        return {
            category: {
                name: self._filled(class_type, name, spec) for name, spec in info.get(category, {}).items()
            }
            for category in ("required", "optional")
        }

    def entry(self, class_type: str) -> dict[str, Any]:
        """A node's whole entry, as `GET /object_info/<class>` gives it."""
        entry = copy.deepcopy(dict(self._nodes[class_type]))
        for category, inputs in self.inputs(class_type).items():
            if category in entry.get("input", {}):
                order = entry.get("input_order", {}).get(category, list(inputs))
                entry["input"][category] = {name: inputs[name] for name in order}
        return entry

    def everything(self) -> dict[str, Any]:
        """The whole catalogue."""
        return {class_type: self.entry(class_type) for class_type in self._nodes}

    def _filled(self, class_type: str, name: str, spec: list[Any]) -> list[Any]:
        choices = self._choices(class_type, name, spec)
        if choices is None:
            return spec
        if isinstance(spec[0], list):
            return [choices, *spec[1:]]
        return [spec[0], {**spec[1], "options": choices}]

    def _choices(self, class_type: str, name: str, spec: list[Any]) -> list[str] | None:
        kind = MODEL_INPUTS_BY_CLASS.get((class_type, name)) or MODEL_INPUTS.get(name)
        is_combo = isinstance(spec[0], list) or spec[0] == "COMBO"
        if kind is not None and is_combo:
            models = self._folders.models(kind) or []
            return [*models, VAE_PIXEL_SPACE] if class_type == "VAELoader" else models
        options = spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}
        if isinstance(spec[0], list) and options.get("image_upload"):
            return self._folders.input_files()
        return None
