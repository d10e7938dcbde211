"""The cold start of one ComfyUI: which launcher starts it, what is read ahead and when, and what was measured."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .launch import GPU_FILES, HELD
from .read_ahead import ReadAhead, ReadAheadReport, Wanted

LAUNCHER = Path(__file__).with_name("launch.py")

_READ = re.compile(r"comfy_worker weights: read (\d+) bytes of (.+) to (\S+) in ([\d.]+) s$")
_HANDED_OVER = re.compile(
    r"comfy_worker weights: handed over (\d+) bytes of (.+), read ahead to (\S+), after ([\d.]+) s$"
)
_OFF = re.compile(r"comfy_worker weights: (?:off|left to ComfyUI's own loader): (.*)$")


@dataclass(frozen=True, slots=True)
class WeightsRead:
    """One bulk read by our reader: file names, bytes, device such as cuda:0, seconds that ComfyUI waited for it."""

    files: str
    nbytes: int
    device: str
    seconds: float
    ahead: bool = False
    """Whether it was read before ComfyUI asked for it."""


@dataclass(frozen=True, slots=True)
class ColdStartConfig:
    """What the environment says about a cold start; see docs/cold-start.md."""

    weights: str = "parallel"
    """`parallel`: our reader, where this ComfyUI is one it was tested with; `force`: any; `comfyui`: never.

    Pictures of both loaders were compared on a GPU and are equal byte by byte (docs/benchmarks.md).
    """
    read_ahead: tuple[Path, ...] = ()
    import_trace: Path | None = None
    gpu_read_ahead: bool = True
    """Whether `read_ahead` is also read onto the GPU, where our reader is used and half of its memory is enough."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> ColdStartConfig:
        """Reads COMFYUI_WEIGHTS, COMFYUI_READ_AHEAD (paths, below COMFYUI_MODELS_DIR when relative, with `:`
        between them), COMFYUI_IMPORT_TRACE and COMFYUI_GPU_READ_AHEAD. Raises ValueError when the first or the last
        has another value.
        """
        weights = env.get("COMFYUI_WEIGHTS") or "parallel"
        if weights not in ("parallel", "force", "comfyui"):
            raise ValueError(f"COMFYUI_WEIGHTS must be parallel, force or comfyui, not {weights!r}")
        gpu = env.get("COMFYUI_GPU_READ_AHEAD") or "on"
        if gpu not in ("on", "off"):
            raise ValueError(f"COMFYUI_GPU_READ_AHEAD must be on or off, not {gpu!r}")
        models = Path(env.get("COMFYUI_MODELS_DIR") or ".")
        names = [name for name in env.get("COMFYUI_READ_AHEAD", "").split(os.pathsep) if name]
        trace = env.get("COMFYUI_IMPORT_TRACE")
        files = tuple(models / name for name in names)
        return cls(weights, files, Path(trace) if trace else None, gpu == "on")


@dataclass(slots=True)
class ColdStart:
    """Follows one start. `on_log` gets lines like those of ComfyUI's own log."""

    config: ColdStartConfig
    directory: Path | None
    on_log: Callable[[str], None] = lambda _: None
    held: threading.Event = field(default_factory=threading.Event)
    """Set when a held process has imported everything."""
    held_facts: dict[str, Any] | None = None
    """What a held process said: seconds, modules, cudaProbes, cudaInitialized, gpuFiles."""
    reads: list[WeightsRead] = field(default_factory=list[WeightsRead])
    left_to_comfyui: list[str] = field(default_factory=list[str])
    imports_read: ReadAheadReport | None = None
    models_read: ReadAheadReport | None = None
    boot_seconds: float | None = None
    _started: float = 0.0
    _ready: threading.Event = field(default_factory=threading.Event)
    _running: ReadAhead | None = None
    _stopped: bool = False

    def launcher(self, *, hold: bool = False) -> list[str]:
        """What goes between Python and main.py: our launcher, or nothing for what is no ComfyUI that we know."""
        real = self.directory is not None and (self.directory / "comfy" / "utils.py").is_file()
        if not real or (self.config.weights == "comfyui" and not hold and self.config.import_trace is None):
            return []
        return [str(LAUNCHER), "--hold"] if hold else [str(LAUNCHER)]

    def environment(self) -> dict[str, str]:
        """What the launcher reads in the process."""
        trace = self.config.import_trace
        ahead = self.config.read_ahead if self.config.gpu_read_ahead else ()
        return {
            "COMFYUI_WEIGHTS": self.config.weights,
            GPU_FILES: os.pathsep.join(os.path.abspath(path) for path in ahead),
            **({"COMFYUI_IMPORT_TRACE": str(trace)} if trace is not None else {}),
        }

    def spawned(self) -> None:
        """The process was started, or goes on after a hold: begins to read ahead, after a hold at full speed."""
        self._started = time.monotonic()
        if self.config.read_ahead or self.config.import_trace is not None:
            threading.Thread(target=self._read_ahead, name="read-ahead", daemon=True).start()

    def ready(self) -> None:
        """ComfyUI answers: its imports are done."""
        self.boot_seconds = time.monotonic() - self._started
        self._ready.set()
        if self._running is not None:
            self._running.hurry()

    def stop(self) -> None:
        """Ends what still reads."""
        self._stopped = True
        self._ready.set()
        if self._running is not None:
            self._running.stop()

    def log_line(self, line: str) -> None:
        """Notes what a line of ComfyUI's log says about its loading."""
        if found := _READ.search(line):
            nbytes, files, device, seconds = found.groups()
            self.reads.append(WeightsRead(files, int(nbytes), device, float(seconds)))
        elif found := _HANDED_OVER.search(line):
            nbytes, files, device, seconds = found.groups()
            self.reads.append(WeightsRead(files, int(nbytes), device, float(seconds), ahead=True))
        elif found := _OFF.search(line):
            self.left_to_comfyui.append(found[1])
        elif HELD in line:
            self.held_facts = json.loads(line.partition(HELD)[2])
            self.held.set()

    def to_json(self) -> dict[str, Any]:
        """What was measured, in seconds and bytes; for logs and metrics."""
        return {
            "weights": self.config.weights,
            "bootSeconds": self.boot_seconds,
            "reads": [
                {
                    "files": one.files,
                    "bytes": one.nbytes,
                    "device": one.device,
                    "seconds": one.seconds,
                    "ahead": one.ahead,
                }
                for one in self.reads
            ],
            "leftToComfyUI": self.left_to_comfyui,
            "importsRead": _report(self.imports_read),
            "modelsRead": _report(self.models_read),
        }

    def _read_ahead(self) -> None:
        # What is imported first: models that are read at full speed slow the imports down (docs/benchmarks.md).
        imports = traced(self.config.import_trace)
        if imports and not self._ready.is_set():
            self.imports_read = self._run(ReadAhead(imports))
            self._tell("what is imported", self.imports_read)
        if self.config.read_ahead and not self._stopped:
            models = [Wanted(path) for path in self.config.read_ahead]
            self.models_read = self._run(ReadAhead(models, gentle=not self.held.is_set()))
            self._tell("models", self.models_read)

    def _run(self, reading: ReadAhead) -> ReadAheadReport:
        self._running = reading
        if self._stopped:
            reading.stop()
        elif self._ready.is_set():
            reading.hurry()
        return reading.run()

    def _tell(self, what: str, report: ReadAheadReport) -> None:
        left = (
            f"; {len(report.left_out)} files left out, the first {report.left_out[0]}"
            if report.left_out
            else ""
        )
        self.on_log(
            f"comfy_worker read ahead: {what}, {report.read_bytes} bytes in {report.seconds:.3f} s, "
            f"{report.cached_bytes} bytes were cached{left}"
        )


def traced(trace: Path | None) -> list[Wanted]:
    """What an import trace says that a start reads: small files whole, then the touched parts of libraries."""
    if trace is None:
        return []
    try:
        document = json.loads(trace.read_text(encoding="utf-8"))
        files = [Wanted(Path(str(name))) for name in document["files"]]
        return files + [
            Wanted(Path(str(name)), tuple((int(offset), int(nbytes)) for offset, nbytes in parts))
            for name, parts in document["libraries"].items()
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def _report(report: ReadAheadReport | None) -> dict[str, Any] | None:
    if report is None:
        return None
    return {
        "readBytes": report.read_bytes,
        "cachedBytes": report.cached_bytes,
        "seconds": report.seconds,
        "leftOut": list(report.left_out),
    }
