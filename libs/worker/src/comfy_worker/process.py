"""A ComfyUI process: started, watched, stopped."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections import deque
from collections.abc import Callable
from pathlib import Path

import aiohttp

from .engine import EngineConfig
from .errors import EngineUnavailable
from .weights.cold_start import ColdStart

STOP_GRACE = 10.0
"""Seconds that a ComfyUI has to end after SIGTERM before it is killed."""

LOG_LINES = 200
"""Last lines of the engine's log that are kept for error messages."""

LOG_GRACE = 0.5
"""Seconds to read the rest of the log of a process that has ended."""

EXIT_INTERVAL = 0.05
"""Seconds between two looks at whether the process has ended."""

PROBE_INTERVAL = 0.1
"""Seconds between two probes for readiness."""

MODEL_FOLDERS = {
    "checkpoints": "checkpoints",
    "configs": "configs",
    "loras": "loras",
    "vae": "vae",
    "text_encoders": "text_encoders\nclip",
    "diffusion_models": "diffusion_models\nunet",
    "clip_vision": "clip_vision",
    "style_models": "style_models",
    "embeddings": "embeddings",
    "diffusers": "diffusers",
    "vae_approx": "vae_approx",
    "controlnet": "controlnet\nt2i_adapter",
    "gligen": "gligen",
    "upscale_models": "upscale_models",
    "hypernetworks": "hypernetworks",
    "photomaker": "photomaker",
    "classifiers": "classifiers",
    "model_patches": "model_patches",
    "audio_encoders": "audio_encoders",
}
"""ComfyUI's model kinds (0.3.64) and their folders below the models directory, old names included."""

PR_SET_PDEATHSIG = 1
"""Linux's prctl option: the signal that a child gets when its parent dies."""


class ComfyProcess:
    """One ComfyUI, started by us or attached to. Not for use by several tasks at once, but for `alive`."""

    def __init__(self, config: EngineConfig, *, on_log: Callable[[str], None] | None = None) -> None:
        self._config = config
        self._on_log = on_log or (lambda _: None)
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._exit_code: int | None = None
        self._scratch: Path | None = None
        self._url = config.url
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        self._held = False
        self.exited = asyncio.Event()
        """Set when a started process has ended."""
        self.cold_start = ColdStart(config.cold_start, config.directory, self._on_log)
        """What is measured of the latest start; see docs/cold-start.md."""

    @property
    def url(self) -> str:
        """Base address, such as http://127.0.0.1:8188. Raises EngineUnavailable before the start."""
        if self._url is None:
            raise EngineUnavailable("ComfyUI has not been started.")
        return self._url

    @property
    def attached(self) -> bool:
        """Whether this ComfyUI is somebody else's, who also starts and stops it."""
        return self._config.url is not None

    @property
    def alive(self) -> bool:
        """Whether the process runs. An attached ComfyUI counts as alive; its answers tell."""
        return self.attached or (self._process is not None and self._process.returncode is None)

    @property
    def prepared(self) -> bool:
        """Whether a prepared process waits for `start`."""
        return self._held and self.alive

    @property
    def pid(self) -> int | None:
        """Process id of a started ComfyUI."""
        return self._process.pid if self._process is not None else None

    @property
    def exit_code(self) -> int | None:
        """Exit code of a started ComfyUI that has ended; negative for a signal."""
        return self._process.returncode if self._process is not None else self._exit_code

    def last_log(self, lines: int = 20) -> list[str]:
        """The last lines that the process wrote."""
        return list(self._log)[-lines:]

    async def prepare(self) -> None:
        """Starts a process that imports what ComfyUI needs, touches no GPU and waits: `start` lets it go on.

        That is what a memory snapshot of a container may hold. Does nothing where there is no real ComfyUI to start.
        Raises EngineUnavailable when the process ends or has not imported everything in time.
        """
        if self._config.url is not None or not self.cold_start.launcher(hold=True):
            return
        await self._spawn(self._config, hold=True)
        try:
            async with asyncio.timeout(self._config.start_timeout):
                while not self.cold_start.held.is_set() and not self.exited.is_set():
                    await asyncio.sleep(EXIT_INTERVAL)
        except TimeoutError:
            pass
        if not self.cold_start.held.is_set():
            await self.stop()
            raise EngineUnavailable(
                "ComfyUI's imports did not end in time, or the process did.", details={"log": self.last_log()}
            )
        self._held = True

    async def start(self) -> None:
        """Starts the process, lets a prepared one go on, or finds the running one, and waits until it answers.

        Raises EngineUnavailable, with the end of its log, when it ends before or does not answer in time.
        """
        if self.prepared and self._process is not None and self._process.stdin is not None:
            self.cold_start.spawned()
            self._process.stdin.close()
        elif self._config.url is None:
            await self.stop()  # what is left of a prepared one that has ended
            await self._spawn(self._config)
        self._held = False
        try:
            await asyncio.wait_for(self._ready(), self._config.start_timeout)
        except TimeoutError:
            await self.stop()
            raise EngineUnavailable(
                f"ComfyUI did not answer at {self._url} within {self._config.start_timeout:g} s.",
                details={"log": self.last_log()},
                hint="See the end of its log; raise COMFYUI_START_TIMEOUT when it only needs longer.",
            ) from None
        except BaseException:
            # Also when the start is cancelled: nobody else knows of this process yet.
            await asyncio.shield(self.stop())
            raise
        self.cold_start.ready()

    async def stop(self, grace: float = STOP_GRACE) -> None:
        """Ends a started process with all its children: SIGTERM, after `grace` seconds SIGKILL. Leaves an attached
        one alone."""
        self.cold_start.stop()
        self._held = False
        process, self._process = self._process, None
        if process is not None:
            if process.returncode is None:
                _signal_group(process.pid, signal.SIGTERM)
                if not await _ended(process, grace):
                    _signal_group(process.pid, signal.SIGKILL)
                    await _ended(process, STOP_GRACE)
            _signal_group(process.pid, signal.SIGKILL)
            self._exit_code = process.returncode
            self.exited.set()
        if self._reader is not None:
            await asyncio.wait([self._reader], timeout=1)
            self._reader.cancel()
            self._reader = None
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None

    async def restart(self) -> None:
        """Stops and starts."""
        await self.stop()
        await self.start()

    async def _spawn(self, config: EngineConfig, *, hold: bool = False) -> None:
        if config.directory is None:
            raise EngineUnavailable("Neither an address nor a folder of ComfyUI is configured.")
        scratch = self._scratch = Path(tempfile.mkdtemp(prefix="comfyui-"))
        port = _free_port()
        self.cold_start = ColdStart(config.cold_start, config.directory, self._on_log)
        command = [
            str(config.python),
            *self.cold_start.launcher(hold=hold),
            str(config.directory / "main.py"),
        ]
        command += ["--listen", "127.0.0.1", "--port", str(port), "--disable-auto-launch"]
        for name in ("output", "input", "temp", "user"):
            (scratch / name).mkdir()
            command += [f"--{name}-directory", str(scratch / name)]
        if config.models_dir is not None:
            paths = scratch / "extra_model_paths.yaml"
            paths.write_text(extra_model_paths(config.models_dir), encoding="utf-8")
            command += ["--extra-model-paths-config", str(paths)]
        command += config.args
        self._log.clear()
        self.exited = asyncio.Event()
        self._url = f"http://127.0.0.1:{port}"
        try:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                cwd=config.directory,
                stdin=asyncio.subprocess.PIPE if hold else asyncio.subprocess.DEVNULL,
                env={**os.environ, **self.cold_start.environment()},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
                limit=1 << 20,
            )
        except OSError as error:
            await self.stop()
            raise EngineUnavailable(
                f"ComfyUI could not be started with {config.python}: {error.strerror}.",
                hint="Check COMFYUI_PYTHON and COMFYUI_DIR.",
            ) from error
        if not hold:
            self.cold_start.spawned()
        self._reader = asyncio.create_task(self._read(self._process))
        self._watcher = asyncio.create_task(self._watch(self._process, self._reader, self.exited))

    async def _watch(
        self, process: asyncio.subprocess.Process, reader: asyncio.Task[None], exited: asyncio.Event
    ) -> None:
        # Not process.wait(): it also waits for the pipe, which a child of ComfyUI may keep open.
        while process.returncode is None:
            await asyncio.sleep(EXIT_INTERVAL)
        await asyncio.wait({reader}, timeout=LOG_GRACE)
        self._exit_code = process.returncode
        exited.set()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        stream = process.stdout
        while stream is not None:
            try:
                raw = await stream.readline()
            except ValueError:
                continue  # a line longer than the limit: drop it, keep reading
            if not raw:
                break
            line = raw.decode(errors="replace").rstrip()
            self._log.append(line)
            self.cold_start.log_line(line)
            self._on_log(line)

    async def _ready(self) -> None:
        timeout = aiohttp.ClientTimeout(total=5)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                if not self.alive:
                    raise EngineUnavailable(
                        f"ComfyUI ended with exit code {self.exit_code} before it was ready.",
                        details={"log": self.last_log()},
                        hint="See the end of its log for the cause.",
                    )
                try:
                    async with session.get(f"{self.url}/system_stats") as response:
                        if response.status == 200:
                            return
                except (aiohttp.ClientError, TimeoutError, ConnectionError):
                    pass
                try:
                    await asyncio.wait_for(self.exited.wait(), PROBE_INTERVAL)
                except TimeoutError:
                    continue


def extra_model_paths(models_dir: Path) -> str:
    """ComfyUI's extra_model_paths.yaml for one models directory."""
    # JSON's quoting is YAML's: a path may hold any character.
    lines = ["comfy_worker:", f"  base_path: {json.dumps(str(models_dir))}", "  is_default: true"]
    for kind, folders in MODEL_FOLDERS.items():
        lines.append(f"  {kind}: |")
        lines += [f"    {folder}" for folder in folders.splitlines()]
    return "\n".join(lines) + "\n"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def _ended(process: asyncio.subprocess.Process, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            while process.returncode is None:
                await asyncio.sleep(EXIT_INTERVAL)
    except TimeoutError:
        return False
    return True


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return


_LIBC = ctypes.CDLL(None)  # loaded here, because a forked child must not load


def _die_with_parent() -> None:
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
