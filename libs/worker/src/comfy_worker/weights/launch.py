"""Starts ComfyUI with the hook: `python launch.py [--hold] MAIN.PY ARGUMENTS…`, in ComfyUI's own Python.

With --hold it imports what ComfyUI needs, makes its tokenizers and does not touch a GPU, says so, and goes on when it
reads a line: what a memory snapshot of a container may hold. It never fails by itself: whatever goes wrong here is logged, and ComfyUI
starts as ever.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import runpy
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGE = "comfy_worker_weights"
"""Name of our modules in ComfyUI's process, which has no comfy_worker."""

HELD = "comfy_worker weights: imports done"
"""The line that says that --hold waits; what was asked of CUDA follows as JSON."""

HOOK_AFTER = "comfy.sd"
"""When ComfyUI has imported this, everything that the hook wraps exists."""

GPU_FILES = "COMFY_WORKER_GPU_FILES"
"""Variable with the files to read onto the GPU ahead, absolute paths with `:` between them; ours, not the user's."""

REQUIREMENTS = (
    "numpy",
    "torch",
    "torchvision",
    "torchaudio",
    "torchsde",
    "einops",
    "safetensors.torch",
    "transformers",
    "tokenizers",
    "sentencepiece",
    "aiohttp",
    "yaml",
    "PIL.Image",
    "scipy",
    "scipy.stats",
    "tqdm",
    "psutil",
    "alembic",
    "sqlalchemy",
    "av",
    "kornia",
    "spandrel",
    "pydantic",
    "pydantic_settings",
)
"""What --hold imports without a trace of an earlier start: ComfyUI 0.3.64's requirements.txt."""

LARGEST_TRACED = 64 << 20
"""Bytes of the largest file in a trace: code and settings are small, models are not part of a start."""

TRACE_BLOCK = 1 << 20
"""Bytes of the parts in which a trace counts what of a library was touched."""

TRACE_QUIET = 2.0
"""Seconds without a new module after which a start counts as done, for its trace."""


def main(arguments: list[str]) -> None:
    """Never returns before ComfyUI ends."""
    hold = arguments[:1] == ["--hold"]
    script = Path(arguments[1 if hold else 0]).resolve()
    sys.argv = [str(script), *arguments[2 if hold else 1 :]]
    sys.path[0] = str(script.parent)  # as `python main.py` has it
    _attempt(_load_package)
    _attempt(lambda: _garbage().pause())
    ours = os.environ.get("COMFYUI_WEIGHTS", "comfyui") != "comfyui"
    if ours:
        sys.meta_path.insert(0, AfterImport(HOOK_AFTER, lambda: _attempt(_install)))
        sys.meta_path.insert(0, AfterImport("execution", lambda: _attempt(lambda: _hook().watch_prompts())))
    trace = os.environ.get("COMFYUI_IMPORT_TRACE")
    if trace and not Path(trace).exists():
        opened: dict[str, None] = {}
        sys.addaudithook(lambda event, args: _note_opened(opened, event, args))
        threading.Thread(
            target=_attempt, args=(lambda: _write_trace(Path(trace), opened),), daemon=True
        ).start()
    if hold:
        _hold(trace, ours)
        if ours:
            _attempt(lambda: _install("begin_early"))
    _attempt(lambda: _garbage().resume_when(_serving))
    runpy.run_path(str(script), run_name="__main__")


def _attempt(action: Callable[[], Any]) -> None:
    try:
        action()
    except Exception as error:
        print(f"comfy_worker weights: off: {type(error).__name__}: {error}", flush=True)


def _load_package() -> None:
    folder = Path(__file__).parent
    spec = importlib.util.spec_from_file_location(
        PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = module
    spec.loader.exec_module(module)


def _garbage() -> Any:
    return importlib.import_module(f"{PACKAGE}.garbage")


def _install(call: str = "install") -> None:
    version = importlib.import_module("comfyui_version").__version__
    files = [name for name in os.environ.get(GPU_FILES, "").split(os.pathsep) if name]
    force = os.environ.get("COMFYUI_WEIGHTS") == "force"
    getattr(_hook(), call)(version, force=force, files=files, serving=_serving)


def _hook() -> Any:
    return importlib.import_module(f"{PACKAGE}.comfy_hook")


class AfterImport(importlib.abc.MetaPathFinder):
    """Calls `action` once, right after the module `name` was imported."""

    def __init__(self, name: str, action: Callable[[], None]) -> None:
        self._name, self._action = name, action

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec of the next finder, its loader followed by the action."""
        if fullname != self._name:
            return None
        sys.meta_path.remove(self)
        spec = _next_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            self._action()

        setattr(spec.loader, "exec_module", exec_module)  # noqa: B010
        return spec


def _next_spec(
    name: str, path: Sequence[str] | None, target: ModuleType | None
) -> importlib.machinery.ModuleSpec | None:
    for finder in sys.meta_path:
        spec = finder.find_spec(name, path, target)
        if spec is not None:
            return spec
    return None


def _hold(trace: str | None, ours: bool) -> None:
    started = time.monotonic()
    probes: list[str] = []
    _attempt(_settings_before_torch)
    for name in _to_import(trace):
        try:
            importlib.import_module(name)
        except Exception as error:
            print(f"comfy_worker weights: {name} is not imported ahead: {error}", flush=True)
        if name == "torch":
            _attempt(lambda: _watch_cuda(probes))
    if ours:
        held = f"{PACKAGE}.held"
        _attempt(lambda: importlib.import_module(held).prepare_tokenizers(Path(sys.path[0]) / "comfy"))
        _attempt(lambda: importlib.import_module(held).load_libraries())
    facts = {
        "seconds": round(time.monotonic() - started, 3),
        "modules": len(sys.modules),
        "cudaProbes": probes,
        "cudaInitialized": _cuda_initialized(),
        "gpuFiles": _open_gpu_files(),
    }
    print(f"{HELD} {json.dumps(facts)}", flush=True)
    sys.stdin.readline()


def _settings_before_torch() -> None:
    # ComfyUI sets the allocator's backend before it imports torch; so must we. Neither module imports torch.
    importlib.import_module("comfy.options").enable_args_parsing()
    importlib.import_module("cuda_malloc")


def _to_import(trace: str | None) -> Sequence[str]:
    if trace:
        try:
            modules = json.loads(Path(trace).read_text(encoding="utf-8"))["modules"]
            return ["torch", *(str(name) for name in modules)]
        except (OSError, ValueError, KeyError):
            pass
    return REQUIREMENTS


def _watch_cuda(probes: list[str]) -> None:
    torch: Any = sys.modules["torch"]
    own = torch._C._cuda_getDeviceCount

    def counted() -> int:
        frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
        while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("torch"):
            frame = frame.f_back
        probes.append(str(frame.f_globals.get("__name__")))
        return own()

    torch._C._cuda_getDeviceCount = counted


def _cuda_initialized() -> bool | None:
    torch: Any = sys.modules.get("torch")
    return None if torch is None else bool(torch.cuda.is_initialized())


def _open_gpu_files() -> int:
    try:
        targets = [os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    except OSError:
        return 0
    return sum(target.startswith("/dev/nvidia") for target in targets)


def _note_opened(opened: dict[str, None], event: str, args: tuple[Any, ...]) -> None:
    """An audit hook: files and folders in the order in which Python first opens them."""
    if event in ("open", "os.listdir", "os.scandir") and args and isinstance(args[0], str):
        opened.setdefault(args[0])


def _write_trace(path: Path, opened: dict[str, None]) -> None:
    """Waits until ComfyUI's server stands and imports have ended; then writes what was read, in that order."""
    known = -1
    while len(sys.modules) != known or not _serving():
        known = len(sys.modules)
        time.sleep(TRACE_QUIET)
    home = str(Path(sys.argv[0]).parent) + os.sep
    modules = [
        name
        for name, module in list(sys.modules.items())
        if name != "__main__"
        and not name.startswith(PACKAGE)
        and (file := getattr(module, "__file__", None))
        and not str(file).startswith(home)
    ]
    files = [os.path.abspath(file) for file in list(opened) if _is_traced(os.path.abspath(file))]
    document = {"files": files, "libraries": touched_libraries(), "modules": modules}
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial.write_text(json.dumps(document), encoding="utf-8")
    partial.replace(path)


def _is_traced(file: str) -> bool:
    if file.startswith(("/proc/", "/sys/", "/dev/")) or _is_library(file):
        return False
    return os.path.isdir(file) or (os.path.isfile(file) and os.path.getsize(file) <= LARGEST_TRACED)


def _serving() -> bool:
    server: Any = sys.modules.get("server")
    instance = getattr(getattr(server, "PromptServer", None), "instance", None)
    return getattr(instance, "port", None) is not None


def _is_library(path: str) -> bool:
    name = os.path.basename(path)
    return name.endswith(".so") or ".so." in name


def touched_libraries() -> dict[str, list[list[int]]]:
    """Path of each mapped shared library to the parts that this process touched: lists of [offset, bytes].

    From /proc/self/maps and pagemap; without the latter each library counts as touched from end to end. A library of
    CUDA has hundreds of megabytes, of which an import touches a few.
    """
    touched: dict[str, set[int]] = {}
    whole: dict[str, list[list[int]]] = {}
    page = os.sysconf("SC_PAGE_SIZE")
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    for fields in (line.split(maxsplit=5) for line in lines):
        if len(fields) < 6 or not _is_library(fields[5]) or not os.path.isfile(fields[5]):
            continue
        start, end = (int(part, 16) for part in fields[0].split("-"))
        pages = _present_pages(start // page, end // page)
        if pages is None:
            whole[fields[5]] = [[0, os.path.getsize(fields[5])]]
        else:
            blocks = touched.setdefault(fields[5], set())
            blocks.update((int(fields[2], 16) + index * page) // TRACE_BLOCK for index in pages)
    return {path: _ranges(blocks, os.path.getsize(path)) for path, blocks in touched.items()} | whole


def _present_pages(first: int, last: int) -> list[int] | None:
    try:
        with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
            pagemap.seek(first * 8)
            entries = pagemap.read((last - first) * 8)
    except OSError:
        return None
    # Bit 63 of an entry: the page is present (Linux, Documentation/admin-guide/mm/pagemap.rst).
    return [index for index in range(len(entries) // 8) if entries[index * 8 + 7] & 0x80]


def _ranges(blocks: set[int], size: int) -> list[list[int]]:
    ranges: list[list[int]] = []
    for block in sorted(blocks):
        begin, end = block * TRACE_BLOCK, min((block + 1) * TRACE_BLOCK, size)
        if ranges and ranges[-1][0] + ranges[-1][1] == begin:
            ranges[-1][1] += end - begin
        elif end > begin:
            ranges.append([begin, end - begin])
    return ranges


if __name__ == "__main__":
    main(sys.argv[1:])
