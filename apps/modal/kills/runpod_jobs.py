"""A caller of a RunPod endpoint whose workers claim jobs: it sends a job again whenever it cannot know better."""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from dataclasses import dataclass, field
from typing import Any

import httpx

from .clouds import RunPodCloud
from .jobs import PAUSE, End, workflow_of

SENT_TWICE = 0.3
"""Share of the submissions that are sent once more, as after a lost answer."""

TERMINAL = ("COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT")


@dataclass
class RunPodCaller:
    """Jobs on one endpoint, one after the other, several at once."""

    cloud: RunPodCloud
    endpoint: str
    random: random.Random
    submitted: set[str] = field(default_factory=set[str])
    accepted: set[str] = field(default_factory=set[str])
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the first job has ended: from then on everything is warm."""
    unanswered: int = 0
    """Submissions sent again: twice at once, or after their worker was lost."""
    deliveries: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """RunPod's ids of each job, in the order of their submission."""
    _waits: dict[str, asyncio.Task[End]] = field(default_factory=dict[str, "asyncio.Task[End]"])

    async def submit_until(self, stopped: asyncio.Event) -> None:
        """Submits a job, waits for its end, and goes on with the next, until it is told to stop."""
        while not stopped.is_set():
            job_id = str(uuid.UUID(int=self.random.getrandbits(128), version=4))
            self.submitted.add(job_id)
            await self._submit(job_id)
            if self.random.random() < SENT_TWICE:
                self.unanswered += 1
                await self._submit(job_id)
            self.accepted.add(job_id)
            await self.ended(job_id)
            self.begun.set()

    async def ended(self, job_id: str) -> End:
        """How the job ended, once all of its deliveries have: their results must be one."""
        if job_id not in self._waits:
            self._waits[job_id] = asyncio.create_task(self._follow(job_id))
        return await self._waits[job_id]

    async def _follow(self, job_id: str) -> End:
        at = 0
        results: dict[str, dict[str, Any]] = {}
        while at < len(self.deliveries[job_id]) or not results:
            if at == len(self.deliveries[job_id]):
                # Every delivery failed, and none says that the job did: it is sent anew, or delivered again.
                await asyncio.sleep(PAUSE)
                self.unanswered += 1
                if await self._retry(job_id):
                    at -= 1
                else:
                    await self._submit(job_id)
            delivery = await self._terminal(self.deliveries[job_id][at])
            at += 1
            if delivery["status"] == "COMPLETED":
                output = delivery["output"]
                results[f"{output['attempt']} of {output['workerId']}"] = output
            elif not _is_open(delivery):
                return End(0, has_result=False, gave_up=False, said=json.dumps(delivery))
        attempts = [output["attempt"] for output in results.values()]
        has_result = all(output["images"] for output in results.values())
        return End(max(attempts), has_result, gave_up=False, said="; ".join(results), commits=len(results))

    async def _retry(self, job_id: str) -> bool:
        """Sometimes has RunPod deliver its own job again, in place of a new one."""
        if self.random.random() < 0.5:
            return False
        status, _ = await self._ask("POST", f"retry/{self.deliveries[job_id][-1]}")
        return status == 200

    async def _submit(self, job_id: str) -> None:
        body = {"input": {"workflow": workflow_of(job_id), "jobId": job_id}}
        while True:
            status, answer = await self._ask("POST", "run", body)
            if status == 200:
                self.deliveries.setdefault(job_id, []).append(answer["id"])
                return
            await asyncio.sleep(PAUSE)

    async def _terminal(self, runpod_id: str) -> dict[str, Any]:
        while True:
            status, answer = await self._ask("GET", f"status/{runpod_id}")
            if status == 404:
                raise AssertionError(f"RunPod's job {runpod_id} was accepted and is not known any more")
            if status == 200 and answer["status"] in TERMINAL:
                return answer
            await asyncio.sleep(PAUSE)

    async def _ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of an answer; status 0 when there was none."""
        try:
            url = f"{self.cloud.url}/{self.endpoint}/{path}"
            answer = await self.cloud.http.request(method, url, headers=self.cloud.headers, json=body)
            return answer.status_code, answer.json() if answer.status_code < 300 else None
        except (httpx.TransportError, ValueError):
            return 0, None


def _is_open(delivery: dict[str, Any]) -> bool:
    """Whether a failed delivery leaves open what becomes of the job: its worker was lost, or another had it."""
    try:
        error = json.loads(delivery.get("error") or "")
    except ValueError:
        return False
    return bool(error.get("retryable")) or error.get("code") == "already_claimed"
