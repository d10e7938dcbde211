"""Many tensors become few reads, reads run in parallel, and a read-ahead keeps within memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from comfy_worker.weights import memory, read_ahead
from comfy_worker.weights.chunks import Segment, plan_chunks
from comfy_worker.weights.read_ahead import ReadAhead, Wanted
from comfy_worker.weights.reading import CHUNK_BYTES, in_parallel, is_cached, read_exactly, thread_count
from hypothesis import given
from hypothesis import strategies as st


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 40)), max_size=12), st.integers(1, 16))
def test_chunks_hold_every_byte_once(gaps_and_sizes: list[tuple[int, int]], chunk_bytes: int) -> None:
    segments: list[Segment] = []
    place = 0
    for target, (gap, size) in enumerate(gaps_and_sizes):
        segments.append(Segment(place + gap, size, target))
        place += gap + size
    filled = {segment.target: [-1] * segment.nbytes for segment in segments}
    for chunk in plan_chunks(reversed(segments), chunk_bytes):
        assert 0 < chunk.nbytes <= chunk_bytes
        assert sum(piece.nbytes for piece in chunk.pieces) == chunk.nbytes
        for piece in chunk.pieces:
            for index in range(piece.nbytes):
                assert filled[piece.target][piece.target_offset + index] == -1
                filled[piece.target][piece.target_offset + index] = chunk.offset + piece.chunk_offset + index
    for segment in segments:
        assert filled[segment.target] == list(range(segment.offset, segment.offset + segment.nbytes))


def test_neighbours_share_a_read() -> None:
    chunks = list(plan_chunks([Segment(0, 3, 0), Segment(3, 3, 1), Segment(9, 1, 2)], 100))
    assert [(chunk.offset, chunk.nbytes) for chunk in chunks] == [(0, 6), (9, 1)]


def test_a_file_that_ends_early_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "short"
    path.write_bytes(b"12345")
    fd = os.open(path, os.O_RDONLY)
    try:
        buffer = bytearray(3)
        read_exactly(fd, memoryview(buffer), 1)
        assert bytes(buffer) == b"234"
        with pytest.raises(EOFError, match="2 bytes early"):
            read_exactly(fd, memoryview(buffer), 4)
    finally:
        os.close(fd)


def test_the_first_error_ends_all_threads() -> None:
    done: list[int] = []

    def task(number: int) -> Callable[[], None]:
        def run() -> None:
            if number == 5:
                raise ValueError("five")
            done.append(number)

        return run

    with pytest.raises(ValueError, match="five"):
        in_parallel((task(number) for number in range(100_000)), 4)
    assert len(done) < 100_000


def test_work_runs_on_several_threads_at_once() -> None:
    together = threading.Barrier(4, timeout=30)
    in_parallel((lambda: together.wait() and None for _ in range(4)), 4)
    assert thread_count() >= 4


def written(path: Path, nbytes: int) -> Path:
    path.write_bytes(os.urandom(nbytes))
    return path


def test_a_read_ahead_brings_files_and_parts_and_leaves_out_what_it_cannot_read(tmp_path: Path) -> None:
    large = written(tmp_path / "large", CHUNK_BYTES + 5)
    parts = written(tmp_path / "parts", 1000)
    missing = tmp_path / "missing"
    wanted = [Wanted(large), Wanted(parts, ((0, 10), (500, 20))), Wanted(missing), Wanted(tmp_path)]
    report = ReadAhead(wanted, budget=1 << 40).run()
    assert report.read_bytes + report.cached_bytes == CHUNK_BYTES + 5 + 30
    assert report.left_out == (str(missing),)


def test_a_read_ahead_of_a_folder_looks_at_its_entries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Path] = []
    monkeypatch.setattr(read_ahead, "_look_at", looked.append)
    report = ReadAhead([Wanted(tmp_path), Wanted(written(tmp_path / "a", 10))], budget=100).run()
    assert looked == [tmp_path]
    assert report.read_bytes + report.cached_bytes == 10


def test_a_read_ahead_takes_no_more_than_its_budget(tmp_path: Path) -> None:
    files = [written(tmp_path / name, size) for name, size in (("a", 600), ("b", 600), ("c", 300))]
    report = ReadAhead([Wanted(file) for file in files], budget=1000).run()
    assert report.read_bytes + report.cached_bytes == 900
    assert report.left_out == (str(files[1]),)


def test_a_gentle_read_ahead_ends_by_itself_also_without_hurry(tmp_path: Path) -> None:
    report = ReadAhead([Wanted(written(tmp_path / "a", 3 * CHUNK_BYTES))], budget=1 << 40, gentle=True).run()
    assert report.read_bytes + report.cached_bytes == 3 * CHUNK_BYTES


def test_a_stopped_read_ahead_reads_nothing(tmp_path: Path) -> None:
    reading = ReadAhead([Wanted(written(tmp_path / "a", 10))], budget=1 << 40)
    reading.stop()
    assert reading.run().read_bytes == 0


def test_what_was_just_written_is_cached_or_cannot_be_asked(tmp_path: Path) -> None:
    fd = os.open(written(tmp_path / "a", 10_000), os.O_RDONLY)
    try:
        assert is_cached(fd, 0, 10_000) in (True, False)
    finally:
        os.close(fd)


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")
    return root


MEMINFO = {"proc/meminfo": "MemTotal: 100 kB\nMemAvailable:    16000000 kB\n"}


def test_memory_is_the_machines_without_a_cgroup(tmp_path: Path) -> None:
    assert memory.available_memory(machine(tmp_path, MEMINFO)) == 16_000_000 * 1024


def test_memory_is_the_cgroups_where_that_is_less_and_page_cache_counts_as_free(tmp_path: Path) -> None:
    group = {
        "sys/fs/cgroup/memory.max": "4000000000\n",
        "sys/fs/cgroup/memory.current": "3000000000\n",
        "sys/fs/cgroup/memory.stat": "anon 1\nactive_file 500000000\ninactive_file 1000000000\n",
    }
    root = machine(tmp_path, MEMINFO | group)
    assert memory.available_memory(root) == 2_500_000_000
    assert memory.fits(1_000_000_000, root)
    assert not memory.fits(2_000_000_000, root)


def test_a_cgroup_without_a_limit_or_of_the_first_version_is_understood(tmp_path: Path) -> None:
    unlimited = {"sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/memory.current": "1\n"}
    assert memory.available_memory(machine(tmp_path / "a", MEMINFO | unlimited)) == 16_000_000 * 1024
    first = {
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "2000\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": "1500\n",
        "sys/fs/cgroup/memory/memory.stat": "total_active_file 100\ntotal_inactive_file 200\n",
    }
    assert memory.available_memory(machine(tmp_path / "b", MEMINFO | first)) == 800
    assert memory.available_memory(tmp_path / "nothing") is None
    assert memory.fits(1 << 60, tmp_path / "nothing")
