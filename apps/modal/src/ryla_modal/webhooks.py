"""Webhooks: signed as Standard Webhooks 1.0.0 has it, sent to public hosts only."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import logging
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import aiohttp
from comfy_worker.public_address import PublicResolver, url_problem

from .api_error import ApiError
from .jobs import TERMINAL, Jobs
from .limits import URL_LENGTH
from .stores import timestamp

SECRETS_VARIABLE = "RYLA_WEBHOOK_SECRETS"
"""Secrets (`whsec_…`) to sign with, the newest first, with blanks or commas between them."""

RETRY_SECONDS = (5.0, 30.0, 120.0, 600.0)
"""Waits after failed attempts: five attempts in 13 minutes, up to a tenth more by chance."""

ANSWER_SECONDS = 20.0
"""For a receiver to answer (Standard Webhooks recommends 15 to 30 s)."""

ASK_SECONDS = (0.25, 2.0)
"""Between two questions whether the job has ended: the first, and the longest."""

log = logging.getLogger("ryla_modal")


class Notifier(Protocol):
    """Starts something that waits for a job's end and tells its webhook."""

    async def watch(self, job_id: str) -> None:
        """Begins; returns at once."""
        ...


def parse_secrets(text: str) -> tuple[bytes, ...]:
    """The keys in RYLA_WEBHOOK_SECRETS. Raises ValueError, which does not hold a secret."""
    keys: list[bytes] = []
    for number, secret in enumerate(text.replace(",", " ").split(), start=1):
        try:
            key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            key = b""
        if not secret.startswith("whsec_") or not 24 <= len(key) <= 64:
            raise ValueError(
                f"{SECRETS_VARIABLE}, number {number}: write whsec_ and base64 of 24 to 64 bytes."
            )
        keys.append(key)
    return tuple(keys)


def check_webhook_url(value: Any, *, allow_private: bool = False) -> str:
    """The address of a webhook. Names are judged again when they are resolved, at every connection.

    Raises ApiError 422 `untrusted_url`.
    """
    problem = url_problem(value, allow_private=allow_private, length=URL_LENGTH)
    if problem is not None:
        raise ApiError(422, "untrusted_url", f"Webhooks are not sent to this address: {problem}.")
    return value


def sign(keys: Sequence[bytes], message_id: str, moment: int, body: bytes) -> dict[str, str]:
    """The headers of a signed message; one signature for each key."""
    content = f"{message_id}.{moment}.".encode() + body
    signatures = [base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode() for key in keys]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(moment),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


class WebhookSender:
    """Waits for a job's end and tells its webhook, whatever the end was. Knows a job by its id, so that it can be
    started again."""

    def __init__(
        self,
        jobs: Jobs,
        keys: Sequence[bytes],
        *,
        allow_private: bool = False,
        retry_seconds: Sequence[float] = RETRY_SECONDS,
    ) -> None:
        """`allow_private`: also http and hosts of this machine; for tests and receivers of one's own."""
        self._jobs = jobs
        self._keys = keys
        self._allow_private = allow_private
        self._retry_seconds = retry_seconds

    async def run(self, job_id: str) -> bool:
        """Sends the message of a job; whether it was delivered."""
        webhook = await self._jobs.webhook(job_id)
        if webhook is None or webhook["state"] != "pending":
            return webhook is not None and webhook["state"] == "delivered"
        job = await self._ended(job_id)
        body = json.dumps(message_of(job), separators=(",", ":")).encode()
        problem = ""
        for attempt, wait in enumerate((*self._retry_seconds, None), start=1):
            problem = await self._attempt(webhook["url"], f"msg_{job_id}", body)
            state = "delivered" if problem == "" else "pending" if wait is not None else "failed"
            noted = {"state": state, "attempts": attempt, "error": problem or None}
            await self._jobs.note_webhook(job_id, {**webhook, **noted})
            if problem == "":
                return True
            if wait is not None:
                await asyncio.sleep(wait * (1 + random.random() / 10))
        log.warning("webhook of job %s was given up: %s", job_id, problem)
        return False

    async def _ended(self, job_id: str) -> dict[str, Any]:
        wait, longest = ASK_SECONDS
        while True:
            job = await self._jobs.get(job_id)
            if job["status"] in TERMINAL:
                return job
            await asyncio.sleep(wait)
            wait = min(longest, wait * 1.5)

    async def _attempt(self, url: str, message_id: str, body: bytes) -> str:
        """Sends once; what went wrong, or nothing."""
        try:
            check_webhook_url(url, allow_private=self._allow_private)
            resolver = None if self._allow_private else PublicResolver()
            connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, force_close=True)
            timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
            headers = {"Content-Type": "application/json", "User-Agent": "ryla-modal"}
            headers |= sign(self._keys, message_id, int(time.time()), body)
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
                session.post(url, data=body, headers=headers, allow_redirects=False) as answer,
            ):
                return "" if 200 <= answer.status < 300 else f"it answered {answer.status}"
        except ApiError as error:
            return error.message
        except TimeoutError:
            return f"no answer in {ANSWER_SECONDS:g} s"
        except aiohttp.ClientConnectorError as error:
            return f"no connection: {error.os_error}"[:200]
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return f"{type(error).__name__}: {error}"[:200]


def message_of(job: Mapping[str, Any]) -> dict[str, Any]:
    """What a webhook says: that a job ended, and how. Ask for the job to get its outputs."""
    error = job["error"]
    return {
        "type": f"job.{job['status']}",
        "timestamp": job["completed_at"] or timestamp(),
        "data": {
            "jobId": job["id"],
            "status": job["status"],
            "metadata": job["metadata"],
            "error": None if error is None else {"code": error["code"], "node_id": error.get("node_id")},
        },
    }


class InProcessNotifier:
    """Watches jobs in this process."""

    def __init__(self, sender: WebhookSender) -> None:
        self._sender = sender
        self._tasks = set[asyncio.Task[bool]]()

    async def watch(self, job_id: str) -> None:
        """Begins a task."""
        task = asyncio.create_task(self._sender.run(job_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Ends what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
