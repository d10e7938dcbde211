"""One run of a workflow before a container takes jobs: models, kernels and caches are there for the first of them."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .endpoint_inputs import Endpoint

if TYPE_CHECKING:  # the deployer's side and the gateway need only what endpoint.json says
    from comfy_worker import Job, Worker


class WarmUpFailed(RuntimeError):
    """The warm-up run did not succeed, and endpoint.json says that the container must not start then."""


@dataclass(frozen=True)
class WarmUp:
    """What `warmUp` of endpoint.json says."""

    workflow: str | None
    """File beside endpoint.json, in API format; None for the endpoint's own with the inputs of its smoke test."""
    required: bool

    @classmethod
    def of(cls, declared: Any) -> WarmUp | None:
        """From a checked endpoint.json: true, a file name, or an object; None for none."""
        if declared is None or declared is False:
            return None
        if declared is True:
            return cls(None, required=False)
        if isinstance(declared, str):
            return cls(declared, required=False)
        return cls(declared.get("workflow"), required=declared.get("required", False))

    async def run(self, worker: Worker, folder: Path, timeout: float, log: Callable[[str], None]) -> None:
        """Runs it on a started worker; its outputs are dropped. `folder` holds the endpoint's files.

        A failure is logged; where the run is required it raises WarmUpFailed.
        """
        begun = time.monotonic()
        try:
            async with worker.run_job(self._job(folder, timeout)) as running:
                await running.outputs()
        except Exception as error:
            if self.required:
                raise WarmUpFailed(f"The warm-up run failed: {error}") from error
            log(f"The warm-up run failed, and the container goes on without it: {error}")
        else:
            log(f"The warm-up run took {time.monotonic() - begun:.1f} s.")

    def _job(self, folder: Path, timeout: float) -> Job:
        from comfy_worker import InputFile, Job

        job_id = f"warm-up-{uuid.uuid4()}"
        if self.workflow is not None:
            workflow = json.loads((folder / self.workflow).read_text(encoding="utf-8"))
            return Job(job_id, workflow, timeout=timeout)
        endpoint = Endpoint.load(folder)
        if endpoint is None:
            raise FileNotFoundError(f"{folder} holds no endpoint.json")
        workflow, files = endpoint.apply(_smoke_inputs(folder))
        staged = tuple(InputFile(name, path) for name, path in files.items())
        return Job(job_id, workflow, staged, timeout=timeout)


def _smoke_inputs(folder: Path) -> Mapping[str, Any]:
    document = json.loads((folder / "endpoint.json").read_text(encoding="utf-8"))
    return document.get("smoke", {}).get("inputs", {})
