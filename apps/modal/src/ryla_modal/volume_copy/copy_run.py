"""A whole run: list, copy what is lacking, list again until nothing has changed meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..models import ModelError
from .errors import ChangedDuringCopy
from .file_copy import PARTS_FOLDER, FileCopy
from .layout import shown
from .manifest import Manifest
from .plan import Item, Plan

ROUNDS = 3
"""Times that a file which changes meanwhile is copied, before it is only listed."""

SMALL_FILES = 8
"""Files of at most one segment that are copied at once."""

REPORT_INTERVAL = 2.0
"""Seconds between two lines of progress."""

COMMIT_INTERVAL = 60.0
"""Seconds between two commits of the volume: what a lost container has to fetch again, at most."""


@dataclass(slots=True)
class Outcome:
    """What a run did, as paths below the volume."""

    kept: list[str] = field(default_factory=list[str])
    """Were verified before, and are unchanged at the source."""
    copied: list[str] = field(default_factory=list[str])
    adopted: list[str] = field(default_factory=list[str])
    """Were there, and have the source's bytes."""
    failed: dict[str, ModelError] = field(default_factory=dict[str, ModelError])
    changing: list[str] = field(default_factory=list[str])
    """Had another version each time."""
    bytes_copied: int = 0


class CopyRun:
    """One run, under the volume's lock and with the manifest open."""

    def __init__(
        self,
        copy: FileCopy,
        manifest: Manifest,
        bucket_id: str,
        list_again: Callable[[], Awaitable[Plan]],
        commit: Callable[[], Awaitable[None]],
        say: Callable[[str], None],
    ) -> None:
        self._copy = copy
        self._manifest = manifest
        self._bucket_id = bucket_id
        self._list_again = list_again
        self._commit = commit
        self._say = say
        self._outcome = Outcome()
        self._gave_up: dict[str, str] = {}
        """Identity of the version that failed, by path."""

    async def run(self, plan: Plan) -> tuple[Outcome, Plan]:
        """Copies; returns the plan of the last listing too."""
        self._outcome.kept = [item.path for item in self._held(plan)]
        remove_other_parts(self._copy.volume, self._identities(plan.items))
        for _ in range(ROUNDS):
            lacking = self._lacking(plan)
            if not lacking:
                break
            await self._copy_all(lacking)
            self._say("listing the source again: has anything changed meanwhile?")
            plan = await self._list_again()
        self._settle(plan)
        # Also of files that are whole: a kill may come between a file's move and the end of its journal.
        remove_other_parts(
            self._copy.volume, self._identities(plan.items) - self._identities(self._held(plan))
        )
        return self._outcome, plan

    def _held(self, plan: Plan) -> list[Item]:
        return [item for item in plan.items if self._manifest.holds(item, self._bucket_id)]

    def _identities(self, items: Sequence[Item]) -> set[str]:
        return {item.identity(self._bucket_id) for item in items}

    def _lacking(self, plan: Plan) -> list[Item]:
        return [
            item
            for item in plan.items
            if not self._manifest.holds(item, self._bucket_id)
            and self._gave_up.get(item.path) != item.identity(self._bucket_id)
        ]

    def _settle(self, plan: Plan) -> None:
        """What is true at the end, by the last listing."""
        outcome = self._outcome
        for item in self._lacking(plan):
            outcome.changing.append(item.path)
            outcome.failed.pop(item.path, None)
        planned = {item.path for item in plan.items}
        outcome.failed = {path: error for path, error in outcome.failed.items() if path in planned}
        unsettled = {*outcome.changing, *outcome.failed}
        outcome.kept = [path for path in outcome.kept if path in planned and path not in unsettled]
        for paths in (outcome.copied, outcome.adopted):
            paths[:] = [path for path in dict.fromkeys(paths) if path not in unsettled]

    async def _copy_all(self, items: Sequence[Item]) -> None:
        reporter = asyncio.create_task(self._report())
        committer = asyncio.create_task(self._commit_now_and_then())
        try:
            for used in (True, False):
                await self._copy_group([item for item in items if bool(item.endpoints) == used])
        finally:
            for task in (reporter, committer):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        self._say(self._copy.progress.line())
        await self._commit()

    async def _copy_group(self, items: Sequence[Item]) -> None:
        limits = self._copy.limits
        large = deque(item for item in items if item.size > limits.segment)
        small = deque(item for item in items if item.size <= limits.segment)
        async with asyncio.TaskGroup() as group:
            for waiting, workers in ((large, limits.files), (small, SMALL_FILES)):
                for _ in range(min(workers, len(waiting))):
                    group.create_task(self._work(waiting))

    async def _work(self, waiting: deque[Item]) -> None:
        while waiting:
            await self._one(waiting.popleft())

    async def _one(self, item: Item) -> None:
        outcome = self._outcome
        try:
            done = await self._copy.run(item)
        except ChangedDuringCopy as error:
            self._say(f"{error}")
            return
        except ModelError as error:
            outcome.failed[item.path] = error
            self._gave_up[item.path] = item.identity(self._bucket_id)
            self._say(f"{shown(item.path)}: {error}")
            return
        outcome.failed.pop(item.path, None)
        if done == "adopted":
            outcome.adopted.append(item.path)
            return
        outcome.copied.append(item.path)
        outcome.bytes_copied += item.size
        if item.size > self._copy.limits.segment:
            self._say(f"verified {shown(item.path)} by {self._manifest.entries[item.path].proof}")

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_INTERVAL)
            self._say(self._copy.progress.line())

    async def _commit_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_INTERVAL)
            await self._commit()


def remove_other_parts(volume: Path, identities: set[str]) -> None:
    """Removes what is left of other copies than these."""
    for left in (volume / PARTS_FOLDER).glob("*"):
        if left.name.split(".")[0] not in identities:
            left.unlink(missing_ok=True)


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """For a caller in another process."""
    return {
        "kept": outcome.kept,
        "copied": outcome.copied,
        "adopted": outcome.adopted,
        "changing": outcome.changing,
        "failed": {path: error.to_json() for path, error in outcome.failed.items()},
        "bytesCopied": outcome.bytes_copied,
    }
