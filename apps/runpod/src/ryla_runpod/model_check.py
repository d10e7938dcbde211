"""Whether the endpoint's models are on the network volume, and what brings them there."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comfy_worker.missing_models import MissingModels, find_missing, missing_models_error, path_of

MODELS_VARIABLE = "RYLA_MODELS"
"""`models` of endpoint.json as JSON: what the endpoint's workflow loads."""

ENDPOINT_VARIABLE = "RYLA_ENDPOINT"

POD_MODELS = "/workspace/models"
"""Where a pod has what a serverless worker has in /runpod-volume/models."""


class InvalidModels(ValueError):
    """RYLA_MODELS cannot be read; the message says what to mend."""


@dataclass(frozen=True)
class ModelCheck:
    """The models that a worker must have, and where."""

    models: tuple[Mapping[str, Any], ...]
    folder: Path | None
    endpoint: str

    @classmethod
    def from_env(cls, environ: Mapping[str, str], folder: str | None) -> ModelCheck:
        """Reads RYLA_MODELS and RYLA_ENDPOINT. Raises InvalidModels."""
        text = environ.get(MODELS_VARIABLE) or "[]"
        try:
            document: Any = json.loads(text)
        except ValueError as error:
            raise InvalidModels(f"{MODELS_VARIABLE} is no JSON: {error}. {_HOW}") from error
        if not isinstance(document, list) or not all(_is_model(entry) for entry in document):
            raise InvalidModels(
                f"{MODELS_VARIABLE} must be a list of {{directory, filename, size, sha256, url?}}. {_HOW}"
            )
        place = None if folder is None else Path(folder)
        return cls(tuple(document), place, environ.get(ENDPOINT_VARIABLE) or "this endpoint")

    def refusal(self) -> MissingModels | None:
        """Why no job can run, with the command that mends it; None when all is there. Looks anew each time."""
        if not self.models:
            return None
        missing = {path_of(model): "missing" for model in self.models}
        problems = missing if self.folder is None else find_missing(self.models, self.folder)
        if not problems:
            return None
        commands = [_command(model) for model in self.models if path_of(model) in problems]
        hint = f"In a pod with this network volume: {' && '.join(commands)}"
        return missing_models_error(problems, len(self.models), self.endpoint, hint)


_HOW = "Set it to the output of `jq -c .models apps/endpoints/<name>/endpoint.json`."


def _is_model(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    texts = all(
        isinstance(entry.get(name), str) and entry[name] for name in ("directory", "filename", "sha256")
    )
    inside = texts and ".." not in Path(path_of(entry)).parts and not path_of(entry).startswith("/")
    return inside and isinstance(entry.get("size"), int)


def _command(model: Mapping[str, Any]) -> str:
    """Fetches a model and looks at its hash."""
    path = f"{POD_MODELS}/{path_of(model)}"
    source = model.get("url") or "<its address>"
    fetch = f"curl --fail --location --create-dirs --output {shlex.quote(path)} {shlex.quote(str(source))}"
    line = f"{model['sha256']}  {path}"
    return f"{fetch} && echo {shlex.quote(line)} | sha256sum --check"
