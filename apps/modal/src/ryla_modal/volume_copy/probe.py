"""How fast the source gives, measured for a plan's estimate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from ..models.connections import SourceFailed
from ..models.download import Limits
from ..models.sources import RangeIgnored
from .bandwidth import Bandwidth
from .bucket import Bucket
from .errors import ChangedDuringCopy
from .object_source import ObjectSource
from .plan import Item

PROBE_BYTES = 32 << 20
RANGES = 8


async def measure(
    bucket: Bucket, items: Sequence[Item], bandwidth: Bandwidth, limits: Limits
) -> float | None:
    """Bytes a second over some ranges of the largest item; None where it could not be measured."""
    largest = max(items, key=lambda item: item.size, default=None)
    if largest is None or largest.size < PROBE_BYTES // RANGES:
        return None
    try:
        head = await bucket.head(largest.source.key)
    except ChangedDuringCopy:
        return None
    source = ObjectSource(bucket, largest.source.key, head, bandwidth)
    length = min(PROBE_BYTES, head.size) // RANGES
    step = (head.size - length) // (RANGES - 1)
    slots = asyncio.Semaphore(limits.connections)

    async def read(start: int) -> int:
        async with slots:
            return len(await source.read(start, start + length))

    began = time.monotonic()
    try:
        async with asyncio.timeout(limits.stall):
            counts = await asyncio.gather(*(read(at * step) for at in range(RANGES)))
    except (TimeoutError, SourceFailed, RangeIgnored, ChangedDuringCopy):
        return None
    seconds = time.monotonic() - began
    return sum(counts) / seconds if seconds > 0 else None
