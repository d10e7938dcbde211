"""Whether a worker has the models of its endpoint: a look at names and sizes, before ComfyUI starts."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import WorkerError


class MissingModels(WorkerError):
    """Models of the endpoint are not there; `details` says which, `hint` how they get there."""

    code = "missing_models"


def find_missing(
    models: Sequence[Mapping[str, Any]], folder: Path, verified: Mapping[str, str] | None = None
) -> dict[str, str]:
    """What is wrong with which model, by its path below `folder`; empty when nothing is.

    `models` are entries of endpoint.json: directory, filename, size in bytes, sha256. Where `verified` is given it
    holds the hashes that were found right, by path: such a file must be the one that is pinned, and one that came
    another way is taken as it is. Without it every file must have the size that is pinned. Hashes are not computed:
    that takes minutes.
    """
    found = {path_of(model): _problem(model, folder, verified) for model in models}
    return {path: problem for path, problem in found.items() if problem is not None}


def path_of(model: Mapping[str, Any]) -> str:
    """Where a model lies, below the models' folder."""
    return f"{model['directory']}/{model['filename']}"


def missing_models_error(problems: Mapping[str, str], total: int, endpoint: str, hint: str) -> MissingModels:
    """The error that tells a job's caller which models are missing and what brings them."""
    listed = "; ".join(f"{path} ({problem})" for path, problem in problems.items())
    return MissingModels(
        f"{len(problems)} of {total} models of {endpoint} are not on the volume: {listed}.",
        details=[{"path": path, "problem": problem} for path, problem in problems.items()],
        hint=hint,
    )


def _problem(model: Mapping[str, Any], folder: Path, verified: Mapping[str, str] | None) -> str | None:
    path = path_of(model)
    try:
        found = (folder / path).stat()
    except OSError:
        return "missing"
    if not stat.S_ISREG(found.st_mode):
        return "not a file"
    if verified is not None and path not in verified:
        return None
    if verified is not None and verified[path] != model["sha256"]:
        return "another version"
    if found.st_size != model["size"]:
        return f"{found.st_size} bytes instead of {model['size']}"
    return None
