"""`python bench/overhead.py`: what the worker adds to a picture, beside a bare client of the same ComfyUI.

All contenders run the same model-free workflows on one warm engine, in turns, never twice the same picture:

- `bare`: what cannot be left out. One kept WebSocket, POST /prompt, the word that it has ended, /history, /view.
- `worker`: comfy_worker's JobRun, outputs read.
- `handler`: the whole RunPod handler with its claim on disk and its base64, as RunPod's SDK calls it.
- `worker-comfyui`: the community's handler, unmodified, when WORKER_COMFYUI_DIR names a checkout of its repository
  (https://github.com/runpod-workers/worker-comfyui) and WORKER_COMFYUI_PYTHON a Python with its requirements.

The engine is the one of COMFYUI_URL or COMFYUI_DIR (COMFYUI_ARGS=--cpu for a real one without a GPU), otherwise comfy-sim.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import os
import random
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from comfy_worker import DirectoryClaims, EngineConfig, Job, Worker
from local_clouds.engine import engine_environment
from ryla_runpod.handler import Handler

Workflow = dict[str, Any]
Contender = Callable[[Workflow], Awaitable[float]]


@dataclass(frozen=True)
class Case:
    """Pictures of one size."""

    name: str
    side: int
    pictures: int
    rounds: int


CASES = (Case("512", 512, 1, 60), Case("4096", 4096, 1, 7), Case("batch of 20, 512", 512, 20, 15))


def workflow_of(case: Case) -> Workflow:
    """A picture of a colour that no cache holds, saved."""
    color = random.getrandbits(24)
    image = {"width": case.side, "height": case.side, "batch_size": case.pictures, "color": color}
    return {
        "1": {"class_type": "EmptyImage", "inputs": image},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "bench"}},
    }


class Bare:
    """A client that does nothing else."""

    def __init__(
        self, url: str, session: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse
    ) -> None:
        self._url, self._session, self._socket = url, session, socket

    async def __call__(self, workflow: Workflow) -> float:
        begun = time.perf_counter()
        job_id = str(uuid.uuid4())
        body = {"prompt": workflow, "client_id": "bare", "prompt_id": job_id}
        async with self._session.post(f"{self._url}/prompt", json=body) as answer:
            assert answer.status == 200, await answer.text()
        await self._ended(job_id)
        async with self._session.get(f"{self._url}/history/{job_id}") as answer:
            outputs = (await answer.json())[job_id]["outputs"]
        for output in outputs.values():
            for image in output["images"]:
                async with self._session.get(f"{self._url}/view", params=image) as answer:
                    assert await answer.read()
        return milliseconds(begun)

    async def _ended(self, job_id: str) -> None:
        async for message in self._socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                found = json.loads(message.data)
                data = found["data"]
                if found["type"] == "executing" and data["node"] is None and data["prompt_id"] == job_id:
                    return


@contextlib.asynccontextmanager
async def bare_client(url: str) -> AsyncGenerator[Bare]:
    """Connected."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{url}/ws?clientId=bare", max_msg_size=0) as socket,
    ):
        yield Bare(url, session, socket)


def through_worker(worker: Worker) -> Contender:
    """The library alone."""

    async def run(workflow: Workflow) -> float:
        begun = time.perf_counter()
        async with worker.run_job(Job(str(uuid.uuid4()), workflow, previews=False)) as running:
            async for _ in running:
                pass
            for output in await running.outputs():
                await output.read()
        return milliseconds(begun)

    return run


def through_handler(worker: Worker, folder: Path) -> Contender:
    """As RunPod's SDK calls it; progress goes nowhere."""
    handler = Handler(worker, lambda job, progress: None, DirectoryClaims(folder))

    async def run(workflow: Workflow) -> float:
        begun = time.perf_counter()
        result = await handler({"id": str(uuid.uuid4()), "input": {"workflow": workflow}})
        assert "images" in result, result
        return milliseconds(begun)

    return run


@contextlib.asynccontextmanager
async def peer(url: str, environ: Mapping[str, str]) -> AsyncGenerator[Contender | None]:
    """The community's handler; nothing without a checkout."""
    checkout = environ.get("WORKER_COMFYUI_DIR")
    if not checkout:
        yield None
        return
    script = str(Path(__file__).with_name("peer.py"))
    host = url.partition("://")[2]
    process = await asyncio.create_subprocess_exec(
        *(environ.get("WORKER_COMFYUI_PYTHON") or sys.executable, script, checkout, host),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None

    async def run(workflow: Workflow) -> float:
        line = json.dumps({"id": str(uuid.uuid4()), "input": {"workflow": workflow}})
        stdin.write(line.encode() + b"\n")
        answer = json.loads(await stdout.readline())
        assert answer["pictures"] > 0, answer
        return float(answer["ms"])

    try:
        if not await stdout.readline():
            sys.exit(
                "worker-comfyui's handler does not start; set WORKER_COMFYUI_PYTHON to a Python that has its requirements."
            )
        yield run
    finally:
        stdin.close()
        await process.wait()


async def measure(
    cases: Sequence[Case], rounds_share: float, environ: Mapping[str, str]
) -> list[dict[str, Any]]:
    """One entry for each case: milliseconds of each contender."""
    with tempfile.TemporaryDirectory(prefix="ryla-bench-") as claims:
        async with Worker(EngineConfig.from_env(engine_environment(environ))) as worker:
            url = worker.process.url
            async with bare_client(url) as bare, peer(url, environ) as community:
                contenders: dict[str, Contender] = {
                    "bare": bare,
                    "worker": through_worker(worker),
                    "handler": through_handler(worker, Path(claims)),
                    **({} if community is None else {"worker-comfyui": community}),
                }
                return [await compare(case, contenders, rounds_share) for case in cases]


async def compare(case: Case, contenders: Mapping[str, Contender], share: float) -> dict[str, Any]:
    """Medians and 95th percentiles; the contenders take turns, in another order each round.

    `added` is the median of the differences to the bare client's picture of the same round, so that a load which comes
    and goes weighs little; `between` holds the true median with a probability of 95 %.
    """
    rounds = max(3, round(case.rounds * share))
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 2):
        for name in random.sample(list(contenders), len(contenders)):
            taken = await contenders[name](workflow_of(case))
            if number >= 2:  # the first ones warm up
                times[name].append(taken)
    return {
        "case": case.name,
        "rounds": rounds,
        "load": round(os.getloadavg()[0], 1),
        **{
            name: {
                "p50": round(statistics.median(taken), 2),
                "p95": round(statistics.quantiles(taken, n=20)[-1], 2),
                **difference(taken, times["bare"]),
            }
            for name, taken in times.items()
        },
    }


def difference(taken: Sequence[float], base: Sequence[float]) -> dict[str, Any]:
    """Median of the differences with its interval by order statistics, and the ratio of the medians."""
    differences = sorted(one - other for one, other in zip(taken, base, strict=True))
    reach = 0.98 * math.sqrt(len(differences))
    low = max(0, math.floor(len(differences) / 2 - reach))
    high = min(len(differences) - 1, math.ceil(len(differences) / 2 + reach))
    return {
        "added": round(statistics.median(differences), 2),
        "between": [round(differences[low], 2), round(differences[high], 2)],
        "ratio": round(statistics.median(taken) / statistics.median(base), 3),
    }


def milliseconds(begun: float) -> float:
    """Since then."""
    return (time.perf_counter() - begun) * 1000


def main() -> None:
    """One JSON object for each case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=float, default=1.0, help="share of the usual rounds (default: 1)")
    parser.add_argument(
        "--case", choices=[case.name for case in CASES], help="one of the cases (default: all)"
    )
    arguments = parser.parse_args()
    cases = [case for case in CASES if arguments.case in (None, case.name)]
    for entry in asyncio.run(measure(cases, arguments.rounds, os.environ)):
        print(json.dumps(entry), flush=True)


if __name__ == "__main__":
    main()
