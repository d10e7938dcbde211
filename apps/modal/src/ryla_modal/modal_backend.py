"""The gateway's interfaces on Modal: modal.Dict for state, a Volume for files, spawn for dispatch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import modal

from .dispatcher import CallOutcome


class DictStore:
    """A key-value store on modal.Dict, whose put_if_absent is atomic."""

    def __init__(self, content: modal.Dict) -> None:
        self._dict = content

    async def get(self, key: str) -> Any:
        """The value, or None."""
        return await self._dict.get.aio(key, None)

    async def put(self, key: str, value: Any) -> None:
        """Writes a value."""
        await self._dict.put.aio(key, value)

    async def put_if_absent(self, key: str, value: Any) -> bool:
        """Writes a value unless there is one; whether it did."""
        return await self._dict.put.aio(key, value, skip_if_exists=True)

    async def pop(self, key: str) -> Any:
        """Removes and returns a value, or None."""
        try:
            return await self._dict.pop.aio(key)
        except KeyError:
            return None


class SpawnDispatcher:
    """Spawns a method of the GPU class for each job."""

    def __init__(self, spawn: Callable[[str], Awaitable[modal.FunctionCall[Any]]]) -> None:
        self._spawn = spawn

    async def dispatch(self, job_id: str) -> str:
        """Queues the job; returns the function call's id."""
        return (await self._spawn(job_id)).object_id

    async def cancel(self, call_id: str) -> None:
        """Cancels the function call."""
        call: modal.FunctionCall[Any] = modal.FunctionCall.from_id(call_id)
        await call.cancel.aio()

    async def outcome(self, call_id: str) -> CallOutcome | None:
        """How the function call ended; None while it waits or runs."""
        call: modal.FunctionCall[Any] = modal.FunctionCall.from_id(call_id)
        try:
            await call.get.aio(timeout=0)
        except modal.exception.InputCancellation:
            return CallOutcome("canceled")
        except modal.exception.OutputExpiredError:
            return CallOutcome("lost", "its result has expired")
        except (TimeoutError, modal.exception.TimeoutError) as error:
            if not isinstance(error, modal.exception.FunctionTimeoutError):
                return None
            return CallOutcome("lost", str(error), is_timeout=True)
        except modal.exception.InternalFailure as error:
            return CallOutcome("lost", str(error), is_interrupted=True)
        except modal.exception.Error as error:
            text = str(error)
            return CallOutcome("canceled") if "cancel" in text.lower() else CallOutcome("lost", text)
        except Exception as error:  # what the worker raised, or that it could not start
            return CallOutcome("lost", f"{type(error).__name__}: {error}")
        return CallOutcome("done")


class SpawnNotifier:
    """Spawns the function that waits for a job's end and tells its webhook."""

    def __init__(self, spawn: Callable[[str], Awaitable[Any]]) -> None:
        self._spawn = spawn

    async def watch(self, job_id: str) -> None:
        """Queues it."""
        await self._spawn(job_id)
