"""`python -m comfy_worker.bench coldstart`: what a cold start is made of, beside the raw limits of the machine."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shlex
import sys
import tempfile
from pathlib import Path

from ..engine import EngineConfig
from ..errors import WorkerError
from .coldstart import LOADERS, STATES, Plan, measure, table
from .pictures import MODELS


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="python -m comfy_worker.bench", description="Benchmarks of the worker on this machine."
    )
    commands = result.add_subparsers(dest="command", required=True)
    cold = commands.add_parser(
        "coldstart",
        help="phases of a cold start with ComfyUI's loader and with ours, beside the raw limits",
        description="Writes random weights of a real architecture, drops the page cache, and starts ComfyUI until "
        "it has made two pictures: with ComfyUI's own loader and with ours, cold and with the files cached.",
    )
    cold.add_argument(
        "--comfyui", default=os.environ.get("COMFYUI_DIR"), help="folder with main.py (default: COMFYUI_DIR)"
    )
    cold.add_argument(
        "--python",
        default=os.environ.get("COMFYUI_PYTHON", sys.executable),
        help="ComfyUI's Python (default: COMFYUI_PYTHON)",
    )
    cold.add_argument(
        "--args",
        default=os.environ.get("COMFYUI_ARGS", ""),
        help="more arguments for main.py, such as --args=--cpu (default: COMFYUI_ARGS)",
    )
    cold.add_argument(
        "--model", choices=sorted(MODELS), default="sd15", help="2.1, 6.9 or 33.9 GB on the disk"
    )
    cold.add_argument(
        "--models-dir",
        type=Path,
        help="keep the weights here and use them again (default: a temporary folder, deleted at the end)",
    )
    cold.add_argument("--loader", choices=LOADERS, action="append", help="only this one (default: both)")
    cold.add_argument("--state", choices=STATES, action="append", help="only this one (default: both)")
    cold.add_argument("--steps", type=int, default=4, help="sampling steps of a picture (default: 4)")
    cold.add_argument(
        "--size", type=int, help="edge of the picture in pixels (default: 512, 1024 for sdxl, flux)"
    )
    cold.add_argument(
        "--hold", action="store_true", help="measure what is left when a memory snapshot holds the imports"
    )
    cold.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    cold.add_argument("--verbose", action="store_true", help="show ComfyUI's own log")
    return result


async def coldstart(arguments: argparse.Namespace) -> int:
    """Measures and prints."""
    environment = {
        **os.environ,
        "COMFYUI_URL": "",
        "COMFYUI_DIR": arguments.comfyui or "",
        "COMFYUI_PYTHON": arguments.python,
        "COMFYUI_ARGS": "",
    }
    config = EngineConfig.from_env(environment)
    plan = Plan(
        engine=config,
        arguments=tuple(shlex.split(arguments.args)),
        model=arguments.model,
        loaders=tuple(arguments.loader or LOADERS),
        states=tuple(arguments.state or STATES),
        steps=arguments.steps,
        size=arguments.size or MODELS[arguments.model].size,
        hold=arguments.hold,
        on_log=(lambda line: print(line, file=sys.stderr)) if arguments.verbose else (lambda _: None),
        on_phase=lambda text: print(text, file=sys.stderr),
    )
    if arguments.models_dir is not None:
        result = await measure(plan, arguments.models_dir)
    else:
        with tempfile.TemporaryDirectory(prefix="comfy-bench-") as folder:
            result = await measure(plan, Path(folder))
    print(json.dumps(result, indent=2) if arguments.json else table(result))
    return 0


def main() -> None:
    """Exit code 0 when everything was measured, 1 with the error otherwise."""
    arguments = parser().parse_args()
    try:
        sys.exit(asyncio.run(coldstart(arguments)))
    except (WorkerError, OSError, RuntimeError) as error:
        hint = f"\n{error.hint}" if isinstance(error, WorkerError) and error.hint else ""
        details = error.details if isinstance(error, WorkerError) else None
        if isinstance(details, dict) and "log" in details:
            hint += "\n" + "\n".join(details["log"])
        sys.exit(f"{error}{hint}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
