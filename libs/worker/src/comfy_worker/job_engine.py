"""The ComfyUI that a job runs on, as a worker hands it out."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from .client import ComfyClient, Message
from .metrics import Device
from .process import ComfyProcess


class Engine(Protocol):
    """What a job needs of its worker."""

    @property
    def process(self) -> ComfyProcess:
        """The ComfyUI."""
        ...

    @property
    def client(self) -> ComfyClient:
        """The client on it."""
        ...

    @property
    def cancel_timeout(self) -> float:
        """Seconds that an interrupted job has to leave ComfyUI."""
        ...

    @property
    def hang_timeout(self) -> float:
        """Seconds that a started ComfyUI may give no answer."""
        ...

    async def ensure_ready(self) -> None:
        """Starts ComfyUI when it does not run. Raises EngineUnavailable."""
        ...

    @property
    def last_device(self) -> Device:
        """The GPU at the last look."""
        ...

    def client_id(self, job_id: str) -> str:
        """Whom ComfyUI tells of a job."""
        ...

    def messages(self, job_id: str) -> AsyncGenerator[Message, None]:
        """What it tells them, forever, beginning with `connected`."""
        ...

    def may_know(self, job_id: str) -> bool:
        """Whether this ComfyUI may have been given this job before. It is from now on."""
        ...

    async def device(self) -> Device:
        """The GPU as it is now. Raises EngineUnavailable."""
        ...

    def take_boot_ms(self) -> int:
        """Milliseconds of starts that no job has accounted for yet."""
        ...
