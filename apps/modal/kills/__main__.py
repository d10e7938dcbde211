"""The command line of `npm run test:kills`."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

from .run import kill_run


def main() -> None:
    """Exit code 0 when no accepted job was lost and none ran twice."""
    parser = argparse.ArgumentParser(
        prog="npm run test:kills --",
        description="Deploys the app to a local Modal, and its worker to a local RunPod with claims on a volume and in a "
        "bucket. Kills gateways and workers of both with SIGKILL at random moments, while callers submit jobs. Counts at "
        "the engine: no accepted job may be lost, none may run twice or have two results.",
    )
    parser.add_argument("--kills", type=int, default=200, help="how many (default: 200; about 2.5 s each)")
    parser.add_argument("--seed", type=int, default=1, help="of the random moments (default: 1)")
    parser.add_argument(
        "--keep", type=Path, help="folder for the logs, which must not exist (default: none kept)"
    )
    arguments = parser.parse_args()
    if arguments.keep is not None and arguments.keep.exists():
        sys.exit(f"{arguments.keep} exists.")
    with tempfile.TemporaryDirectory(prefix="ryla-kills-") as scratch:
        folder = (arguments.keep or Path(scratch)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        count = asyncio.run(
            kill_run(arguments.kills, arguments.seed, folder, lambda line: print(line, file=sys.stderr))
        )
    print(json.dumps(count.to_json(), indent=2))
    sys.exit(0 if count.holds else 1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
