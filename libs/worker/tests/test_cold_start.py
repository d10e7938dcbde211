"""A ComfyUI is started through our launcher: it reads ahead, waits when asked to, and never stands in the way.

The ComfyUI here is a folder with the files that the launcher looks for and a server that answers; the real one is
measured by `python -m comfy_worker.bench coldstart`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from comfy_worker import ComfyProcess, EngineConfig, EngineNotConfigured, Worker
from comfy_worker.weights import launch
from comfy_worker.weights.cold_start import ColdStart, ColdStartConfig, traced

MAIN = """
import argparse
from aiohttp import web
import comfy.options, comfy.sd, server
parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int)
arguments, _ = parser.parse_known_args()
print("argv", __name__, __file__, flush=True)
server.PromptServer.instance.port = arguments.port
app = web.Application()
async def stats(_):
    return web.json_response({})
app.router.add_get("/system_stats", stats)
web.run_app(app, host="127.0.0.1", port=arguments.port, print=None)
"""

FILES = {
    "main.py": MAIN,
    "comfyui_version.py": "__version__ = '0.3.64'",
    "cuda_malloc.py": "",
    "server.py": "class PromptServer:\n    class instance:\n        port = None\n",
    "comfy/__init__.py": "",
    "comfy/options.py": "def enable_args_parsing(): pass\n",
    "comfy/utils.py": "",
    "comfy/sd.py": "import comfy.utils\n",
}


@pytest.fixture
def comfyui(tmp_path: Path) -> Path:
    folder = tmp_path / "ComfyUI"
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def process(comfyui: Path, log: list[str], **config: object) -> ComfyProcess:
    start = ColdStartConfig(**config)  # pyright: ignore[reportArgumentType]
    return ComfyProcess(EngineConfig(directory=comfyui, cold_start=start), on_log=log.append)


async def test_comfyui_starts_as_ever_when_the_hook_cannot_be_installed(comfyui: Path) -> None:
    log: list[str] = []
    comfy = process(comfyui, log, weights="parallel")
    await comfy.start()
    await comfy.stop()
    assert f"argv __main__ {comfyui / 'main.py'}" in log
    # Without torch, or with a comfy.utils that is not ComfyUI's.
    assert [line for line in log if line.startswith("comfy_worker weights: off: ")]
    assert comfy.cold_start.left_to_comfyui
    assert comfy.cold_start.boot_seconds is not None


async def test_with_comfyuis_own_loader_the_launcher_stays_away(comfyui: Path) -> None:
    log: list[str] = []
    comfy = process(comfyui, log, weights="comfyui")
    await comfy.start()
    await comfy.stop()
    assert not [line for line in log if "comfy_worker" in line]


def test_what_is_not_comfyui_is_started_without_the_launcher(tmp_path: Path, comfyui: Path) -> None:
    parallel = ColdStartConfig(weights="parallel")
    assert ColdStart(parallel, tmp_path).launcher() == []
    assert ColdStart(parallel, tmp_path).launcher(hold=True) == []
    assert ColdStart(parallel, comfyui).launcher() == [launch.__file__]


async def test_models_are_read_ahead_of_the_first_job(comfyui: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    model.write_bytes(bytes(100_000))
    log: list[str] = []
    comfy = process(comfyui, log, read_ahead=(model, tmp_path / "missing"))
    await comfy.start()
    async with asyncio.timeout(30):
        while comfy.cold_start.models_read is None:
            await asyncio.sleep(0.01)
    await comfy.stop()
    report = comfy.cold_start.models_read
    assert report.read_bytes + report.cached_bytes == 100_000
    assert report.left_out == (str(tmp_path / "missing"),)
    assert comfy.cold_start.to_json()["modelsRead"]["leftOut"] == [str(tmp_path / "missing")]


async def test_a_prepared_process_imports_waits_and_goes_on(comfyui: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace.json"
    trace.write_text(json.dumps({"files": [], "libraries": {}, "modules": ["colorsys"]}), encoding="utf-8")
    log: list[str] = []
    comfy = process(comfyui, log, import_trace=trace)
    await comfy.prepare()
    facts = comfy.cold_start.held_facts
    assert facts is not None
    assert not facts["cudaInitialized"]
    assert facts["cudaProbes"] == []
    assert facts["gpuFiles"] == 0
    assert not [line for line in log if line.startswith("argv")]
    await comfy.start()
    assert [line for line in log if line.startswith("argv")]
    assert comfy.alive
    await comfy.stop()


def test_a_held_launcher_runs_comfyui_only_when_it_is_told(tmp_path: Path) -> None:
    told = tmp_path / "told"
    script = tmp_path / "main.py"
    script.write_text(f"import pathlib; print(pathlib.Path({str(told)!r}).exists())", encoding="utf-8")
    trace = tmp_path / "trace.json"
    trace.write_text('{"files": [], "libraries": {}, "modules": []}', encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, launch.__file__, "--hold", str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "COMFYUI_IMPORT_TRACE": str(trace)},
    ) as held:
        assert held.stdin is not None
        assert held.stdout is not None
        while not held.stdout.readline().startswith(launch.HELD):
            pass
        with pytest.raises(subprocess.TimeoutExpired):
            held.wait(0.5)  # one that does not wait would end by itself
        told.touch()
        held.stdin.close()
        assert held.stdout.read() == "True\n"


async def test_a_prepared_process_can_be_stopped(comfyui: Path) -> None:
    comfy = process(comfyui, [])
    await comfy.prepare()
    pid = comfy.pid
    assert pid is not None
    await comfy.stop()
    assert not Path(f"/proc/{pid}").exists()


async def test_the_first_start_writes_down_what_it_read(comfyui: Path, tmp_path: Path) -> None:
    trace = tmp_path / "traces" / "trace.json"
    comfy = process(comfyui, [], import_trace=trace)
    await comfy.start()
    async with asyncio.timeout(60):
        while not trace.exists():
            await asyncio.sleep(0.05)
    await comfy.stop()
    document = json.loads(trace.read_text(encoding="utf-8"))
    assert any(name.startswith(str(comfyui / "comfy")) for name in document["files"])
    assert "aiohttp" in document["modules"]
    assert not [name for name in document["modules"] if name.startswith("comfy")]
    wanted = traced(trace)
    assert len(wanted) == len(document["files"]) + len(document["libraries"])


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"files": 3, "libraries": {}}', '{"files": [], "libraries": []}']
)
def test_a_trace_that_cannot_be_read_is_no_trace(tmp_path: Path, content: str) -> None:
    path = tmp_path / "trace.json"
    path.write_text(content, encoding="utf-8")
    assert traced(path) == []
    assert traced(tmp_path / "missing") == []
    assert traced(None) == []


def test_a_library_is_traced_by_the_parts_that_were_touched() -> None:
    for path, parts in launch.touched_libraries().items():
        size = Path(path).stat().st_size
        end = 0
        for offset, nbytes in parts:
            assert offset >= end
            assert nbytes > 0
            end = offset + nbytes
        assert end <= size


def test_the_environment_says_what_is_read_and_how(comfyui: Path) -> None:
    env = {
        "COMFYUI_MODELS_DIR": "/models",
        "COMFYUI_READ_AHEAD": "checkpoints/a.safetensors:/elsewhere/b.safetensors",
        "COMFYUI_IMPORT_TRACE": "/cache/trace.json",
    }
    assert ColdStartConfig.from_env(env) == ColdStartConfig(
        "parallel",
        (Path("/models/checkpoints/a.safetensors"), Path("/elsewhere/b.safetensors")),
        Path("/cache/trace.json"),
    )
    assert ColdStartConfig.from_env({"COMFYUI_WEIGHTS": "comfyui"}).weights == "comfyui"
    off = ColdStartConfig.from_env({**env, "COMFYUI_GPU_READ_AHEAD": "off"})
    assert ColdStart(off, comfyui).environment()[launch.GPU_FILES] == ""
    on = ColdStart(ColdStartConfig.from_env(env), comfyui).environment()[launch.GPU_FILES]
    assert on == "/models/checkpoints/a.safetensors:/elsewhere/b.safetensors"
    with pytest.raises(EngineNotConfigured, match="COMFYUI_GPU_READ_AHEAD"):
        EngineConfig.from_env({"COMFYUI_GPU_READ_AHEAD": "maybe", "COMFYUI_DIR": str(comfyui)})
    with pytest.raises(EngineNotConfigured, match="COMFYUI_WEIGHTS"):
        EngineConfig.from_env({"COMFYUI_WEIGHTS": "fast", "COMFYUI_DIR": str(comfyui)})


def test_the_log_tells_what_was_loaded() -> None:
    start = ColdStart(ColdStartConfig(), None)
    start.log_line(
        "comfy_worker weights: read 23796645888 bytes of a b.safetensors, c.safetensors to cuda:0 in 0.957 s"
    )
    start.log_line(
        "comfy_worker weights: handed over 9524215808 bytes of a b.safetensors, read ahead to cuda:0, after 0.003 s"
    )
    start.log_line("[INFO] comfy_worker weights: left to ComfyUI's own loader: files of type .ckpt")
    start.log_line("comfy_worker weights: off: ComfyUI 9.9 was not tested with it")
    start.log_line("loaded completely")
    assert start.to_json()["reads"] == [
        {
            "files": "a b.safetensors, c.safetensors",
            "bytes": 23796645888,
            "device": "cuda:0",
            "seconds": 0.957,
            "ahead": False,
        },
        {
            "files": "a b.safetensors",
            "bytes": 9524215808,
            "device": "cuda:0",
            "seconds": 0.003,
            "ahead": True,
        },
    ]
    assert start.left_to_comfyui == ["files of type .ckpt", "ComfyUI 9.9 was not tested with it"]


def test_the_launcher_needs_nothing_of_the_package(tmp_path: Path) -> None:
    script = tmp_path / "main.py"
    script.write_text("import sys; print(sys.argv[1:], 'comfy_worker' in sys.modules)", encoding="utf-8")
    launcher = str(Path(launch.__file__))
    done = subprocess.run(
        [sys.executable, "-I", launcher, str(script), "--x"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "['--x'] False\n"


async def test_a_worker_goes_on_with_what_was_prepared(comfyui: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace.json"
    trace.write_text(json.dumps({"files": [], "libraries": {}, "modules": ["colorsys"]}), encoding="utf-8")
    config = EngineConfig(directory=comfyui, cold_start=ColdStartConfig(import_trace=trace))
    worker = Worker(config)
    await worker.prepare()
    assert worker.process.prepared
    pid = worker.process.pid
    try:
        await worker.start()
        assert worker.process.pid == pid
        assert not worker.process.prepared
    finally:
        await worker.stop()


async def test_a_prepared_process_that_has_ended_is_started_anew(comfyui: Path) -> None:
    worker = Worker(EngineConfig(directory=comfyui))
    await worker.prepare()
    pid = worker.process.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(30):
        await worker.process.exited.wait()
    assert not worker.process.prepared
    try:
        await worker.start()
        assert worker.process.pid != pid
        assert worker.process.alive
    finally:
        await worker.stop()
