"""What is on the source, folder by folder."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..models.progress import duration
from .bucket import Bucket
from .errors import ListingFailed
from .layout import SourceObject, shown

LISTINGS = 8
"""Folders that are listed at once."""

DEPTH = 64
"""Folders within folders; deeper ones are listed as not looked into."""

REPEATS = 40
"""Repeated tokens in a row that a listing is waited for: with the waits' longest of 30 s, about a quarter of an hour.
RunPod's first listing of a large volume computes checksums "for minutes" (contracts/runpod.md)."""

REPEAT_WAIT = 30.0
"""Seconds: the longest wait after a repeated token."""


@dataclass(frozen=True, slots=True)
class Folder:
    """Sum of the files right in one folder."""

    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Inventory:
    """Files below the roots, and the names of what lies beside them."""

    objects: list[SourceObject] = field(default_factory=list[SourceObject])
    folders: dict[str, Folder] = field(default_factory=dict[str, Folder])
    """By prefix."""
    beside: list[str] = field(default_factory=list[str])
    """Prefixes that no root is in; they are not looked into."""
    loose: list[SourceObject] = field(default_factory=list[SourceObject])
    """Files on the way to a root, such as those at the volume's top."""


async def take_inventory(bucket: Bucket, roots: Sequence[str], say: Callable[[str], None]) -> Inventory:
    """Lists all that lies below the roots. Raises ModelError."""
    inventory = Inventory()
    slots = asyncio.Semaphore(LISTINGS)
    pending = [""]
    while pending:
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(_list(bucket, prefix, slots, say)) for prefix in pending]
        except ExceptionGroup as error:
            raise error.exceptions[0] from error
        found = list(zip(pending, (task.result() for task in tasks), strict=True))
        pending = []
        for prefix, (objects, below) in found:
            pending += _note(inventory, prefix, objects, below, roots)
    return inventory


def _note(
    inventory: Inventory, prefix: str, objects: list[SourceObject], below: list[str], roots: Sequence[str]
) -> list[str]:
    """Takes one folder's listing; returns the prefixes to be listed next."""
    if any(prefix.startswith(root) for root in roots):
        inventory.objects.extend(objects)
        if objects:
            inventory.folders[prefix] = Folder(len(objects), sum(item.size for item in objects))
        following = [name for name in below if name.count("/") <= DEPTH]
    else:
        inventory.loose.extend(objects)
        following = [
            name for name in below if any(root.startswith(name) or name.startswith(root) for root in roots)
        ]
    inventory.beside.extend(name for name in below if name not in following)
    return following


async def _list(
    bucket: Bucket, prefix: str, slots: asyncio.Semaphore, say: Callable[[str], None]
) -> tuple[list[SourceObject], list[str]]:
    """Objects right below a prefix and the prefixes below it."""
    objects: dict[str, SourceObject] = {}
    below: dict[str, None] = {}
    seen: set[str] = set()
    token: str | None = None
    repeats, waited = 0, 0.0
    while True:
        async with slots:
            page = await bucket.page(prefix, token)
        objects.update((item.key, item) for item in page.objects if item.key.startswith(prefix))
        below.update((name, None) for name in page.prefixes if name.startswith(prefix) and name != prefix)
        if page.token is None:
            return list(objects.values()), list(below)
        if page.token not in seen:
            seen.add(page.token)
            token, repeats = page.token, 0
            continue
        repeats += 1
        if repeats > REPEATS:
            raise ListingFailed(
                f"The listing of {shown(prefix) or 'the volume'} repeats its continuation token for "
                f"{duration(waited)}.",
                hint="RunPod computes checksums at the first listing of a large volume: run it again later.",
            )
        if repeats == 1:
            say(
                f"The source repeats a token of {shown(prefix) or 'the volume'}: it computes checksums; waiting."
            )
        wait = min(REPEAT_WAIT, bucket.wait(repeats))
        waited += wait
        await asyncio.sleep(wait)
