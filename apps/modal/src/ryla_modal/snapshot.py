"""What a memory snapshot holds, and the worker that goes on from it; see docs/cold-start.md."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from comfy_worker import EngineConfig, EngineUnavailable, Worker

from .settings import Snapshot


def worker_of(
    environ: Mapping[str, str], models: Sequence[Mapping[str, Any]], log: Callable[[str], None] = print
) -> Worker:
    """The worker of a container, not started. The endpoint's models are read ahead, unless COMFYUI_READ_AHEAD says
    what is. Raises EngineNotConfigured."""
    config = EngineConfig.from_env(environ)
    folder = config.models_dir
    if folder is not None and "COMFYUI_READ_AHEAD" not in environ:
        files = tuple(Path(folder, model["directory"], model["filename"]) for model in models)
        config = dataclasses.replace(
            config, cold_start=dataclasses.replace(config.cold_start, read_ahead=files)
        )
    return Worker(config, on_log=log)


async def before_snapshot(worker: Worker, snapshot: Snapshot, log: Callable[[str], None]) -> None:
    """Brings into memory what the snapshot is to hold. Never raises for it: a start without is only slower.

    `cpu`: everything that ComfyUI imports, with no look at a GPU, which is not there yet. `gpu` (alpha on Modal): a
    ComfyUI that runs. `none`: nothing.
    """
    try:
        if snapshot == "gpu":
            await worker.start()
            log("Snapshot: ComfyUI runs.")
        elif snapshot == "cpu":
            await worker.prepare()
            if worker.process.prepared:
                log(
                    f"Snapshot: ComfyUI's imports are done, {json.dumps(worker.process.cold_start.held_facts)}."
                )
            else:
                log("Snapshot: nothing was prepared, because this ComfyUI is none that could be.")
    except EngineUnavailable as error:
        await worker.stop()
        log(f"Snapshot: it holds no ComfyUI. {error.message}")
