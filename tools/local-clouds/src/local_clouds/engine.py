"""Which ComfyUI the local clouds' workers use: the user's own, or comfy-sim. The only place that names comfy-sim."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

ENGINE_VARIABLES = ("COMFYUI_URL", "COMFYUI_DIR", "COMFYUI_PYTHON", "COMFYUI_ARGS", "COMFYUI_START_TIMEOUT")
"""What a worker reads (comfy_worker.EngineConfig)."""


def engine_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The engine that the user's environment names, or else comfy-sim in this interpreter."""
    simulation = {name: value for name, value in environ.items() if name.startswith("COMFY_SIM_")}
    given = {name: environ[name] for name in ENGINE_VARIABLES if environ.get(name)}
    if "COMFYUI_URL" in given or "COMFYUI_DIR" in given:
        return given
    spec = find_spec("comfy_sim")
    if spec is None or spec.origin is None:
        raise RuntimeError("comfy_sim is not installed beside local_clouds")
    folder = Path(spec.origin).parent / "engine"
    return {"COMFYUI_DIR": str(folder), "COMFYUI_PYTHON": sys.executable, **simulation}
