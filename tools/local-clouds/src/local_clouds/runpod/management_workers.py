"""The workers behind endpoints that were made by the management API: one command stands for every image."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, Protocol

from .management_billing import Life
from .workers import EndpointConfig, Worker, WorkerPool

SECRET = re.compile(r"\{\{\s*RUNPOD_SECRET_(\w+)\s*\}\}")
"""A reference to a secret in a variable's value."""


class JobEndpoint(Protocol):
    """An endpoint of the job API."""

    @property
    def pool(self) -> WorkerPool:
        """Its workers."""
        ...


class JobApi(Protocol):
    """What the job API offers to the management API."""

    @property
    def api_key(self) -> str:
        """The account's key."""
        ...

    @property
    def api_url(self) -> str:
        """Address of the job API, up to /v2."""
        ...

    @property
    def endpoints(self) -> Mapping[str, JobEndpoint]:
        """Endpoints by id."""
        ...

    def register(self, endpoint_id: str, config: EndpointConfig) -> None:
        """Makes an endpoint take jobs, or gives it other workers."""

    async def unregister(self, endpoint_id: str) -> None:
        """Ends an endpoint's workers and its jobs."""

    def worker_lives(self) -> Sequence[Life]:
        """From when to when workers were there."""
        ...


@dataclass(frozen=True)
class WorkerCommand:
    """What is started where RunPod would start a container."""

    command: tuple[str, ...]
    cwd: str | None = None
    env: Mapping[str, str] | None = None


class ManagedWorkers:
    """Gives every managed endpoint its workers, and replaces those that run an older release."""

    def __init__(self, jobs: JobApi) -> None:
        self._jobs = jobs
        self._command: WorkerCommand | None = None
        self._stale: dict[str, set[str]] = {}
        self.secrets: Mapping[str, str] = {}
        """Values by name; a reference to another one stays as it is."""
        self._endings: set[asyncio.Task[None]] = set()

    def use(self, document: Any, endpoints: Mapping[str, Mapping[str, Any]]) -> None:
        """Takes `{command, cwd?, env?}` for every image; raises ValueError."""
        config = EndpointConfig.from_json(document)
        self._command = WorkerCommand(config.command, config.cwd, config.env)
        for endpoint in endpoints.values():
            self.configure(endpoint, new_release=False)

    def configure(self, endpoint: Mapping[str, Any], *, new_release: bool) -> None:
        """Lets an endpoint take jobs with these settings; idle workers of the release before are replaced at once."""
        identifier: str = endpoint["id"]
        existing = self._jobs.endpoints.get(identifier)
        if existing is not None and new_release:
            self._stale.setdefault(identifier, set()).update(existing.pool.workers)
        self._jobs.register(identifier, self._config(endpoint, existing))
        if existing is not None and new_release:
            for worker in list(existing.pool.workers.values()):
                if not worker.jobs and not worker.stopping:
                    task = asyncio.create_task(existing.pool.stop_worker(worker))
                    self._endings.add(task)
                    task.add_done_callback(self._endings.discard)

    async def remove(self, identifier: str) -> None:
        """Ends an endpoint's workers."""
        self._stale.pop(identifier, None)
        await self._jobs.unregister(identifier)

    def of(self, identifier: str) -> tuple[list[Worker], Set[str]]:
        """Workers of an endpoint, and the ids of those that run an older release."""
        endpoint = self._jobs.endpoints.get(identifier)
        workers = [] if endpoint is None else list(endpoint.pool.workers.values())
        return workers, self._stale.get(identifier, set())

    def rollout(self, identifier: str) -> dict[str, Any]:
        """How many workers run the current release."""
        live = (
            set(self._jobs.endpoints[identifier].pool.workers)
            if identifier in self._jobs.endpoints
            else set()
        )
        latest = len(live - self._stale.get(identifier, set()))
        return {
            "inProgress": latest < len(live),
            "workersOnLatest": latest,
            "workersTotal": len(live),
            "percentOnLatest": round(100 * latest / len(live)) if live else 0,
        }

    def _config(self, endpoint: Mapping[str, Any], existing: JobEndpoint | None) -> EndpointConfig:
        workers = endpoint["workers"]
        if self._command is not None:
            base = EndpointConfig(self._command.command, self._command.cwd, {**(self._command.env or {})})
        elif existing is not None and existing.pool.config.command:
            base = existing.pool.config  # attached by the control route of the job API
        else:
            # Jobs wait: nothing stands for the image yet.
            return EndpointConfig((), workers_max=0)
        return replace(
            base,
            env={**base.env, **{name: self._filled(value) for name, value in endpoint["env"].items()}},
            workers_min=workers["min"],
            workers_max=workers["max"],
            idle_timeout_ms=1000 * workers.get("idleTimeout", 5),
        )

    def _filled(self, value: str) -> str:
        return SECRET.sub(lambda found: self.secrets.get(found[1], found[0]), value)
