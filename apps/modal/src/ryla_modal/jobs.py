"""Jobs as the gateway sees them: accepted, looked up, canceled."""

from __future__ import annotations

import hashlib
import json
import re
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from pathlib import PurePosixPath
from typing import Any

from .api_error import ApiError
from .core_nodes import CORE_NODE_CLASSES
from .dispatcher import CallOutcome, Dispatcher
from .stores import RETENTION, KeyValueStore, timestamp
from .workflow_guard import asset_references, check_workflow, replace_assets

TERMINAL = ("succeeded", "failed", "canceled", "expired")
KEY_LIFETIME = 24 * 3600
"""Seconds that an Idempotency-Key stays taken (Comfy API v2)."""

DISPATCH_SECONDS = 60.0
"""A job without a call after this time was never dispatched; spawning takes milliseconds."""

URL_LIFETIME = 3600
"""Seconds that a content URL is announced as valid; ours are checked by credentials and do not end."""


class Jobs:
    """Each key of the store has one writer: `job:` and `call:` the gateway, `state:` the worker."""

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

    async def submit(
        self,
        workflow: Any,
        *,
        job_id: str | None = None,
        idempotency_key: str | None = None,
        extra_data: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Accepts a job and dispatches it. Raises ApiError 422; a job so refused leaves its Idempotency-Key free."""
        checked = check_workflow(workflow, await self._known_classes())
        files, names = await self._staged(checked)
        await self._claim_key(idempotency_key, job_id)
        job: dict[str, Any] = {
            "id": job_id or str(uuid.uuid4()),
            "created": self._clock(),
            "workflow": replace_assets(checked, names),
            "files": files,
            "timeout": self._timeout,
            "payload_sha256": hashlib.sha256(json.dumps(checked, sort_keys=True).encode()).hexdigest(),
        }
        if not await self._store.put_if_absent(f"job:{job['id']}", job):
            if idempotency_key is not None:
                await self._store.pop(f"key:{idempotency_key}")
            raise ApiError(
                422,
                "idempotency_key_reuse",
                f"Job {job['id']} was submitted before; look it up at /api/ryla/jobs/{job['id']}.",
            )
        if extra_data:
            await self._store.put(f"extra_data:{job['id']}", dict(extra_data))
        # From here on the outcome of a failure is unknown: the key stays taken, and the job can be looked up.
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
            asset = await self._store.get(f"asset:{asset_id}") if isinstance(asset_id, str) else None
            if asset is None or not isinstance(asset_id, str):
                raise ApiError(422, "missing_asset", f"There is no asset {asset_id!r}.", {"id": asset_id})
            suffix = PurePosixPath(asset["file_path"] or "").suffix.lower()
            names[asset_id] = asset_id + (suffix if re.fullmatch(r"\.[a-z0-9]{1,16}", suffix) else "")
            files[names[asset_id]] = asset["hash"]
        return files, names

    async def _claim_key(self, key: str | None, job_id: str | None) -> None:
        if key is None:
            return
        held = await self._store.get(f"key:{key}")
        if held is not None and held["until"] < self._clock():
            await self._store.pop(f"key:{key}")
        claim = {"job": job_id, "until": self._clock() + KEY_LIFETIME}
        if not await self._store.put_if_absent(f"key:{key}", claim):
            raise ApiError(422, "idempotency_key_reuse", "This Idempotency-Key was used before.")

    async def _stored(self, job_id: str) -> dict[str, Any]:
        job = await self._store.get(f"job:{job_id}")
        if job is None or job["created"] + RETENTION < self._clock():
            raise ApiError(404, "not_found", f"There is no job {job_id}.")
        return job

    async def state(self, job_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The stored job and its present state, a lost worker noticed. Raises ApiError 404."""
        job = await self._stored(job_id)
        state = await self._store.get(f"state:{job_id}")
        if state is not None and state["status"] in TERMINAL:
            return job, state
        canceled = await self._store.get(f"cancel:{job_id}") is not None
        ended = await self._ended(job, canceled, state)
        if ended is not None:
            return job, ended
        state = state or _waiting()
        return job, {**state, "status": "canceling"} if canceled else state

    async def _outcome(self, job: Mapping[str, Any]) -> CallOutcome | None:
        call_id = await self._store.get(f"call:{job['id']}")
        if call_id is not None:
            return await self._dispatcher.outcome(call_id)
        if self._clock() - job["created"] < DISPATCH_SECONDS:
            return None
        # The gateway ended between storing and dispatching, or lost the answer. Taking the claim
        # makes sure that no worker runs the job after we have called it lost.
        holder = "gateway"
        taken = await self._store.put_if_absent(f"claim:{job['id']}", holder)
        if taken or await self._store.get(f"claim:{job['id']}") == holder:
            return CallOutcome("lost", "it never reached a worker; submit it again under a new job id")
        return None

    async def _ended(
        self, job: Mapping[str, Any], canceled: bool, state: dict[str, Any] | None
    ) -> dict[str, Any] | None:
        job_id: str = job["id"]
        outcome = await self._outcome(job)
        if outcome is None:
            return None
        # The worker may have written its last word between our two questions.
        latest = await self._store.get(f"state:{job_id}")
        if latest is not None and latest["status"] in TERMINAL:
            return latest
        base = latest or state or _waiting()
        if canceled or outcome.kind == "canceled":
            return {**base, "status": "canceled", "completed": base["completed"] or time.time()}
        reason = outcome.reason or "its call ended without a result"
        error = {
            "code": "worker_lost",
            "message": f"The worker of job {job_id} was lost: {reason}.",
            "node_id": None,
            "class_type": None,
            "traceback": None,
        }
        lost = {**base, "status": "failed", "error": error, "completed": time.time()}
        await self._store.put_if_absent(f"lost:{job_id}", lost)
        return await self._store.get(f"lost:{job_id}")

    async def get(self, job_id: str) -> dict[str, Any]:
        """The job as the API shows it."""
        return shown(*await self.state(job_id))

    async def details(self, job_id: str) -> dict[str, Any]:
        """The job with what Comfy API v2 has no place for."""
        job, state = await self.state(job_id)
        metrics = state["metrics"]
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
        }

    async def workflow(self, job_id: str) -> dict[str, Any]:
        """The workflow that the job ran."""
        return {"workflow": (await self._stored(job_id))["workflow"], "format": "api"}

    async def preview(self, job_id: str) -> dict[str, Any] | None:
        """The newest preview."""
        return await self._store.get(f"preview:{job_id}")

    async def cancel(self, job_id: str) -> dict[str, Any]:
        """Stops a job; one that has ended stays as it is."""
        _, state = await self.state(job_id)
        if state["status"] not in TERMINAL:
            await self._store.put(f"cancel:{job_id}", True)
            call_id = await self._store.get(f"call:{job_id}")
            if call_id is not None:
                await self._dispatcher.cancel(call_id)
        return await self.get(job_id)


def _waiting() -> dict[str, Any]:
    return {
        "status": "queued",
        "started": None,
        "completed": None,
        "progress": None,
        "outputs": [],
        "error": None,
        "worker_id": None,
        "attempt": 0,
        "metrics": {"queue_ms": None, "cold_start_ms": None, "execution_ms": None},
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
