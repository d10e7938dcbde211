"""A caller that mints ids, submits, and asks until it knows: what an application does when answers are lost."""

from __future__ import annotations

import asyncio
import random
import uuid
from dataclasses import dataclass, field
from typing import Any

import httpx
from ryla_modal.job_claims import ATTEMPTS

from .clouds import Cloud

TERMINAL = ("succeeded", "failed", "canceled", "expired")
PAUSE = 0.1


def workflow_of(job_id: str) -> dict[str, Any]:
    """A picture of the job's own colour."""
    picture = {"width": 16, "height": 16, "batch_size": 1, "color": int(job_id[:6], 16)}
    return {
        "1": {"class_type": "EmptyImage", "inputs": picture},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "k"}},
    }


@dataclass(frozen=True)
class End:
    """How a job ended."""

    attempt: int
    has_result: bool
    gave_up: bool
    """Told as failed, after the workers of all attempts were lost."""
    said: str
    commits: int = 1
    """Different results that were delivered for it."""


@dataclass
class Caller:
    """Jobs on Modal, one after the other, several at once."""

    cloud: Cloud
    random: random.Random
    submitted: set[str] = field(default_factory=set[str])
    accepted: set[str] = field(default_factory=set[str])
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the first job has ended: from then on everything is warm."""
    unanswered: int = 0
    """Submissions whose answer was lost, or an error of the server."""

    async def submit_until(self, stopped: asyncio.Event) -> None:
        """Submits a job, waits for its end, and goes on with the next, until it is told to stop."""
        while not stopped.is_set():
            job_id = str(uuid.UUID(int=self.random.getrandbits(128), version=4))
            self.submitted.add(job_id)
            await self._submit(job_id)
            self.accepted.add(job_id)
            await self.ended(job_id)
            self.begun.set()

    async def _submit(self, job_id: str) -> None:
        workflow = workflow_of(job_id)
        while True:
            status, _ = await self._ask(
                "POST", "/api/v2/jobs", {"Ryla-Job-Id": job_id}, {"workflow": workflow}
            )
            if status == 201:
                return
            self.unanswered += 1
            known, _ = await self._ask("GET", f"/api/ryla/jobs/{job_id}")
            if known == 200:
                return
            await asyncio.sleep(PAUSE)

    async def ended(self, job_id: str) -> End:
        """How the job ended, once it has."""
        details = await self._details(job_id)
        job, attempt = details["job"], details["attempt"]
        lost = job["status"] == "failed" and job["error"]["code"] == "worker_lost"
        has_result = job["status"] == "succeeded" and bool(job["outputs"])
        return End(attempt, has_result, lost and attempt >= ATTEMPTS, f"{job['status']}: {job['error']}")

    async def _details(self, job_id: str) -> dict[str, Any]:
        while True:
            status, details = await self._ask("GET", f"/api/ryla/jobs/{job_id}")
            if status == 404:
                raise AssertionError(f"job {job_id} was accepted and is not known any more")
            if status == 200 and details["job"]["status"] in TERMINAL:
                return details
            await asyncio.sleep(PAUSE)

    async def _ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: Any = None
    ) -> tuple[int, Any]:
        """Status and JSON of an answer; status 0 when there was none."""
        try:
            given = {**self.cloud.headers, **(headers or {})}
            answer = await self.cloud.http.request(
                method, self.cloud.url + path, headers=given, json=body, follow_redirects=True
            )
            return answer.status_code, answer.json() if answer.status_code < 300 else None
        except (httpx.TransportError, ValueError):
            return 0, None
