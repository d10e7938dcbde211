"""A local RunPod with one endpoint, and a client of its job API."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from local_clouds.runpod import LocalRunPod

SAMPLE_WORKER = Path(__file__).parent / "sample_worker.py"


@dataclass
class Answer:
    """Status and JSON of an answer."""

    status: int
    body: Any


@dataclass
class ManualClock:
    """Milliseconds that pass only when told."""

    value: float = 1_000_000.0

    def __call__(self) -> float:
        return self.value

    def pass_seconds(self, seconds: float) -> None:
        """Moves on."""
        self.value += seconds * 1000


@dataclass
class Cloud:
    """The server, a client session, and what the server logged."""

    server: LocalRunPod
    session: aiohttp.ClientSession
    endpoint: str = "ep"
    lines: list[str] = field(default_factory=list[str])

    async def call(self, method: str, path: str, *, key: str | None = "rk-local", **arguments: Any) -> Answer:
        """One call of the endpoint's job API."""
        headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
        url = f"{self.server.api_url}/{self.endpoint}{path}"
        async with self.session.request(method, url, headers=headers, **arguments) as response:
            return Answer(response.status, await response.json())

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        """One call of a control route."""
        url = f"{self.server.api_url.removesuffix('/v2')}/_local{path}"
        async with self.session.request(method, url, json=body) as response:
            assert response.status < 300, await response.text()
            return await response.json() if response.content_type == "application/json" else None

    async def register(self, command: list[str] | None = None, **settings: Any) -> None:
        """Registers the endpoint; by default it runs the sample worker."""
        default = {"command": command or [sys.executable, str(SAMPLE_WORKER)], "idleTimeoutMs": 60_000}
        await self.control("PUT", f"/endpoints/{self.endpoint}", {**default, **settings})

    async def run(self, given: Any, **more: Any) -> str:
        """Submits a job and returns its id."""
        answer = await self.call("POST", "/run", json={"input": given, **more})
        assert answer.status == 200, answer
        assert answer.body["status"] == "IN_QUEUE"
        return answer.body["id"]

    async def status(self, job_id: str) -> dict[str, Any]:
        """The envelope of a job."""
        return (await self.call("GET", f"/status/{job_id}")).body

    async def until(self, job_id: str, *wanted: str) -> dict[str, Any]:
        """The envelope once the job has one of these states."""
        return await self.eventually(lambda: self.status(job_id), lambda job: job.get("status") in wanted)

    async def ended(self, job_id: str) -> dict[str, Any]:
        """The envelope of a job that has ended."""
        return await self.until(job_id, "COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT")

    async def workers(self) -> list[dict[str, Any]]:
        """The endpoint's workers."""
        return (await self.control("GET", "/state"))["endpoints"][self.endpoint]["workers"]

    async def eventually(
        self, ask: Callable[[], Any], holds: Callable[[Any], bool], seconds: float = 20
    ) -> Any:
        """Asks until the answer holds; fails with the last answer."""
        value: Any = None
        try:
            async with asyncio.timeout(seconds):
                while True:
                    value = await ask()
                    if holds(value):
                        return value
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"still {value!r}\n" + "\n".join(self.lines[-20:])) from None


@asynccontextmanager
async def running_cloud(
    folder: Path, *, worker_environment: Mapping[str, str] | None = None, **arguments: Any
) -> AsyncIterator[Cloud]:
    """A started local RunPod; everything is stopped at the end."""
    lines: list[str] = []
    server = LocalRunPod(folder, worker_environment=worker_environment, log=lines.append, **arguments)
    await server.start()
    try:
        async with aiohttp.ClientSession() as session:
            yield Cloud(server, session, lines=lines)
    finally:
        await server.stop()


def is_alive(pid: int) -> bool:
    """Whether a process with this id runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
