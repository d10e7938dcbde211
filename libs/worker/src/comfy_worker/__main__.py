"""`python -m comfy_worker run`: one workflow on the configured ComfyUI, without any cloud."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import uuid
from pathlib import Path
from typing import Any

from .engine import EngineConfig
from .errors import WorkerError
from .job import InputFile, Job, Progress
from .worker import Worker


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="python -m comfy_worker",
        description="Runs a ComfyUI workflow on the ComfyUI that COMFYUI_URL or COMFYUI_DIR names.",
    )
    commands = result.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run one workflow and save its outputs; prints one JSON document")
    run.add_argument("workflow", type=workflow_file, metavar="WORKFLOW", help="workflow file in API format")
    run.add_argument(
        "--file",
        action="append",
        default=[],
        type=input_file,
        metavar="NAME=PATH",
        help="input file that the workflow refers to as NAME",
    )
    run.add_argument("--out", type=Path, default=Path("out"), help="folder for the outputs (default: out)")
    run.add_argument("--timeout", type=float, help="longest run in seconds")
    run.add_argument("--verbose", action="store_true", help="show ComfyUI's own log")
    return result


def workflow_file(path: str) -> dict[str, Any]:
    """Reads a workflow in API format; argparse reports what is wrong with it."""
    try:
        document: Any = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(document, dict):
        raise argparse.ArgumentTypeError(f"{path} holds no workflow")
    if isinstance(document.get("nodes"), list):
        raise argparse.ArgumentTypeError(
            f"{path} is a workflow as the editor saves it; export it in API format (File, Export (API))"
        )
    return document


def input_file(pair: str) -> InputFile:
    """Reads NAME=PATH."""
    name, separator, path = pair.partition("=")
    if not separator or not name or not Path(path).is_file():
        raise argparse.ArgumentTypeError(f"{pair!r} is not NAME=PATH with a PATH that exists")
    return InputFile(name, Path(path))


async def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Runs the workflow and saves what it made."""
    job = Job(str(uuid.uuid4()), arguments.workflow, arguments.file, timeout=arguments.timeout)
    log = (lambda line: print(line, file=sys.stderr)) if arguments.verbose else None
    async with (
        Worker(EngineConfig.from_env(os.environ), on_log=log) as worker,
        worker.run_job(job) as running,
    ):
        async for event in running:
            if isinstance(event, Progress):
                print(f"{event.value:4.0%} {event.message or ''}", file=sys.stderr)
        outputs = await running.outputs()
        paths = [str(await output.save(arguments.out / output.subfolder / output.name)) for output in outputs]
        described = [{**output.to_json(), "path": path} for output, path in zip(outputs, paths, strict=True)]
        return {"jobId": job.id, "outputs": described, "timings": running.timings.to_json()}


def main() -> None:
    """Exit code 0 when the job succeeded, 1 with the error as JSON on stderr otherwise."""
    arguments = parser().parse_args()
    try:
        print(json.dumps(asyncio.run(run(arguments)), indent=2))
    except WorkerError as error:
        sys.exit(json.dumps(error.to_json(), indent=2))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
