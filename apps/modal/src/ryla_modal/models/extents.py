"""Which bytes of a file are there: a set of half-open ranges. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator

Extent = tuple[int, int]
"""First byte, and the byte after the last."""


class Extents:
    """Ranges that are sorted, apart from each other and never empty."""

    def __init__(self, extents: Iterable[Extent] = ()) -> None:
        self._extents: list[Extent] = []
        for start, end in extents:
            self.add(start, end)

    def __iter__(self) -> Iterator[Extent]:
        return iter(self._extents)

    @property
    def length(self) -> int:
        """Bytes that are there."""
        return sum(end - start for start, end in self._extents)

    @property
    def frontier(self) -> int:
        """Bytes from the beginning without a gap."""
        return self._extents[0][1] if self._extents and self._extents[0][0] == 0 else 0

    def add(self, start: int, end: int) -> None:
        """Adds a range, which may touch or overlap others."""
        if start >= end:
            return
        first = bisect_left(self._extents, start, key=lambda extent: extent[1])
        last = first
        while last < len(self._extents) and self._extents[last][0] <= end:
            start, end = min(start, self._extents[last][0]), max(end, self._extents[last][1])
            last += 1
        self._extents[first:last] = [(start, end)]

    def missing(self, size: int, piece: int) -> Iterator[Extent]:
        """What a file of `size` bytes still lacks, in order, in pieces of at most `piece` bytes."""
        at = 0
        for start, end in [*self._extents, (size, size)]:
            while at < min(start, size):
                until = min(at + piece, start, size)
                yield at, until
                at = until
            at = max(at, end)

    def next_gap(self, at: int) -> int:
        """The first byte from `at` on that is not there."""
        for start, end in self._extents:
            if start <= at < end:
                return end
        return at
