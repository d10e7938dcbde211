"""Whether a worker has the models of its endpoint: a look at names and sizes, before ComfyUI starts."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from comfy_worker import WorkerError

from .ledger import Ledger, LedgerEntry


class MissingModels(WorkerError):
    """Models of the endpoint are not on the volume; `details` says which, `hint` how they get there."""

    code = "missing_models"


def missing_models(
    models: Sequence[Mapping[str, Any]], volume: Path, endpoint: str | None
) -> MissingModels | None:
    """The error of a worker that cannot run this endpoint's workflow, or None.

    A model has to exist. Where the ledger says that it was verified, it must also be the one that endpoint.json
    pins, with the size it had then. A file that was put there in another way is taken as it is: its hash would
    have to be computed, and that takes minutes.
    """
    if not models:
        return None
    ledger = Ledger(volume)
    found = {_path(model): _problem(model, volume, ledger.entries.get(_path(model))) for model in models}
    problems = {path: problem for path, problem in found.items() if problem is not None}
    if not problems:
        return None
    listed = "; ".join(f"{path} ({problem})" for path, problem in problems.items())
    return MissingModels(
        f"{len(problems)} of {len(models)} models of {endpoint} are not on the volume: {listed}.",
        details=[{"path": path, "problem": problem} for path, problem in problems.items()],
        hint=f"Bring them there with `npx nx run {endpoint}:models` (`:models:cloud` for a Modal account), "
        f"or `cd apps/modal && modal run upload_models.py --endpoint {endpoint}`.",
    )


def _path(model: Mapping[str, Any]) -> str:
    return f"{model['directory']}/{model['filename']}"


def _problem(model: Mapping[str, Any], volume: Path, entry: LedgerEntry | None) -> str | None:
    try:
        found = (volume / _path(model)).stat()
    except OSError:
        return "missing"
    if not stat.S_ISREG(found.st_mode):
        return "not a file"
    if entry is None:
        return None
    if entry.sha256 != model["sha256"]:
        return "another version"
    if found.st_size != model["size"]:
        return f"{found.st_size} bytes instead of {model['size']}"
    return None
