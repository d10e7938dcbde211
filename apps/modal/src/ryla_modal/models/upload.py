"""One run that brings models to a volume."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from .connections import Connections
from .download import Download, Limits
from .errors import InvalidModel, ModelError
from .ledger import Ledger
from .model_file import ModelFile
from .part_file import PartFile
from .progress import Progress, size_text
from .sources import open_source
from .threads import in_thread
from .volume_files import (
    HERE,
    INCOMING_FOLDER,
    PARTS_FOLDER,
    hash_of,
    is_file,
    is_unchanged,
    is_verified,
    ledger_entry,
    look,
    place_copy,
    prepare_target,
)

REPORT_INTERVAL = 2.0
"""Seconds between two lines of progress."""


@dataclass(frozen=True, slots=True)
class Upload:
    """What a run did, as paths below the volume."""

    kept: Sequence[str] = ()
    """Were verified before."""
    adopted: Sequence[str] = ()
    """Were there, and have the right hash."""
    shared: Sequence[str] = ()
    """Same bytes as another file of the volume."""
    fetched: Sequence[str] = ()
    failed: Mapping[str, ModelError] = field(default_factory=dict[str, ModelError])

    def to_json(self) -> dict[str, Any]:
        """For a caller in another process."""
        return {
            "kept": list(self.kept),
            "adopted": list(self.adopted),
            "shared": list(self.shared),
            "fetched": list(self.fetched),
            "failed": {path: error.to_json() for path, error in self.failed.items()},
        }


class UploadRun:
    """One upload, under the lock."""

    def __init__(
        self,
        volume: Path,
        ledger: Ledger,
        tokens: Mapping[str, str],
        limits: Limits,
        commit: Callable[[], Awaitable[None]],
        say: Callable[[str], None],
        *,
        durable: bool,
    ) -> None:
        """See ModelStore."""
        self._volume = volume
        self._ledger = ledger
        self._tokens = tokens
        self._limits = limits
        self._commit = commit
        self._say = say
        self._durable = durable
        self._progress = Progress()
        self._slots = asyncio.Semaphore(limits.connections)
        self._kept: list[str] = []
        self._adopted: list[str] = []
        self._shared: list[str] = []
        self._fetched: list[str] = []
        self._failed: dict[str, ModelError] = {}

    async def upload(self, models: Sequence[ModelFile]) -> Upload:
        """Brings what is lacking; what fails is in the result."""
        by_content: dict[str, list[ModelFile]] = {}
        for model in models:
            by_content.setdefault(model.sha256, []).append(model)
        lacking = [group for models in by_content.values() if (group := await self._lacking(models))]
        if lacking:
            await self._fetch_all(lacking)
        return Upload(self._kept, self._adopted, self._shared, self._fetched, self._failed)

    async def _lacking(self, group: Sequence[ModelFile]) -> list[ModelFile]:
        """Models of one content that the volume has not: neither at their places nor anywhere else."""
        for model in group:
            await self._settle(model, self._find)
        for model in self._unsettled(group):
            await self._settle(model, self._share)
        return self._unsettled(group)

    async def _find(self, model: ModelFile) -> bool:
        before = is_verified(self._volume, self._ledger, model)
        if await look(self._volume, self._ledger, model, say=self._say) != "":
            return False
        (self._kept if before else self._adopted).append(model.path)
        return True

    async def _share(self, model: ModelFile) -> bool:
        """Links or copies from a file of the volume with this content."""
        if await self._incoming(model):
            return True
        for path, entry in list(self._ledger.entries.items()):
            if (entry.sha256, entry.size) != (model.sha256, model.size) or path == model.path:
                continue
            origin = self._volume / path
            if not is_file(origin, model.size) or not is_unchanged(origin, entry):
                continue
            if await in_thread(place_copy, self._volume, origin, model):
                self._note(model, f"{HERE}:{path}")
                await self._commit()
                self._shared.append(model.path)
                return True
        return False

    async def _incoming(self, model: ModelFile) -> bool:
        origin = self._volume / INCOMING_FOLDER / model.sha256
        if not is_file(origin, model.size):
            return False
        self._say(f"verifying {model.path}, {size_text(model.size)}, from {INCOMING_FOLDER}")
        found = await in_thread(hash_of, origin)
        if found != model.sha256:
            self._say(f"{model.path}: what was put up for it has the sha256 {found}, so it was removed")
            origin.unlink()
            return False
        target = prepare_target(self._volume, model)
        origin.replace(target)
        self._note(model, HERE)
        await self._commit()
        self._fetched.append(model.path)
        return True

    async def _fetch_all(self, groups: Sequence[Sequence[ModelFile]]) -> None:
        gate = asyncio.Semaphore(self._limits.files)
        connections = Connections(self._limits.connections, self._limits.stall, "ryla-models")
        reporter = asyncio.create_task(self._report())
        try:
            async with asyncio.TaskGroup() as tasks:
                for group in groups:
                    tasks.create_task(self._fetch_group(connections, gate, group))
        finally:
            reporter.cancel()
            connections.close()
        self._say(self._progress.line())

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_INTERVAL)
            self._say(self._progress.line())

    async def _fetch_group(
        self, connections: Connections, gate: asyncio.Semaphore, group: Sequence[ModelFile]
    ) -> None:
        """Fetches a content once, from the first source that has it, and puts it at all its places."""
        async with gate:
            for model in group:
                if await self._settle(model, partial(self._fetch, connections)):
                    break
            else:
                return
            for model in group:
                if not isinstance(self._failed.get(model.path), InvalidModel):
                    self._failed.pop(model.path, None)  # its own source failed, another's gave the bytes
            for model in self._unsettled(group):
                await self._settle(model, self._share)

    def _unsettled(self, group: Sequence[ModelFile]) -> list[ModelFile]:
        settled = {*self._kept, *self._adopted, *self._shared, *self._fetched, *self._failed}
        return [model for model in group if model.path not in settled]

    async def _settle(self, model: ModelFile, work: Callable[[ModelFile], Awaitable[bool]]) -> bool:
        try:
            return await work(model)
        except ModelError as error:
            self._failed[model.path] = error
            self._say(f"{model.path}: {error}")
            return False

    async def _fetch(self, connections: Connections, model: ModelFile) -> bool:
        token = self._tokens.get(model.secret) if model.secret is not None else None
        source = open_source(connections, model, token)
        target = prepare_target(self._volume, model)
        with PartFile(self._volume / PARTS_FOLDER, model.sha256, model.size) as part:
            have = part.extents.length
            again = f", {size_text(have)} of it from before" if have else ""
            self._say(f"fetching {model.path}, {size_text(model.size)}{again}, from {source.label}")
            download = Download(
                model,
                source,
                part,
                limits=self._limits,
                slots=self._slots,
                progress=self._progress,
                remark=self._say,
            )
            await download.run()
            await in_thread(part.finish, target, durable=self._durable)
        self._note(model, source.label)
        await self._commit()
        self._fetched.append(model.path)
        self._say(f"verified {model.path}")
        return True

    def _note(self, model: ModelFile, source: str) -> None:
        self._ledger.put(model.path, ledger_entry(self._volume, model, source))
