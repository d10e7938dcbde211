"""A private mapping that somebody wrote to is known, by either of the kernel's two ways."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from comfy_worker.weights import written_pages
from comfy_worker.weights.reading import read_if_cached
from comfy_worker.weights.written_pages import unwritten_spans

PAGES = 40


@pytest.fixture
def mapping(tmp_path: Path) -> Iterator[mmap.mmap]:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(PAGES * mmap.PAGESIZE))
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        yield mapped
        mapped.close()


def span(mapping: mmap.mmap) -> tuple[int, int]:
    start = ctypes.addressof(ctypes.c_char.from_buffer(mapping))
    return start, start + len(mapping)


@pytest.mark.parametrize("scan", [True, False])
def test_one_written_byte_is_noticed(mapping: mmap.mmap, monkeypatch: pytest.MonkeyPatch, scan: bool) -> None:
    if not scan:  # a kernel before 6.7

        def unknown(*_: object) -> bool:
            raise OSError("not a typewriter")

        monkeypatch.setattr(written_pages, "_has_own_page", unknown)
    one = span(mapping)
    assert unwritten_spans([one]) == {one[0]}
    assert sum(mapping[:: mmap.PAGESIZE]) >= 0  # read, not written
    assert unwritten_spans([one]) == {one[0]}
    mapping[17 * mmap.PAGESIZE + 5] = 1
    assert unwritten_spans([one]) == set()


def test_where_the_kernel_does_not_tell_nothing_counts_as_unwritten(
    mapping: mmap.mmap, tmp_path: Path
) -> None:
    assert unwritten_spans([span(mapping)], str(tmp_path)) == set()
    assert unwritten_spans([]) == set()


def test_only_what_is_cached_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = os.urandom(10_000)
    (tmp_path / "a").write_bytes(content)
    fd = os.open(tmp_path / "a", os.O_RDONLY)
    try:
        buffer = bytearray(5000)
        if read_if_cached(fd, memoryview(buffer), 3000):  # a file system may not be able to tell
            assert buffer == content[3000:8000]
            with pytest.raises(EOFError, match="byte 10000"):
                read_if_cached(fd, memoryview(buffer), 6000)
        monkeypatch.delattr(os, "RWF_NOWAIT", raising=False)
        assert not read_if_cached(fd, memoryview(buffer), 0)
    finally:
        os.close(fd)
