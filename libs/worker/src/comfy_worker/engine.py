"""Which ComfyUI to use, from the environment. There is no default: without configuration it is an error."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .errors import EngineNotConfigured
from .weights.cold_start import ColdStartConfig

START_TIMEOUT = 300.0
"""Seconds until a started ComfyUI must answer. A real one takes 10 to 40 s; slow disks more."""

CANCEL_TIMEOUT = 30.0
"""Seconds that an interrupted job has to leave ComfyUI; a node cannot be stopped in its middle."""


HANG_TIMEOUT = 300.0
"""Seconds without any answer after which a started ComfyUI counts as hung. As long as a start may take: it reads
models with Python's lock held, and on a cold network volume that silences it for minutes."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """A ComfyUI: one that is running (`url`), or one to start (`directory`, which holds main.py)."""

    url: str | None = None
    directory: Path | None = None
    python: Path = field(default_factory=lambda: Path(sys.executable))
    models_dir: Path | None = None
    """Folder with checkpoints, diffusion_models, loras, …; None leaves ComfyUI its own."""
    args: tuple[str, ...] = ()
    """More arguments for main.py, such as --cpu."""
    start_timeout: float = START_TIMEOUT
    cancel_timeout: float = CANCEL_TIMEOUT
    """Seconds after which a started ComfyUI that does not let go of a canceled job is killed."""
    hang_timeout: float = HANG_TIMEOUT
    """Seconds without an answer during a job after which a started ComfyUI is replaced."""
    cold_start: ColdStartConfig = field(default_factory=ColdStartConfig)
    """How a started ComfyUI reads its models, and what is read ahead for it."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> EngineConfig:
        """Reads COMFYUI_URL, or COMFYUI_DIR, COMFYUI_PYTHON, COMFYUI_ARGS; and COMFYUI_MODELS_DIR.

        Raises EngineNotConfigured when neither of the first two is set, or COMFYUI_DIR holds no main.py.
        """
        url, directory = env.get("COMFYUI_URL"), env.get("COMFYUI_DIR")
        models = env.get("COMFYUI_MODELS_DIR")
        timeout = _seconds(env, "COMFYUI_START_TIMEOUT", START_TIMEOUT)
        hang_timeout = _seconds(env, "COMFYUI_HANG_TIMEOUT", HANG_TIMEOUT)
        models_dir = Path(models) if models else None
        if url:
            if not url.startswith(("http://", "https://")):
                raise EngineNotConfigured(f"COMFYUI_URL must begin with http:// or https://, not {url!r}.")
            return cls(url=url.rstrip("/"), models_dir=models_dir, start_timeout=timeout)
        if not directory:
            raise EngineNotConfigured(
                "No ComfyUI is configured.",
                hint="Set COMFYUI_DIR to a folder with ComfyUI's main.py (and COMFYUI_PYTHON to its Python), "
                "or COMFYUI_URL to the address of one that is running.",
            )
        if not (Path(directory) / "main.py").is_file():
            raise EngineNotConfigured(
                f"COMFYUI_DIR is {directory}, which holds no main.py.",
                hint="Point COMFYUI_DIR at the folder of a ComfyUI checkout.",
            )
        return cls(
            directory=Path(directory),
            python=Path(env.get("COMFYUI_PYTHON") or sys.executable),
            models_dir=models_dir,
            args=tuple(shlex.split(env.get("COMFYUI_ARGS", ""))),
            start_timeout=timeout,
            hang_timeout=hang_timeout,
            cold_start=_cold_start(env),
        )


def _cold_start(env: Mapping[str, str]) -> ColdStartConfig:
    try:
        return ColdStartConfig.from_env(env)
    except ValueError as error:
        raise EngineNotConfigured(f"{error}.") from error


def _seconds(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name)
    try:
        seconds = float(text) if text else default
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise EngineNotConfigured(f"{name} must be a positive number of seconds, not {text!r}.")
    return seconds
