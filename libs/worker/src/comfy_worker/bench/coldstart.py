"""Starts ComfyUI until it has made two pictures, in every combination of loader and page cache, and times it."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import platform
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..engine import EngineConfig
from ..job import Job
from ..process import ComfyProcess
from ..weights.cold_start import ColdStartConfig
from ..weights.reading import CHUNK_BYTES, thread_count
from ..worker import Worker
from .pictures import MODELS, workflow
from .raw_limits import device_copy, drop_page_cache, has_bytecode, read_seconds

LOADERS = ("comfyui", "parallel")
STATES = ("cold", "cached")
START_TIMEOUT = 600.0
NO_BYTECODE = (
    "torch has no bytecode beside its sources: every boot compiles them again, unlike in an image that was built "
    "with `python -m compileall` or `uv pip install --compile-bytecode`."
)
WRITER = Path(__file__).with_name("random_weights.py")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured."""

    engine: EngineConfig
    arguments: tuple[str, ...]
    model: str
    loaders: tuple[str, ...]
    states: tuple[str, ...]
    steps: int
    size: int
    hold: bool
    on_log: Callable[[str], None]
    on_phase: Callable[[str], None]


async def measure(plan: Plan, models_dir: Path) -> dict[str, Any]:
    """Every figure as one document; bytes and seconds."""
    plan.on_phase(f"writing random weights of {plan.model} (those that are missing) into {models_dir}")
    written = await _write_weights(plan, models_dir)
    files = [models_dir / name for name in MODELS[plan.model].files]
    total = sum(file.stat().st_size for file in files)
    plan.on_phase("raw limits")
    dropped = drop_page_cache(files)
    cold_read = await asyncio.to_thread(read_seconds, files)
    cached_read = await asyncio.to_thread(read_seconds, files)
    copy = await asyncio.to_thread(device_copy, plan.engine.python)
    trace = models_dir / "import-trace.json"
    runs: list[dict[str, Any]] = []
    if "parallel" in plan.loaders and not trace.exists():
        plan.on_phase("one start for the trace of what is imported")
        await _trace(plan, models_dir, trace)
    for state in plan.states:
        for loader in plan.loaders:
            plan.on_phase(f"{state}, {loader}")
            if state == "cold":
                drop_page_cache(files)
            runs.append({"state": state, "loader": loader, **await _run(plan, loader, models_dir, trace)})
    return {
        "model": plan.model,
        "bytes": total,
        "machine": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "pageCache": dropped,
        "bytecode": await asyncio.to_thread(has_bytecode, plan.engine.python),
        "threads": thread_count(),
        "chunkBytes": CHUNK_BYTES,
        "picture": f"{plan.size}x{plan.size}, {plan.steps} steps",
        "written": written,
        "raw": {"coldReadSeconds": cold_read, "cachedReadSeconds": cached_read, "deviceCopy": copy},
        "runs": runs,
    }


def _engine(plan: Plan, loader: str, models_dir: Path, trace: Path | None) -> EngineConfig:
    ours = loader == "parallel"
    files = tuple(models_dir / name for name in MODELS[plan.model].files)
    return dataclasses.replace(
        plan.engine,
        models_dir=models_dir,
        args=plan.arguments,
        start_timeout=START_TIMEOUT,
        hang_timeout=START_TIMEOUT,
        cold_start=ColdStartConfig(loader, files if ours else (), trace if ours else None),
    )


async def _trace(plan: Plan, models_dir: Path, trace: Path) -> None:
    process = ComfyProcess(_engine(plan, "parallel", models_dir, trace), on_log=plan.on_log)
    await process.start()
    try:
        async with asyncio.timeout(START_TIMEOUT):
            while not trace.exists():
                await asyncio.sleep(0.2)
    finally:
        await process.stop()


async def _run(plan: Plan, loader: str, models_dir: Path, trace: Path) -> dict[str, Any]:
    worker = Worker(_engine(plan, loader, models_dir, trace), on_log=plan.on_log)
    held: float | None = None
    if plan.hold:
        started = time.monotonic()
        await worker.prepare()
        held = time.monotonic() - started
    started = time.monotonic()
    async with worker:
        boot = time.monotonic() - started
        first, picture = await _picture(plan, worker, 1)
        second, _ = await _picture(plan, worker, 2)
        facts = worker.process.cold_start
        return {
            "holdSeconds": held,
            "held": facts.held_facts,
            "bootSeconds": boot,
            "firstPictureSeconds": first,
            "secondPictureSeconds": second,
            "totalSeconds": boot + first,
            "firstPictureSha256": hashlib.sha256(picture).hexdigest(),
            "firstPictureBytes": len(picture),
            "coldStart": facts.to_json(),
        }


async def _picture(plan: Plan, worker: Worker, seed: int) -> tuple[float, bytes]:
    """Seconds until the picture is there, and its file."""
    started = time.monotonic()
    graph = workflow(plan.model, seed=seed, size=plan.size, steps=plan.steps)
    async with worker.run_job(Job(str(uuid.uuid4()), graph)) as running:
        outputs = await running.outputs()
        seconds = time.monotonic() - started
        return seconds, await outputs[0].read()


async def _write_weights(plan: Plan, models_dir: Path) -> dict[str, Any]:
    models_dir.mkdir(parents=True, exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        str(plan.engine.python),
        str(WRITER),
        str(plan.engine.directory),
        plan.model,
        str(models_dir),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, errors = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise RuntimeError(
            f"The random weights could not be written:\n{errors.decode(errors='replace')[-4000:]}"
        )
    return json.loads(output.decode().strip().splitlines()[-1])


def table(result: dict[str, Any]) -> str:
    """The document for people."""
    raw, total = result["raw"], result["bytes"]
    copy = raw["deviceCopy"]
    lines = [
        f"{result['model']}, {total / 1e9:.2f} GB of random weights; pictures of {result['picture']}",
        f"{result['machine']}; {result['threads']} threads; page cache "
        + (
            "dropped"
            if result["pageCache"] == "dropped"
            else "only advised to forget the weights, not the imports"
        ),
        *([] if result["bytecode"] else [NO_BYTECODE]),
        "",
        f"raw parallel read, cold     {raw['coldReadSeconds']:8.2f} s  {total / raw['coldReadSeconds'] / 1e9:6.1f} GB/s",
        f"raw parallel read, cached   {raw['cachedReadSeconds']:8.2f} s  {total / raw['cachedReadSeconds'] / 1e9:6.1f} GB/s",
        f"copy to {copy['gpu']}: {copy['bytesPerSecond'] / 1e9:.1f} GB/s"
        if copy
        else "copy to a GPU: no GPU here",
        "",
        f"{'':18} {'boot':>8} {'model':>8} {'first':>8} {'second':>8} {'together':>9} {'of raw cold':>12}",
    ]
    for run in result["runs"]:
        reads = run["coldStart"]["reads"]
        reading = f"{sum(one['seconds'] for one in reads):8.2f}" if reads else f"{'-':>8}"
        lines.append(
            f"{run['state'] + ', ' + run['loader']:18} {run['bootSeconds']:8.2f} {reading} "
            f"{run['firstPictureSeconds']:8.2f} {run['secondPictureSeconds']:8.2f} {run['totalSeconds']:9.2f} "
            f"{run['totalSeconds'] / raw['coldReadSeconds']:12.2f}"
        )
    lines += [
        "",
        "Seconds. boot: start until ComfyUI answers. model: what ComfyUI waited for our reads, part of the first picture.",
        "first, second: from submitting a workflow to its picture. together: boot and first, also as a multiple of the",
        "raw cold read.",
    ]
    pictures = {run["firstPictureSha256"] for run in result["runs"]}
    if len(result["runs"]) > 1:
        lines.append(
            "Every run made the same first picture, byte by byte."
            if len(pictures) == 1
            else f"The runs made {len(pictures)} different first pictures."
        )
    held = next((run["held"] for run in result["runs"] if run["held"]), None)
    if held:
        lines.append(f"Imports before the start (a snapshot's): {json.dumps(held)}")
    return "\n".join(lines)
