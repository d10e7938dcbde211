"""`local-clouds`: a local Modal and a local RunPod in one process."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .engine import engine_environment
from .faults import UnknownFault
from .modal import LocalModal, ModalSettings
from .modal.launcher import ContainerSettings
from .modal.server import FAULTS, WEB_TIMEOUT
from .runpod import FAULTS as RUNPOD_FAULTS
from .runpod import InvalidAccount, LocalRunPod, Refused, read_account


def parser() -> argparse.ArgumentParser:
    """The command line."""
    shown = "\n".join(f"  {name}: {text}" for name, text in FAULTS.items())
    runpod = "\n".join(f"  {name}: {text}" for name, text in RUNPOD_FAULTS.items())
    result = argparse.ArgumentParser(
        prog="local-clouds",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=(
            "Starts a local Modal (control plane and web gateway) and a local RunPod (job API, worker control\n"
            "plane, management API, S3 API of its network volumes). Prints one JSON line with addresses, credentials and the environment to use;\n"
            "logs go to stderr. Ends with SIGINT or SIGTERM, or when its standard input closes (--until-eof)."
        ),
        epilog=f"Faults of Modal (--modal-fault, or PUT a JSON list to <webUrl>/_local/faults):\n{shown}\n\n"
        f"Faults of RunPod (--runpod-fault, or PUT a JSON list to <apiUrl without /v2>/_local/faults):\n{runpod}\n\n"
        "A fault is NAME or NAME=VALUE, with :COUNT to stop after so many hits.",
    )
    result.add_argument(
        "--state-dir",
        type=Path,
        default=Path(".local-clouds"),
        help="volumes and blobs (default: .local-clouds)",
    )
    result.add_argument(
        "--modal-port", type=int, default=0, help="port of Modal's control plane (default: a free one)"
    )
    result.add_argument(
        "--web-port", type=int, default=0, help="port of Modal's web gateway (default: a free one)"
    )
    result.add_argument(
        "--runpod-port", type=int, default=0, help="port of RunPod's API (default: a free one)"
    )
    result.add_argument(
        "--s3-port", type=int, default=0, help="port of RunPod's S3 API (default: a free one)"
    )
    result.add_argument(
        "--runpod-account",
        type=Path,
        metavar="FILE",
        help="endpoints, templates and network volumes that are there from the start: exported JSON of the API v2",
    )
    result.add_argument(
        "--web-timeout",
        type=float,
        default=WEB_TIMEOUT,
        help="seconds until Modal answers 303 (default: %(default)g)",
    )
    result.add_argument(
        "--modal-fault", action="append", default=[], metavar="FAULT", help="switch a fault on, see below"
    )
    result.add_argument(
        "--runpod-fault", action="append", default=[], metavar="FAULT", help="switch a fault on, see below"
    )
    result.add_argument(
        "--no-namespaces", action="store_true", help="do not give containers a root of their own"
    )
    result.add_argument(
        "--until-eof", action="store_true", help="end when standard input closes, as when the parent dies"
    )
    result.add_argument("--json", action="store_true", help="accepted; the answer is always one JSON line")
    return result


def main(argv: Sequence[str] | None = None) -> None:
    """Runs until a signal."""
    arguments = parser().parse_args(argv)
    try:
        asyncio.run(_serve(arguments))
    except (UnknownFault, InvalidAccount, Refused, OSError) as error:
        sys.exit(f"local-clouds: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


async def _serve(arguments: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stopped.set)
    if arguments.until_eof:
        loop.run_in_executor(None, _wait_for_eof, loop, stopped)
    folder: Path = arguments.state_dir.absolute()
    engine = engine_environment(os.environ)
    python = container_python(os.environ)
    containers = ContainerSettings(
        python=python,
        engine=engine,
        keep=keep_visible(python, engine),
        namespaces=not arguments.no_namespaces,
    )
    modal = LocalModal(
        ModalSettings(
            folder / "modal",
            containers,
            port=arguments.modal_port,
            web_port=arguments.web_port,
            web_timeout=arguments.web_timeout,
            faults=arguments.modal_fault,
        ),
        _log,
    )
    runpod = LocalRunPod(
        folder / "runpod",
        port=arguments.runpod_port,
        worker_environment=engine,
        faults=arguments.runpod_fault,
        log=_log,
        account=None if arguments.runpod_account is None else read_account(arguments.runpod_account),
        s3_port=arguments.s3_port,
    )
    try:
        await modal.start()
        await runpod.start()
        environment = {
            **modal.environment(),
            "RUNPOD_API_URL": runpod.api_url,
            "RUNPOD_API_KEY": runpod.api_key,
            "RUNPOD_MANAGEMENT_URL": runpod.management_url,
            "RUNPOD_S3_URL": runpod.volumes.url,
        }
        document: dict[str, Any] = {
            "modal": modal.describe(),
            "runpod": {
                "apiUrl": runpod.api_url,
                "apiKey": runpod.api_key,
                "managementUrl": runpod.management_url,
                "s3": runpod.volumes.describe(),
            },
            "environment": environment,
            "engine": engine,
            "stateDir": str(folder),
        }
        print(json.dumps(document), flush=True)
        await stopped.wait()
    finally:
        await asyncio.gather(modal.stop(), runpod.stop())


def container_python(environ: Mapping[str, str]) -> Path:
    """Python of the environment that containers run in: LOCAL_CLOUDS_CONTAINER_PYTHON, `.venv-containers`, or this one."""
    given = environ.get("LOCAL_CLOUDS_CONTAINER_PYTHON")
    if given:
        return Path(given)
    beside = Path(sys.prefix).parent / ".venv-containers" / "bin" / "python"
    return beside if beside.exists() else Path(sys.executable)


def keep_visible(python: Path, engine: dict[str, str]) -> list[Path]:
    """Folders that a container with a root of its own must still see."""
    shown = subprocess.run(
        [str(python), "-c", "import sys; print(sys.base_prefix); print(sys.prefix)"],
        capture_output=True,
        text=True,
        check=True,
    )
    kept = [Path(line) for line in shown.stdout.split()]
    kept += [Path(sys.base_prefix), Path(sys.prefix)]
    kept += [
        Path(engine[name]).absolute() for name in ("COMFYUI_DIR", "COMFYUI_MODELS_DIR") if name in engine
    ]
    if "COMFYUI_PYTHON" in engine:
        interpreter = Path(engine["COMFYUI_PYTHON"])
        kept += [interpreter.absolute().parent.parent, interpreter.resolve().parent.parent]
    for package in ("comfy_sim", "local_clouds"):
        spec = find_spec(package)
        if spec is not None and spec.origin is not None:
            kept.append(Path(spec.origin).parent.parent)
    return kept


def _wait_for_eof(loop: asyncio.AbstractEventLoop, stopped: asyncio.Event) -> None:
    while sys.stdin.buffer.read(1024):
        continue
    loop.call_soon_threadsafe(stopped.set)


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
