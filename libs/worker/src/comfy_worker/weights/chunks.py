"""How the bytes of many tensors become few large reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Segment:
    """`nbytes` of a file from `offset`, which belong into target number `target`."""

    offset: int
    nbytes: int
    target: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a chunk: `nbytes` at `chunk_offset` in it go to `target_offset` of target number `target`."""

    chunk_offset: int
    nbytes: int
    target: int
    target_offset: int


@dataclass(slots=True)
class Chunk:
    """One read of `nbytes` from `offset` of the file, and where its pieces go."""

    offset: int
    nbytes: int
    pieces: list[Piece]


def plan_chunks(segments: Iterable[Segment], chunk_bytes: int) -> Iterator[Chunk]:
    """Reads of at most `chunk_bytes`, in the order of the file: long segments cut, neighbours joined.

    Every byte of every segment is in exactly one piece; bytes that no segment has are not read.
    """
    if chunk_bytes <= 0:
        raise ValueError("chunk_bytes must be positive")
    chunk: Chunk | None = None
    for segment in sorted(segments, key=lambda one: one.offset):
        done = 0
        while done < segment.nbytes:
            place = segment.offset + done
            if chunk is None or chunk.offset + chunk.nbytes != place or chunk.nbytes == chunk_bytes:
                if chunk is not None:
                    yield chunk
                chunk = Chunk(place, 0, [])
            size = min(segment.nbytes - done, chunk_bytes - chunk.nbytes)
            chunk.pieces.append(Piece(chunk.nbytes, size, segment.target, done))
            chunk.nbytes += size
            done += size
    if chunk is not None:
        yield chunk
