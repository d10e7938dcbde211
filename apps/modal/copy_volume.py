"""A RunPod network volume to the Volume `ryla-models`: `modal run copy_volume.py --data-center EU-RO-1 --volume-id ID --plan`.

The copy runs in a container beside the Volume, so no byte passes this machine; it only reads the source. The S3 API
keys are in the Modal secret `ryla-runpod-s3`. Importing this file needs no network and no credentials.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from json import dumps as dumped
from pathlib import Path
from typing import Any

import modal
from ryla_modal.models import ModelError, ModelFile, read_endpoints, select
from ryla_modal.volume_copy import SECRET, CopyOptions, Keys, VolumeCopy
from ryla_modal.volume_copy.address import ACCESS_KEY, RUNPOD_URL, SECRET_KEY
from ryla_modal.volume_copy.report import Price, print_check, print_copy, print_plan

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1] if len(HERE.parents) > 1 else HERE
ENDPOINTS = REPOSITORY / "apps/endpoints"
PRICES = REPOSITORY / "libs/business/src/prices/modal.json"
MOUNT = "/root/models"
HOURS = 3600
CORES = 4
MEMORY_MIB = 4096

app = modal.App("ryla-copy-volume")
volume = modal.Volume.from_name("ryla-models", create_if_missing=True, version=2)
keys = modal.Secret.from_name(SECRET, required_keys=[ACCESS_KEY, SECRET_KEY])
image = (
    modal.Image.debian_slim(python_version="3.11")
    .uv_pip_install("botocore==1.44.5", "yarl>=1.20,<2", uv_version="0.13.9")
    .add_local_python_source("ryla_modal")
)


# 24 hours is the longest that a function may run; a container that is lost begins again where its predecessor stopped.
@app.function(
    image=image,
    volumes={MOUNT: volume},
    secrets=[keys],
    cpu=CORES,
    memory=MEMORY_MIB,
    timeout=24 * HOURS,
    retries=2,
    max_containers=1,
)
async def copy_volume(
    mode: str, options: dict[str, Any], models: list[dict[str, Any]], rehash: bool, quiet: bool
) -> dict[str, Any]:
    """Plans, checks or copies; an error of the source or the volume is in the answer."""
    try:
        copy = VolumeCopy(
            Path(MOUNT),
            CopyOptions.from_json(options),
            Keys.from_environment(os.environ),
            [replace(ModelFile.from_json(model), endpoints=tuple(model["endpoints"])) for model in models],
            commit=volume.commit.aio,
            say=_nothing if quiet else _say,
        )
        if mode == "plan":
            return await copy.plan()
        return await (copy.check(rehash=rehash) if mode == "check" else copy.copy())
    except ModelError as error:
        return {"error": error.to_json()}


@app.local_entrypoint()
def main(
    data_center: str,
    volume_id: str,
    s3_url: str = "",
    roots: str = "",
    only: str = "",
    used_only: bool = False,
    endpoint: str = "",
    bandwidth: float = 0,
    connections: int = 0,
    overwrite: bool = False,
    reread: bool = False,
    plan: bool = False,
    check: bool = False,
    rehash: bool = False,
    json: bool = False,
    report: str = "",
) -> None:
    """Copies what differs; --plan and --check only look. Exit code 1: not all is there and verified."""
    try:
        options = CopyOptions.make(
            data_center=data_center,
            volume_id=volume_id,
            s3_url=s3_url,
            runpod_url=os.environ.get(RUNPOD_URL, ""),
            roots=roots,
            only=only,
            used_only=used_only,
            bandwidth=bandwidth,
            connections=connections,
            overwrite=overwrite,
            reread=reread,
        )
        models = select(read_endpoints(ENDPOINTS), endpoint or os.environ.get("RYLA_ENDPOINT"))
    except ModelError as error:
        raise SystemExit(f"{error.code}: {error}") from error
    mode = "plan" if plan else "check" if check else "copy"
    described = [asdict(model) for model in models]
    document = copy_volume.remote(mode, options.to_json(), described, rehash, json)
    if report:
        Path(report).write_text(dumped(document), encoding="utf-8")
    code = _report(document, as_json=json)
    if code:
        raise SystemExit(code)


def _report(document: Mapping[str, Any], *, as_json: bool) -> int:
    say: Callable[[str], None] = _nothing if as_json else _say
    if as_json:
        print(json.dumps(document), flush=True)
    if "error" in document:
        error = document["error"]
        say(f"{error['code']}: {error['message']} {error.get('hint', '')}".rstrip())
        return 1
    match document["mode"]:
        case "plan":
            return print_plan(document, _price(), say)
        case "check":
            return print_check(document, say)
        case _:
            return print_copy(document, say)


def _price() -> Price | None:
    try:
        return Price.of(json.loads(PRICES.read_text(encoding="utf-8")), CORES, MEMORY_MIB / 1024)
    except (OSError, ValueError, KeyError):
        return None


def _nothing(_: str) -> None:
    pass


def _say(text: str) -> None:
    print(text, flush=True)
