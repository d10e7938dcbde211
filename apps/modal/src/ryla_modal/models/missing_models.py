"""Whether a worker has the models of its endpoint, on Modal's Volume with its ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from comfy_worker.missing_models import MissingModels, find_missing, missing_models_error

from .ledger import Ledger

__all__ = ["MissingModels", "missing_models"]


def missing_models(
    models: Sequence[Mapping[str, Any]], volume: Path, endpoint: str | None
) -> MissingModels | None:
    """The error of a worker that cannot run this endpoint's workflow, or None.

    A model has to exist. Where the ledger says that it was verified, it must also be the one that endpoint.json
    pins, with the size it had then. A file that was put there in another way is taken as it is.
    """
    if not models:
        return None
    verified = {path: entry.sha256 for path, entry in Ledger(volume).entries.items()}
    problems = find_missing(models, volume, verified)
    if not problems:
        return None
    hint = (
        f"Bring them there with `npx nx run {endpoint}:models` (`:models:cloud` for a Modal account), "
        f"or `cd apps/modal && modal run upload_models.py --endpoint {endpoint}`."
    )
    return missing_models_error(problems, len(models), str(endpoint), hint)
