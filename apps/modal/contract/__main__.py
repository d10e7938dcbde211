"""Fuzzes the gateway by the published document and by its own, then runs the two official SDKs against it."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx

from . import sdk_python
from .fuzz import fuzz
from .published import published_document, with_events, with_prose
from .service import ENDPOINT, REPOSITORY, TOKEN, gateway

TYPESCRIPT_SDK = "@comfyorg/sdk@0.1.9"
LEAST_CASES = 2000
PICTURE: dict[str, Any] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 32, "height": 16, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "contract"}},
}


def samples(url: str) -> dict[str, Any]:
    """A job that has ended, and its asset, for requests that should find something."""
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60) as client:
        job = client.post("/api/v2/jobs", json={"workflow": PICTURE}).raise_for_status().json()
        client.get(job["urls"]["events"]).raise_for_status()
        job = client.get(job["urls"]["self"]).raise_for_status().json()
        (output,) = job["outputs"]
        return {
            "jobs": [job["id"]],
            "assets": [output["id"]],
            "hashes": [output["hash"]],
            "workflow": PICTURE,
        }


def own_document(url: str, known: dict[str, Any]) -> dict[str, Any]:
    """What the gateway says of itself; its ids are those of things that are there."""
    document = httpx.get(f"{url}/openapi.json", headers={"Authorization": f"Bearer {TOKEN}"}).json()
    with_events(document)
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path" and parameter["name"] == "id":
                    ids = known["assets" if "assets" in path else "jobs"]
                    parameter["schema"] = {"anyOf": [{"type": "string", "enum": ids}, {"type": "string"}]}
    return document


def typescript(url: str, folder: Path) -> list[str]:
    """Runs the TypeScript SDK out of a folder of its own; what it checked."""
    node = REPOSITORY / "node_modules/.bin/node"
    shutil.copy(Path(__file__).with_name("sdk_typescript.mjs"), folder)
    (folder / "package.json").write_text('{"private": true, "type": "module"}', encoding="utf-8")
    subprocess.run(
        ["npm", "install", "--silent", "--no-audit", "--no-fund", TYPESCRIPT_SDK], cwd=folder, check=True
    )
    done = subprocess.run(
        [node if node.exists() else "node", "sdk_typescript.mjs", ENDPOINT],
        cwd=folder,
        env={**os.environ, "COMFY_BASE_URL": url, "COMFY_API_KEY": TOKEN},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=300,
    )
    return done.stdout.splitlines()


def main() -> None:
    """Ends with 1 when anything does not hold."""
    parser = argparse.ArgumentParser(prog="npm run test:contract", description=__doc__)
    parser.add_argument(
        "--examples", type=int, default=250, help="generated requests per operation and document"
    )
    parser.add_argument("--skip-sdks", action="store_true", help="only the generated requests")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ryla-contract-") as scratch:
        folder = Path(scratch)
        for name in ("published", "own", "typescript"):
            (folder / name).mkdir()
        with gateway(folder) as url:
            known = samples(url)
            documents = {
                "published": with_prose(published_document(folder / "published"), known),
                "own": own_document(url, known),
            }
            results = {
                name: fuzz(name, document, url, folder / name, arguments.examples)
                for name, document in documents.items()
            }
            sdks: dict[str, list[str]] = {}
            if not arguments.skip_sdks:
                sdks = {
                    "comfy-sdk": sdk_python.run(url),
                    TYPESCRIPT_SDK: typescript(url, folder / "typescript"),
                }
    published, _ = results["published"]
    for name, (cases, holds) in results.items():
        print(
            f"{name} document: {cases} requests, {'all answers hold' if holds else 'VIOLATIONS, see above'}"
        )
    for name, checked in sdks.items():
        print(f"{name}: {len(checked)} checks: {'; '.join(checked)}")
    if published < LEAST_CASES:
        print(f"Only {published} requests by the published document; at least {LEAST_CASES} are wanted.")
    if published < LEAST_CASES or not all(holds for _, holds in results.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
