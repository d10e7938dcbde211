"""Idempotency-Keys: single use for a day, in a store that cannot compare and swap."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from .api_error import ApiError
from .stores import KeyValueStore

KEY_LIFETIME = 24 * 3600
"""Seconds that an Idempotency-Key stays taken (Comfy API v2)."""


class KeyClaims:
    """A key is claimed under the day of its claim: an expired claim need not be removed to be claimed again, which two
    callers could do at once. Who claims looks at the days beside its own afterwards, so that of two claims around
    midnight at least one sees the other."""

    def __init__(self, store: KeyValueStore, purpose: str, clock: Callable[[], float]) -> None:
        """`purpose` keeps the keys of jobs and uploads apart."""
        self._store = store
        self._purpose = purpose
        self._clock = clock

    async def claim(self, key: str | None) -> None:
        """Takes a key. Raises ApiError 422 `idempotency_key_reuse` when it is taken."""
        if key is None:
            return
        now = self._clock()
        day = int(now // KEY_LIFETIME)
        if not await self._store.put_if_absent(self._name(key, day), {"until": now + KEY_LIFETIME}):
            raise _reused()
        beside: list[Any] = await asyncio.gather(
            *(self._store.get(self._name(key, other)) for other in (day - 1, day + 1))
        )
        if any(claim is not None and claim["until"] > now for claim in beside):
            await self._store.pop(self._name(key, day))
            raise _reused()

    async def release(self, key: str | None) -> None:
        """Frees a key that was claimed for a request which then was refused for certain."""
        if key is not None:
            day = int(self._clock() // KEY_LIFETIME)
            for claimed in (day, day - 1):  # claimed a moment ago, perhaps before midnight
                if await self._store.pop(self._name(key, claimed)) is not None:
                    return

    def _name(self, key: str, day: int) -> str:
        return f"key:{self._purpose}:{day}:{key}"


def _reused() -> ApiError:
    return ApiError(422, "idempotency_key_reuse", "This Idempotency-Key was used before.")
