"""`comfy-sim`: ComfyUI's command line, and options of its own that begin with --sim."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

from aiohttp import web
from PIL import Image

from .executor import Pace
from .faults import FAULTS, Faults, UnknownFault
from .folders import Folders, model_paths
from .server import Server, Settings

IGNORED_FLAGS = [
    "--cpu",
    "--disable-auto-launch",
    "--auto-launch",
    "--disable-metadata",
    "--lowvram",
    "--normalvram",
    "--highvram",
    "--gpu-only",
    "--novram",
    "--fast",
    "--force-fp16",
    "--force-fp32",
    "--bf16-unet",
    "--fp8_e4m3fn-unet",
    "--cache-none",
    "--cache-classic",
    "--dont-print-server",
    "--disable-all-custom-nodes",
    "--disable-smart-memory",
    "--deterministic",
    "--use-pytorch-cross-attention",
    "--disable-xformers",
    "--multi-user",
    "--log-stdout",
]
"""Flags of ComfyUI that change nothing here; accepted, so that a command line works for both."""

IGNORED_OPTIONS = [
    "--cache-lru",
    "--reserve-vram",
    "--cuda-device",
    "--preview-size",
    "--verbose",
    "--front-end-version",
]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    faults = "\n".join(f"  {name}: {text}" for name, text in FAULTS.items())
    result = argparse.ArgumentParser(
        prog="comfy-sim",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=(
            "A server with ComfyUI's protocol that needs no GPU and no model. Model-free nodes run for real;\n"
            "nodes that need a model are simulated, and their pictures say SIMULATED."
        ),
        epilog=(
            f"Faults (--sim-fault NAME[=VALUE][:COUNT], repeat for several; or PUT a JSON list to /_sim/faults):\n{faults}"
            "\n\nEvery --sim option can come from the environment: COMFY_SIM_STEP_MS, COMFY_SIM_MODEL_LOAD_MS,"
            "\nCOMFY_SIM_FAULTS (separated by commas). Other flags of ComfyUI are accepted and change nothing."
        ),
    )
    result.add_argument(
        "--listen",
        default="127.0.0.1",
        metavar="IP",
        nargs="?",
        const="0.0.0.0,::",
        help="address (default 127.0.0.1)",
    )
    result.add_argument("--port", type=int, default=8188, help="port; 0 takes a free one (default 8188)")
    result.add_argument("--base-directory", type=Path, help="folder with models, input, output, temp, user")
    result.add_argument("--output-directory", type=Path, help="folder for outputs")
    result.add_argument("--input-directory", type=Path, help="folder for inputs")
    result.add_argument("--temp-directory", type=Path, help="parent of the folder `temp` for previews")
    result.add_argument("--user-directory", type=Path, help="accepted; nothing is kept there")
    result.add_argument(
        "--extra-model-paths-config",
        type=Path,
        nargs="+",
        action="append",
        default=[],
        help="ComfyUI's extra_model_paths.yaml",
    )
    result.add_argument(
        "--preview-method",
        choices=["none", "auto", "latent2rgb", "taesd"],
        default="auto",
        help="none: no previews",
    )
    result.add_argument(
        "--sim-step-ms", type=float, metavar="MS", help="time of one sampler step (default 20)"
    )
    result.add_argument(
        "--sim-model-load-ms", type=float, metavar="MS", help="time to load one model (default 0)"
    )
    result.add_argument(
        "--sim-fault", action="append", default=[], metavar="FAULT", help="switch a fault on, see below"
    )
    for flag in IGNORED_FLAGS:
        result.add_argument(flag, action="store_true", help=argparse.SUPPRESS)
    for option in IGNORED_OPTIONS:
        result.add_argument(option, nargs="?", help=argparse.SUPPRESS)
    return result


def main(argv: Sequence[str] | None = None) -> None:
    """Runs a server until SIGINT or SIGTERM."""
    arguments = parser().parse_args(argv)
    specs = [*arguments.sim_fault, *filter(None, os.environ.get("COMFY_SIM_FAULTS", "").split(","))]
    try:
        faults = Faults(specs)
    except UnknownFault as error:
        sys.exit(f"comfy-sim: {error}")
    try:
        asyncio.run(_serve(arguments, faults))
    except KeyboardInterrupt:
        pass
    except OSError as error:
        sys.exit(f"comfy-sim: cannot listen on {arguments.listen}:{arguments.port}: {error.strerror}")


async def _serve(arguments: argparse.Namespace, faults: Faults) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    delay = faults.value("boot-delay")
    if delay:
        await asyncio.sleep(float(delay))
    with _root(arguments) as root:
        folders = _folders(arguments, root)
        settings = Settings(folders, _pace(arguments, os.environ), faults, list(sys.argv), _log)
        runner = web.AppRunner(Server(settings).application(), access_log=None, shutdown_timeout=1)
        await runner.setup()
        for address in arguments.listen.split(","):
            site = web.TCPSite(runner, address, arguments.port)
            await site.start()
        for host, port, *_ in runner.addresses:
            _log(f"To see the GUI go to: http://{host}:{port}")
        await stopped.wait()
        await runner.cleanup()


@contextlib.contextmanager
def _root(arguments: argparse.Namespace) -> Generator[Path]:
    """Where folders lie that have no option of their own; one that goes with the process, unless it was given."""
    given = (arguments.input_directory, arguments.output_directory, arguments.temp_directory)
    if arguments.base_directory is not None:
        yield arguments.base_directory
    elif all(given):
        # Nothing is written below it, so that a killed process leaves nothing.
        yield Path.cwd()
    else:
        with tempfile.TemporaryDirectory(prefix="comfy-sim-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)


def _folders(arguments: argparse.Namespace, root: Path) -> Folders:
    base: Path | None = arguments.base_directory
    extra = [file for group in arguments.extra_model_paths_config for file in group]
    temp: Path = arguments.temp_directory or root
    folders = Folders(
        input=(arguments.input_directory or root / "input").absolute(),
        output=(arguments.output_directory or root / "output").absolute(),
        temp=(temp / "temp").absolute(),
        model_paths=model_paths(base, extra),
        standalone=base is None and not extra,
    )
    shutil.rmtree(folders.temp, ignore_errors=True)
    folders.create()
    example = folders.input / "example.png"
    if base is None and arguments.input_directory is None:
        Image.linear_gradient("L").convert("RGB").save(example)
    return folders


def _pace(arguments: argparse.Namespace, environment: Mapping[str, str]) -> Pace:
    def milliseconds(given: float | None, variable: str, default: float) -> float:
        return (given if given is not None else float(environment.get(variable) or default)) / 1000

    return Pace(
        step=milliseconds(arguments.sim_step_ms, "COMFY_SIM_STEP_MS", 20),
        model_load=milliseconds(arguments.sim_model_load_ms, "COMFY_SIM_MODEL_LOAD_MS", 0),
        previews=arguments.preview_method != "none",
    )


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
