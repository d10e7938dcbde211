"""Models of the endpoints to the Volume `ryla-models`: `modal run upload_models.py [--endpoint NAME]`.

The download runs in a container beside the Volume; only files named by --local leave this machine. Importing this
file needs no network and no credentials.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import modal
from ryla_modal.models import (
    INCOMING_FOLDER,
    ModelFile,
    ModelStore,
    merge,
    read_endpoints,
    read_models,
    select,
    token_variable,
)
from ryla_modal.models.report import ask_to_remove, print_findings, print_upload

HERE = Path(__file__).resolve().parent
ENDPOINTS = (HERE.parents[1] if len(HERE.parents) > 1 else HERE) / "apps/endpoints"
MOUNT = "/root/models"
HOURS = 3600

app = modal.App("ryla-upload-models")
volume = modal.Volume.from_name("ryla-models", create_if_missing=True, version=2)
image = (
    modal.Image.debian_slim(python_version="3.11")
    .uv_pip_install("yarl>=1.20,<2", uv_version="0.13.9")
    .add_local_python_source("ryla_modal")
)


# A container that is lost begins again where its predecessor stopped: what is verified, and every byte of the rest.
@app.cls(
    image=image, volumes={MOUNT: volume}, cpu=4, memory=4096, timeout=12 * HOURS, retries=2, max_containers=1
)
class Models:
    """The Volume, from a container that it is mounted in."""

    def _store(self, models: Sequence[ModelFile]) -> ModelStore:
        secrets = {model.secret for model in models if model.secret is not None}
        tokens = {secret: os.environ[token_variable(secret)] for secret in secrets}
        return ModelStore(Path(MOUNT), tokens=tokens, commit=volume.commit.aio, say=_say)

    @modal.method()
    async def upload(self, models: list[dict[str, Any]]) -> dict[str, Any]:
        """Brings models to the Volume."""
        wanted = _models(models)
        return (await self._store(wanted).upload(wanted)).to_json()

    @modal.method()
    async def check(
        self, models: list[dict[str, Any]], wanted: list[dict[str, Any]], rehash: bool
    ) -> dict[str, Any]:
        """Compares the Volume with models."""
        findings = await self._store([]).check(_models(models), _models(wanted), rehash=rehash)
        return findings.to_json()

    @modal.method()
    async def prune(self, paths: list[str], wanted: list[dict[str, Any]]) -> list[str]:
        """Removes files that no endpoint wants."""
        return await self._store([]).prune(paths, _models(wanted))


@app.local_entrypoint()
def main(
    endpoint: str = "",
    manifest: str = "",
    local: str = "",
    check: bool = False,
    rehash: bool = False,
    prune: bool = False,
    yes: bool = False,
) -> None:
    """Models of one endpoint, or of all; exit code 1 when they are not all there in the end."""
    endpoints = read_endpoints(ENDPOINTS)
    listed = merge(read_models(Path(manifest))) if manifest else []
    models = listed or select(endpoints, endpoint or os.environ.get("RYLA_ENDPOINT"))
    wanted = _json([*listed, *select(endpoints, None)])
    # With one `with_options` the class is another one on Modal: only where a secret asks for it.
    remote = Models() if check or prune else _with_secrets(models)()
    if check or prune:
        findings: dict[str, Any] = remote.check.remote(_json(models), wanted, rehash)
        code = print_findings(findings)
        extra = ask_to_remove(findings, yes=yes) if prune else []
        if extra:
            print(f"Removed {len(remote.prune.remote(extra, wanted))} files.")
    else:
        if local:
            _put_up(Path(local), models)
        code = print_upload(remote.upload.remote(_json(models)))
    if code:
        raise SystemExit(code)


def _with_secrets(models: Sequence[ModelFile]) -> Any:
    names = sorted({model.secret for model in models if model.secret is not None})
    if not names:
        return Models
    secrets = [modal.Secret.from_name(name, required_keys=[token_variable(name)]) for name in names]
    return Models.with_options(secrets=secrets)  # pyright: ignore


def _put_up(folder: Path, models: Sequence[ModelFile]) -> None:
    """Sends files of this machine, found by directory and name or by name alone; the container verifies them."""
    with volume.batch_upload(force=True) as batch:
        for model in models:
            for file in (folder / model.path, folder / model.filename):
                if file.is_file() and file.stat().st_size == model.size:
                    print(f"sending {file}")
                    batch.put_file(file, f"/{INCOMING_FOLDER}/{model.sha256}")
                    break


def _models(documents: list[dict[str, Any]]) -> list[ModelFile]:
    return merge(ModelFile.from_json(document) for document in documents)


def _json(models: Sequence[ModelFile]) -> list[dict[str, Any]]:
    return [asdict(model) for model in merge(models)]


def _say(text: str) -> None:
    print(text, flush=True)
