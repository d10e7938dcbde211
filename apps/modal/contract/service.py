"""The gateway under test: `python -m ryla_modal.serve` on comfy-sim, or on the ComfyUI of the environment."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
ENDPOINT = REPOSITORY / "apps/endpoints/photo-finish"
TOKEN = "contract-token"  # noqa: S105  (of a server on this machine, for the time of the run)


@contextlib.contextmanager
def gateway(folder: Path) -> Generator[str]:
    """Serves while the block runs; gives the address."""
    environ = {**os.environ, "RYLA_API_TOKEN": TOKEN, "RYLA_RATE_LIMIT": "0"}
    if not environ.get("COMFYUI_URL") and not environ.get("COMFYUI_DIR"):
        spec = find_spec("comfy_sim")
        if spec is None or spec.origin is None:
            sys.exit("Neither COMFYUI_URL, COMFYUI_DIR nor comfy-sim is there.")
        environ |= {"COMFYUI_DIR": str(Path(spec.origin).parent / "engine"), "COMFYUI_PYTHON": sys.executable}
        environ["COMFY_SIM_MODEL_LOAD_MS"] = "0"
    command = [sys.executable, "-m", "ryla_modal.serve", "--port", "0", "--endpoint", str(ENDPOINT)]
    with (folder / "gateway.log").open("wb") as log:
        child = subprocess.Popen(
            [*command, "--files", str(folder / "files")],
            stdout=subprocess.PIPE,
            stderr=log,
            env=environ,
            text=True,
        )
        try:
            assert child.stdout is not None
            line = child.stdout.readline()
            if "http://" not in line:
                sys.exit(f"The gateway did not start:\n{(folder / 'gateway.log').read_text()}")
            yield line[line.index("http://") :].strip()
        finally:
            child.terminate()
            child.wait(timeout=30)
