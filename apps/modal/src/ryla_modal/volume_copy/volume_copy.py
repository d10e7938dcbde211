"""A RunPod network volume and a Modal Volume: planned, copied, checked."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..models import Ledger, Limits, ModelFile
from ..models.connections import Connections
from ..models.progress import Progress
from ..models.threads import in_thread
from ..models.volume_lock import locked
from .address import Keys
from .bandwidth import Bandwidth
from .bucket import Bucket
from .copy_run import CopyRun, Outcome, outcome_json
from .file_copy import FileCopy
from .inventory import Inventory, take_inventory
from .layout import root_of
from .manifest import Copied, Manifest
from .options import CopyOptions
from .plan import Item, Plan, make_plan, to_json
from .probe import measure
from .spare_cores import SpareCores
from .verification import MD5, ETags, Verification, digests_of, md5_beside

SMALL_REQUESTS = 8
"""Listings, heads and samples at once, beside the ranges."""

VERIFIED = "verified"
MISSING = "missing"
OUTDATED = "the source has another version"
UNVERIFIED = "there, but not verified"
DAMAGED = "its bytes are no longer the copied ones"


async def _nothing() -> None:
    return None


class VolumeCopy:
    """The copy of one network volume to the volume that is mounted at a folder."""

    def __init__(
        self,
        volume: Path,
        options: CopyOptions,
        keys: Keys,
        models: Sequence[ModelFile] = (),
        *,
        limits: Limits | None = None,
        commit: Callable[[], Awaitable[None]] | None = None,
        say: Callable[[str], None] = print,
        spare: Callable[[], bool] | None = None,
    ) -> None:
        """`models` are those of the endpoints; `commit` is how the volume makes what is written last.

        `spare` says whether there is time for a sha256 that is only noted; see SpareCores.
        """
        self._volume = volume
        self._options = options
        self._keys = keys
        self._models = models
        self._limits = replace(limits or Limits(), connections=options.connections)
        self._durable = commit is None
        self._commit = commit or _nothing
        self._say = say
        self._bucket_id = options.address.bucket
        self._listed = Inventory()
        self._spare = spare or SpareCores()

    async def plan(self) -> dict[str, Any]:
        """What a copy would do, how long it would take. Reads 32 MB of the source at most; changes nothing."""
        async with self._bucket() as bucket:
            plan = await self._plan(bucket)
            manifest = Manifest(self._volume)
            states = {item.path: self._state(item, manifest) for item in plan.items}
            lacking = [item for item in plan.items if states[item.path] != VERIFIED]
            rate = await measure(bucket, lacking, Bandwidth(self._options.bandwidth), self._limits)
            return {**self._document("plan", plan, states, manifest), "bytesPerSecond": rate}

    async def check(self, *, rehash: bool = False) -> dict[str, Any]:
        """Compares the volume with the source's listing; `rehash` reads every copied file again. Fetches nothing."""
        async with self._bucket() as bucket:
            plan = await self._plan(bucket)
        manifest = Manifest(self._volume)
        states = {item.path: self._state(item, manifest) for item in plan.items}
        if rehash:
            states |= await self._rehash(
                manifest, [path for path, state in states.items() if state == VERIFIED]
            )
        return self._document("check", plan, states, manifest)

    async def _rehash(self, manifest: Manifest, paths: Sequence[str]) -> dict[str, str]:
        """Reads copied files again. A sha256 that the copy had no time for is noted now."""
        states: dict[str, str] = {}
        fresh: list[Copied] = []
        for path in paths:
            entry = manifest.entries[path]
            digests = await in_thread(digests_of, self._volume / path, md5=not entry.sha256)
            sha256 = digests.hexdigest()
            same = sha256 == entry.sha256 if entry.sha256 else digests.md5 == entry.etag
            states[path] = VERIFIED if same else DAMAGED
            if same and not entry.sha256:
                fresh.append(replace(entry, sha256=sha256))
        if fresh:
            async with locked(self._volume, self._say):
                with manifest.read_again():
                    for entry in fresh:
                        if manifest.entries.get(entry.path) == replace(entry, sha256=""):
                            manifest.put(entry)
                await self._commit()
        return states

    async def copy(self) -> dict[str, Any]:
        """Copies what is lacking; what cannot be copied is in the result."""
        began = time.monotonic()
        async with locked(self._volume, self._say), self._bucket() as bucket:
            with md5_beside(), Manifest(self._volume) as manifest:
                plan = await self._plan(bucket)
                outcome, plan = await self._run(bucket, manifest, plan)
                await self._commit()
                states = {item.path: self._state(item, manifest) for item in plan.items}
                document = self._document("copy", plan, states, manifest)
        seconds = time.monotonic() - began
        return {**document, **outcome_json(outcome), "seconds": round(seconds, 3)}

    async def _run(self, bucket: Bucket, manifest: Manifest, plan: Plan) -> tuple[Outcome, Plan]:
        slots = asyncio.Semaphore(self._limits.connections)
        before = (entry for entry in manifest.entries.values() if entry.bucket == self._bucket_id)
        etags = ETags(are_md5=any(entry.proof == MD5 for entry in before))
        lacking = [item for item in plan.items if not manifest.holds(item, self._bucket_id)]
        unknown = [item.source for item in lacking if item.sha256 is None]
        await etags.probe(
            bucket, [(source.key, source.size, source.etag) for source in unknown], self._limits
        )
        chance = random.Random()
        copy = FileCopy(
            volume=self._volume,
            bucket=bucket,
            bucket_id=self._bucket_id,
            manifest=manifest,
            ledger=Ledger(self._volume),
            verification=Verification(etags, slots, reread=self._options.reread, chance=chance),
            limits=self._limits,
            slots=slots,
            bandwidth=Bandwidth(self._options.bandwidth),
            progress=Progress(),
            say=self._say,
            overwrite=self._options.overwrite,
            durable=self._durable,
            spare=self._spare,
        )
        run = CopyRun(copy, manifest, self._bucket_id, lambda: self._plan(bucket), self._commit, self._say)
        return await run.run(plan)

    async def _plan(self, bucket: Bucket) -> Plan:
        self._listed = await take_inventory(bucket, self._options.selection.roots, self._say)
        return make_plan(self._listed, self._models, self._options.selection)

    def _state(self, item: Item, manifest: Manifest) -> str:
        if manifest.holds(item, self._bucket_id):
            return VERIFIED
        if not (self._volume / item.path).exists():
            return MISSING
        entry = manifest.entries.get(item.path)
        return UNVERIFIED if entry is None or not manifest.is_untouched(entry) else OUTDATED

    def _document(self, mode: str, plan: Plan, states: dict[str, str], manifest: Manifest) -> dict[str, Any]:
        return {
            "mode": mode,
            "source": self._options.address.label,
            "complete": not plan.refused and all(state == VERIFIED for state in states.values()),
            "files": [_file(item, states[item.path], manifest) for item in plan.items],
            "gone": self._gone(manifest),
            **to_json(plan),
        }

    def _gone(self, manifest: Manifest) -> list[str]:
        """Paths on the volume whose file is no longer at the source."""
        keys = {item.key for item in self._listed.objects}
        return [
            entry.path
            for entry in manifest.entries.values()
            if entry.bucket == self._bucket_id
            and entry.key not in keys
            and root_of(entry.key, self._options.selection.roots) is not None
        ]

    @contextlib.asynccontextmanager
    async def _bucket(self) -> AsyncGenerator[Bucket]:
        limits = self._limits
        # Ranges take `connections` of the threads at most; what is small need not wait for them.
        connections = Connections(limits.connections + SMALL_REQUESTS, limits.stall, "ryla-volume-copy")
        try:
            yield Bucket(connections, self._options.address, self._keys, limits)
        finally:
            connections.close()


def _file(item: Item, state: str, manifest: Manifest) -> dict[str, Any]:
    entry = manifest.entries.get(item.path)
    proven = (
        {"proof": entry.proof, "sha256": entry.sha256 or None}
        if entry is not None and state == VERIFIED
        else {}
    )
    return {
        "path": item.path,
        "key": item.source.key,
        "size": item.size,
        "endpoints": list(item.endpoints),
        "state": state,
        **proven,
    }
