"""`python -m ryla_modal.volume_copy`: the same without Modal, to a volume that is mounted here."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..models import ModelError, read_endpoints, select
from .address import ACCESS_KEY, SECRET_KEY, Keys
from .options import CopyOptions
from .report import print_check, print_copy, print_plan
from .volume_copy import VolumeCopy


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="python -m ryla_modal.volume_copy",
        description="Copies the models of a RunPod network volume to a volume that is mounted here. "
        f"The S3 API keys are in {ACCESS_KEY} and {SECRET_KEY}. Exit code 1: not all is there and verified.",
    )
    result.add_argument("--volume", type=Path, required=True, help="folder of the destination")
    result.add_argument("--endpoints", type=Path, help="folder of the endpoints, whose models come first")
    result.add_argument("--data-center", required=True, help="the network volume's, such as EU-RO-1")
    result.add_argument("--volume-id", required=True, help="the network volume's id")
    result.add_argument("--s3-url", default="", help="another S3 endpoint than the data centre's")
    result.add_argument("--roots", default="", help="folders of models (default: models,ComfyUI/models)")
    result.add_argument("--only", default="", metavar="GLOB", help="only these paths or keys")
    result.add_argument("--used-only", action="store_true", help="only what endpoints use")
    result.add_argument("--bandwidth", type=float, default=0, help="at most so many MB a second")
    result.add_argument("--connections", type=int, default=0, help="at once (default: 8)")
    result.add_argument("--overwrite", action="store_true", help="replace other files of the volume")
    result.add_argument(
        "--reread", action="store_true", help="without a checksum, read every byte again, not samples"
    )
    mode = result.add_mutually_exclusive_group()
    mode.add_argument("--plan", action="store_true", help="say what would be copied; change nothing")
    mode.add_argument("--check", action="store_true", help="compare only; fetch nothing")
    result.add_argument("--rehash", action="store_true", help="with --check: read every file again")
    result.add_argument("--json", action="store_true", help="one JSON document on stdout, the rest on stderr")
    return result


def main() -> int:
    """Exit code 1: something is not there and verified, or went wrong. 2: wrong arguments."""
    arguments = parser().parse_args()

    def say(text: str) -> None:
        print(text, file=sys.stderr if arguments.json else sys.stdout, flush=True)

    try:
        options = CopyOptions.make(
            data_center=arguments.data_center,
            volume_id=arguments.volume_id,
            s3_url=arguments.s3_url,
            roots=arguments.roots,
            only=arguments.only,
            used_only=arguments.used_only,
            bandwidth=arguments.bandwidth,
            connections=arguments.connections,
            overwrite=arguments.overwrite,
            reread=arguments.reread,
        )
        models = select(read_endpoints(arguments.endpoints), None) if arguments.endpoints else []
        copy = VolumeCopy(arguments.volume, options, Keys.from_environment(os.environ), models, say=say)
        document = asyncio.run(_run(copy, arguments))
    except ModelError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. Run it again: it goes on where it stopped.", file=sys.stderr)
        return 130
    if arguments.json:
        print(json.dumps(document))
    return _print(document, say)


async def _run(copy: VolumeCopy, arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.plan:
        return await copy.plan()
    if arguments.check:
        return await copy.check(rehash=arguments.rehash)
    return await copy.copy()


def _print(document: dict[str, Any], say: Callable[[str], None]) -> int:
    if document["mode"] == "plan":
        return print_plan(document, None, say)
    return print_check(document, say) if document["mode"] == "check" else print_copy(document, say)


if __name__ == "__main__":
    sys.exit(main())
