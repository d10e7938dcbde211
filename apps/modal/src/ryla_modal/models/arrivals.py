"""Bytes of an answer on their way into a part file, in the thread that reads them."""

from __future__ import annotations

import time
from collections.abc import Callable

from .part_file import Digest, PartFile

NOTE_BYTES = 4 << 20
NOTE_SECONDS = 0.25
"""Bytes, or seconds, after which what was written is noted: what a kill loses of each connection, at most."""


class InOrder:
    """A digest that is fed while the bytes come, as far as they come in order."""

    def __init__(self, digest: Digest) -> None:
        self.digest = digest
        self.position = 0
        """Bytes that were fed to it."""

    def offer(self, at: int, data: memoryview) -> None:
        """Takes bytes if they are the next ones."""
        if at == self.position:
            self.digest.update(data)
            self.position += len(data)


class RangeArrivals:
    """One range. See sources.Sink."""

    def __init__(
        self,
        part: PartFile,
        begin: Callable[[str | None], None],
        noted: Callable[[int], None],
        in_order: InOrder | None,
    ) -> None:
        """`begin` may refuse a version; `noted` hears of bytes that are in the journal. Both in the reading thread."""
        self._part = part
        self._noted = noted
        self._in_order = in_order
        self._from = self._until = 0
        self._since = time.monotonic()
        self._begin = begin

    def begin(self, etag: str | None) -> None:
        """Raises what the version's check does."""
        self._begin(etag)

    def take(self, at: int, data: memoryview) -> None:
        """Writes bytes. Raises NotWritten."""
        self._part.write(at, data)
        if at != self._until:
            self.note()
            self._from = at
        self._until = at + len(data)
        if self._in_order is not None:
            self._in_order.offer(at, data)
        if self._until - self._from >= NOTE_BYTES or time.monotonic() - self._since >= NOTE_SECONDS:
            self.note()

    def note(self) -> None:
        """Notes what was written since the last time; to be called when the answer has ended, too. Raises NotWritten."""
        begin, self._from = self._from, self._until
        self._since = time.monotonic()
        if begin < self._until:
            self._part.note(begin, self._until)
            self._noted(self._until - begin)


class WholeArrivals:
    """The whole file in one answer, of which nothing counts before its end. See sources.Sink."""

    def __init__(self, part: PartFile, reached: Callable[[int], None]) -> None:
        """`reached` hears in the reading thread how many bytes there are."""
        self._part = part
        self._tell = reached
        self.reached = 0

    def begin(self, etag: str | None) -> None:
        """Any version will do."""

    def take(self, at: int, data: memoryview) -> None:
        """Writes bytes. Raises NotWritten."""
        self._part.write(at, data)
        self.reached = at + len(data)
        self._tell(self.reached)
