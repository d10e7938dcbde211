"""`python -m ryla_modal.models`: the same without Modal, for a volume that is mounted here."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from .download import Limits
from .errors import ModelError
from .model_file import ModelFile, merge, read_endpoints, read_models, select, token_variable
from .model_store import ModelStore
from .report import ask_to_remove, print_findings, print_upload


def main() -> int:
    """Exit code 1: models are missing, different, or could not be fetched. 2: wrong arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m ryla_modal.models",
        description="Brings the models of endpoints to a volume that is mounted here. Tokens of gated files are "
        "in the environment: HF_TOKEN for the secret `hf`.",
    )
    parser.add_argument("--volume", type=Path, required=True, help="folder of the volume")
    parser.add_argument("--endpoints", type=Path, help="folder of the endpoints")
    parser.add_argument("--endpoint", help="only this one")
    parser.add_argument("--manifest", type=Path, help="a JSON file with models instead of the endpoints'")
    parser.add_argument("--check", action="store_true", help="report missing, different and extra files only")
    parser.add_argument("--rehash", action="store_true", help="with --check: read every file again")
    parser.add_argument(
        "--prune", action="store_true", help="remove files that no endpoint wants, after asking"
    )
    parser.add_argument("--yes", action="store_true", help="with --prune: do not ask")
    for limit in fields(Limits):
        parser.add_argument(
            f"--{limit.name.replace('_', '-')}", type=type(limit.default), default=limit.default
        )
    arguments = parser.parse_args()
    limits = Limits(**{limit.name: getattr(arguments, limit.name) for limit in fields(Limits)})
    try:
        endpoints = read_endpoints(arguments.endpoints) if arguments.endpoints else {}
        listed = merge(read_models(arguments.manifest)) if arguments.manifest else []
        models = listed or select(endpoints, arguments.endpoint)
        wanted = [*listed, *select(endpoints, None)]
        store = ModelStore(arguments.volume, tokens=tokens(models, os.environ), limits=limits, say=_say)
        return asyncio.run(_run(store, models, wanted, arguments))
    except ModelError as error:
        print(error, file=sys.stderr)
        return 1


async def _run(
    store: ModelStore, models: Sequence[ModelFile], wanted: Sequence[ModelFile], arguments: argparse.Namespace
) -> int:
    if not (arguments.check or arguments.prune):
        return print_upload((await store.upload(models)).to_json())
    findings = (await store.check(models, wanted, rehash=arguments.rehash)).to_json()
    code = print_findings(findings)
    if arguments.prune:
        extra = ask_to_remove(findings, yes=arguments.yes)
        print(f"Removed {len(await store.prune(extra, wanted))} files.")
    return code


def tokens(models: Sequence[ModelFile], environ: Mapping[str, str]) -> dict[str, str]:
    """Tokens of the models' secrets, by the secret's name, as far as the environment has them."""
    secrets = {model.secret for model in models if model.secret is not None}
    return {
        secret: environ[token_variable(secret)] for secret in secrets if environ.get(token_variable(secret))
    }


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
