"""One model as endpoint.json pins it, and where it may lie."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .errors import ConflictingModels, InvalidModel

OWN_FOLDER = ".ryla"
"""Folder of the volume that is ours: ledger, lock, unfinished downloads."""

NAME_BYTES = 255
"""Bytes of a file name (Linux's NAME_MAX)."""

_FOLDER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_NAME = re.compile(r"[^/\\\x00-\x1f\x7f]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SECRET = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model: where its bytes come from, where they go, and what they must be."""

    url: str
    """https address pinned to a revision, or the path of a file where the download runs."""
    directory: str
    """Folder below the volume, such as `diffusion_models`."""
    filename: str
    size: int
    """Bytes."""
    sha256: str
    secret: str | None = None
    """Name of the secret that holds the token of a gated file; see `token_variable`."""
    endpoints: tuple[str, ...] = ()
    """Endpoints that want it."""

    @property
    def path(self) -> str:
        """Place below the volume, such as `vae/ae.safetensors`."""
        return f"{self.directory}/{self.filename}"

    @classmethod
    def from_json(cls, document: Mapping[str, Any], endpoint: str | None = None) -> ModelFile:
        """Reads an entry of `models`. Raises InvalidModel, also for a place that leads out of the volume."""
        try:
            model = cls(
                url=_text(document["url"]),
                directory=_text(document["directory"]),
                filename=_text(document["filename"]),
                size=document["size"],
                sha256=_text(document["sha256"]),
                secret=document.get("secret"),
                endpoints=() if endpoint is None else (endpoint,),
            )
        except (KeyError, TypeError) as error:
            raise InvalidModel(f"A model of {endpoint or 'the list'} lacks {error}.") from error
        model._check()
        return model

    def _check(self) -> None:
        where = f"The model {self.directory!r}/{self.filename!r} of {', '.join(self.endpoints) or 'the list'}"
        folders = self.directory.split("/")
        if not all(_FOLDER.fullmatch(folder) and len(folder) <= NAME_BYTES for folder in folders):
            raise InvalidModel(f"{where} has a directory that does not stay below the volume.")
        try:
            length = len(self.filename.encode())
        except UnicodeEncodeError:
            length = NAME_BYTES + 1
        if not _NAME.fullmatch(self.filename) or self.filename.startswith(".") or length > NAME_BYTES:
            raise InvalidModel(f"{where} has a filename that is no plain file name.")
        if not isinstance(self.size, int) or isinstance(self.size, bool) or self.size <= 0:
            raise InvalidModel(f"{where} has a size of {self.size!r} instead of a number of bytes.")
        if not _SHA256.fullmatch(self.sha256):
            raise InvalidModel(f"{where} has a sha256 that is not 64 hexadecimal digits.")
        if self.secret is not None and not (isinstance(self.secret, str) and _SECRET.fullmatch(self.secret)):
            raise InvalidModel(f"{where} names a secret {self.secret!r}; use letters, digits, - and _.")


def token_variable(secret: str) -> str:
    """Variable inside a secret that holds its token: `HF_TOKEN` of the secret `hf`, `MY_HUB_TOKEN` of `my-hub`."""
    return f"{secret.upper().replace('-', '_')}_TOKEN"


def merge(models: Iterable[ModelFile]) -> list[ModelFile]:
    """One entry for each place. Raises ConflictingModels when two endpoints want different bytes there."""
    found: dict[str, ModelFile] = {}
    for model in models:
        other = found.get(model.path)
        if other is None:
            found[model.path] = model
            continue
        if (other.sha256, other.size) != (model.sha256, model.size):
            names = " and ".join(sorted({*other.endpoints, *model.endpoints})) or "two entries"
            raise ConflictingModels(
                f"{model.path} is two different files: {other.sha256[:12]}… and {model.sha256[:12]}… in {names}.",
                hint="Give one of them another filename; the volume is shared by all endpoints.",
            )
        together = tuple(dict.fromkeys((*other.endpoints, *model.endpoints)))
        found[model.path] = replace(other, endpoints=together, secret=other.secret or model.secret)
    return list(found.values())


def read_models(file: Path) -> list[ModelFile]:
    """Models of an endpoint.json, or of a file that holds a list of such entries. Raises InvalidModel."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidModel(f"{file} cannot be read: {error}.") from error
    if isinstance(document, Mapping):
        entries, endpoint = document.get("models", []), str(document.get("name", file.parent.name))
    else:
        entries, endpoint = document, None
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise InvalidModel(f"{file} holds no list of models.")
    return [ModelFile.from_json(_object(entry, file), endpoint) for entry in entries]


def read_endpoints(folder: Path) -> dict[str, list[ModelFile]]:
    """Models of every endpoint below a folder, by the endpoint's name."""
    return {file.parent.name: read_models(file) for file in sorted(folder.glob("*/endpoint.json"))}


def select(endpoints: Mapping[str, list[ModelFile]], endpoint: str | None) -> list[ModelFile]:
    """Models of one endpoint, or of all. Raises InvalidModel for an endpoint that is not there."""
    if not endpoint:
        return merge(model for models in endpoints.values() for model in models)
    if endpoint not in endpoints:
        known = ", ".join(endpoints) or "none"
        raise InvalidModel(f"There is no endpoint {endpoint!r}. There are: {known}.")
    return merge(endpoints[endpoint])


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text in place of {value!r}")
    return value


def _object(value: Any, file: Path) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidModel(f"{file} holds {value!r} where a model should be.")
    return value
