"""Jobs as the gateway sees them: accepted, looked up, canceled."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from .api_error import ApiError
from .core_nodes import CORE_NODE_CLASSES
from .dispatcher import Dispatcher
from .idempotency import KeyClaims
from .job_claims import JobClaims
from .job_index import JobIndex
from .job_states import JobStates
from .limits import FILES, SCANNED_PER_PAGE, WORKFLOW_BYTES
from .request_values import known_id
from .stores import RETENTION, KeyValueStore, timestamp
from .workflow_guard import Workflow, asset_references, check_workflow, replace_assets

TERMINAL = ("succeeded", "failed", "canceled", "expired")
URL_LIFETIME = 3600
"""Seconds that a content URL is announced as valid; ours are checked by credentials and do not end."""


class Jobs:
    """Each key of the store has one writer: `job:` and `call:` the gateway, `state:` the worker; `claim:` and `end:`
    belong to whoever is first."""

    def __init__(
        self,
        store: KeyValueStore,
        dispatcher: Dispatcher,
        *,
        known_classes: Collection[str] | None = CORE_NODE_CLASSES,
        catalogue_key: str = "",
        timeout: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`known_classes` counts until a worker has published its own; None leaves the check to it."""
        self._store = store
        self._dispatcher = dispatcher
        self._known = known_classes
        self._catalogue_key = catalogue_key
        self._timeout = timeout
        self._clock = clock
        self._index = JobIndex(store)
        self._keys = KeyClaims(store, "job", clock)
        self._states = JobStates(store, dispatcher, JobClaims(store, clock=clock), clock)

    async def submit(
        self,
        workflow: Any,
        *,
        job_id: str | None = None,
        idempotency_key: str | None = None,
        extra_data: Mapping[str, Any] | None = None,
        metadata: Mapping[str, str] | None = None,
        webhook_url: str | None = None,
        files: Mapping[str, str] | None = None,
        on_stored: Callable[[str], Awaitable[None]] | None = None,
    ) -> dict[str, Any]:
        """Accepts a job and dispatches it. `files`: hashes of staged files that no asset stands for, by their names.
        `on_stored` is told the job's id before it is dispatched; when it fails, the job never runs.

        Raises ApiError 413 or 422; a job so refused leaves its Idempotency-Key free.
        """
        checked = check_workflow(workflow, await self._known_classes())
        payload = _payload(checked)
        staged, names = await self._staged(checked)
        await self._keys.claim(idempotency_key)
        job: dict[str, Any] = {
            "id": job_id or str(uuid.uuid4()),
            "created": self._clock(),
            "workflow": replace_assets(checked, names),
            "files": {**(files or {}), **staged},
            "timeout": self._timeout,
            "metadata": dict(metadata or {}),
            "payload_sha256": hashlib.sha256(payload).hexdigest(),
        }
        if not await self._store.put_if_absent(f"job:{job['id']}", job):
            await self._keys.release(idempotency_key)
            raise ApiError(
                422,
                "idempotency_key_reuse",
                f"Job {job['id']} was submitted before; look it up at /api/ryla/jobs/{job['id']}.",
            )
        if extra_data:
            await self._store.put(f"extra_data:{job['id']}", dict(extra_data))
        if webhook_url is not None:
            pending = {"url": webhook_url, "state": "pending", "attempts": 0, "error": None}
            await self.note_webhook(job["id"], pending)
        entry = {name: job[name] for name in ("id", "created", "metadata")}
        # From here on the outcome of a failure is unknown: the key stays taken, and the job can be looked up.
        await self._index.append(entry)
        if on_stored is not None:
            await on_stored(job["id"])
        call_id = await self._dispatcher.dispatch(job["id"])
        await self._store.put(f"call:{job['id']}", call_id)
        return await self.get(job["id"])

    async def _known_classes(self) -> Collection[str] | None:
        published = await self._store.get(f"node_classes:{self._catalogue_key}")
        return self._known if published is None else frozenset(published)

    async def _staged(self, workflow: dict[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
        files: dict[str, str] = {}
        names: dict[str, str] = {}
        for reference in asset_references(workflow):
            info = reference.get("info")
            asset_id = info.get("id") if isinstance(info, dict) else None
            if not isinstance(asset_id, str) or known_id(asset_id) != asset_id:
                raise ApiError(422, "missing_asset", "A core/ASSET reference holds no id of an asset.")
            if asset_id in names:
                continue
            if len(names) >= FILES:
                raise ApiError(422, "invalid_workflow", f"The workflow refers to more than {FILES} assets.")
            asset = await self._store.get(f"asset:{asset_id}")
            if asset is None or asset["expires_at"] < timestamp(self._clock()):
                raise ApiError(422, "missing_asset", f"There is no asset {asset_id}.", {"id": asset_id})
            suffix = PurePosixPath(asset["file_path"] or "").suffix.lower()
            names[asset_id] = asset_id + (suffix if re.fullmatch(r"\.[a-z0-9]{1,16}", suffix) else "")
            files[names[asset_id]] = asset["hash"]
        return files, names

    async def _stored(self, job_id: str) -> dict[str, Any]:
        known = known_id(job_id)
        job = None if known is None else await self._store.get(f"job:{known}")
        if job is None or job["created"] + RETENTION < self._clock():
            raise ApiError(404, "not_found", f"There is no job {job_id[:60]}.")
        return job

    async def state(self, job_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The stored job and its present state, a lost worker noticed. Raises ApiError 404."""
        job = await self._stored(job_id)
        return job, await self._states.of(job)

    async def get(self, job_id: str) -> dict[str, Any]:
        """The job as the API shows it."""
        return shown(*await self.state(job_id))

    async def reported(self, job_id: str) -> tuple[dict[str, Any], float | None]:
        """The job as the API shows it, and when its worker spoke last (seconds since 1970)."""
        job, state = await self.state(job_id)
        return shown(job, state), state["reported"]

    async def details(self, job_id: str) -> dict[str, Any]:
        """The job with what Comfy API v2 has no place for."""
        job, state = await self.state(job_id)
        metrics = state["metrics"]
        webhook = await self.webhook(job["id"])
        return {
            "job": shown(job, state),
            "payloadSha256": job["payload_sha256"],
            "attempt": state["attempt"],
            "workerId": state["worker_id"],
            "timings": {
                "queueMs": metrics["queue_ms"],
                "coldStartMs": metrics["cold_start_ms"],
                "executionMs": metrics["execution_ms"],
            },
            "metrics": state["worker_metrics"],
            "webhook": None
            if webhook is None
            else {"state": webhook["state"], "attempts": webhook["attempts"], "error": webhook["error"]},
        }

    async def webhook(self, job_id: str) -> dict[str, Any] | None:
        """`url`, `state` (pending, delivered, failed), `attempts`, `error` of the job's webhook."""
        return await self._store.get(f"webhook:{job_id}")

    async def note_webhook(self, job_id: str, webhook: Mapping[str, Any]) -> None:
        """Keeps how the delivery of a job's webhook stands."""
        await self._store.put(f"webhook:{job_id}", dict(webhook))

    async def page(
        self,
        *,
        limit: int,
        before: int | None = None,
        labels: Mapping[str, str] | None = None,
        statuses: Collection[str] = (),
    ) -> tuple[list[dict[str, Any]], int | None]:
        """Up to `limit` jobs, the newest first, that carry all `labels` and have one of `statuses` (any without).

        `before` is the position that an earlier page ended at, which jobs that came since do not move. The second
        value is where the next page begins, None after the last one. A page may be short, or empty, and not the last.
        """
        jobs: list[dict[str, Any]] = []
        asked: list[dict[str, Any]] = []
        scanned, oldest = 0, self._clock() - RETENTION
        async for position, entry in self._index.newest_first(before, SCANNED_PER_PAGE):
            if entry["created"] < oldest:
                break
            scanned += 1
            if all(entry["metadata"].get(key) == value for key, value in (labels or {}).items()):
                asked.append(entry)
            is_last = scanned == SCANNED_PER_PAGE
            if len(asked) == limit - len(jobs) or is_last:
                jobs += await self._listed(asked, statuses)
                asked = []
            if len(jobs) == limit or is_last:
                return jobs, position if position > 0 else None
        return jobs + await self._listed(asked, statuses), None

    async def _listed(
        self, entries: Sequence[Mapping[str, Any]], statuses: Collection[str]
    ) -> list[dict[str, Any]]:
        found = await asyncio.gather(*(self.state(entry["id"]) for entry in entries), return_exceptions=True)
        jobs: list[dict[str, Any]] = []
        for result in found:
            if isinstance(result, ApiError):
                continue
            if isinstance(result, BaseException):
                raise result
            if not statuses or result[1]["status"] in statuses:
                jobs.append(shown_listed(*result))
        return jobs

    async def workflow(self, job_id: str) -> dict[str, Any]:
        """The workflow that the job ran."""
        return {"workflow": (await self._stored(job_id))["workflow"], "format": "api"}

    async def preview(self, job_id: str) -> dict[str, Any] | None:
        """The newest preview."""
        return await self._store.get(f"preview:{job_id}")

    async def cancel(self, job_id: str) -> dict[str, Any]:
        """Stops a job; one that has ended stays as it is."""
        job, state = await self.state(job_id)
        job_id = job["id"]
        if state["status"] not in TERMINAL:
            await self._store.put(f"cancel:{job_id}", True)
            call_id = await self._store.get(f"call:{job_id}")
            if call_id is not None:
                await self._dispatcher.cancel(call_id)
        return await self.get(job_id)


def _payload(workflow: Workflow) -> bytes:
    payload = json.dumps(workflow, sort_keys=True).encode()
    if len(payload) > WORKFLOW_BYTES:
        message = f"A workflow may have {WORKFLOW_BYTES} bytes; upload files as assets."
        raise ApiError(413, "payload_too_large", message)
    return payload


def shown_listed(job: Mapping[str, Any], state: Mapping[str, Any]) -> dict[str, Any]:
    """A job as an item of the list, in the shape that the official SDKs read."""
    updated = state["completed"] or state["started"] or job["created"]
    return {
        "id": job["id"],
        "status": state["status"],
        "create_time": timestamp(job["created"]),
        "update_time": timestamp(updated),
        "deployment_id": None,
        "metadata": job.get("metadata", {}),
    }


def shown(job: Mapping[str, Any], state: Mapping[str, Any]) -> dict[str, Any]:
    """A job in the shape of Comfy API v2."""
    path = f"/api/v2/jobs/{job['id']}"
    return {
        "id": job["id"],
        "status": state["status"],
        "created_at": timestamp(job["created"]),
        "started_at": timestamp(state["started"]) if state["started"] else None,
        "completed_at": timestamp(state["completed"]) if state["completed"] else None,
        "expires_at": timestamp(job["created"] + RETENTION),
        "queue_position": None,
        "progress": state["progress"],
        "outputs": [shown_output(output) for output in state["outputs"]],
        "error": state["error"],
        "metrics": state["metrics"],
        "metadata": job.get("metadata", {}),
        "urls": {"self": path, "events": f"{path}/events", "cancel": f"{path}/cancel"},
    }


def shown_output(output: Mapping[str, Any]) -> dict[str, Any]:
    """An output in the shape of Comfy API v2, but for the origin of its URL, which only a request knows."""
    return {
        "node_id": output["node_id"],
        "name": output["name"],
        "type": output["type"],
        "content_type": output["content_type"],
        "size_bytes": output["size_bytes"],
        "id": output["id"],
        "hash": output["hash"],
        "url": f"/api/v2/assets/{output['id']}/content",
        "url_expires_at": timestamp(time.time() + URL_LIFETIME),
        "job_id": output["job_id"],
    }
