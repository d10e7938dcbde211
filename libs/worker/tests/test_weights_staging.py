"""Files that are read ahead: what is handed over, what is freed, and what is never used."""

from __future__ import annotations

import json
import os
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from comfy_worker.weights import staging
from comfy_worker.weights.chunks import Chunk
from comfy_worker.weights.staging import Fill, Staging

Sizes = dict[str, int]


def write(path: Path, sizes: Sizes) -> dict[str, tuple[int, bytes]]:
    """A safetensors file of bytes; each tensor's offset in the file and its content."""
    contents = {name: os.urandom(size) for name, size in sizes.items()}
    header, place = {}, 0
    for name, content in contents.items():
        header[name] = {
            "dtype": "U8",
            "shape": [len(content)],
            "data_offsets": [place, place + len(content)],
        }
        place += len(content)
    document = json.dumps(header).encode()
    start = 8 + len(document)
    path.write_bytes(struct.pack("<Q", len(document)) + document + b"".join(contents.values()))
    return {
        name: (start + int(header[name]["data_offsets"][0]), content) for name, content in contents.items()
    }


class Memory:
    """A sink of plain memory; `limit` bytes may be held, and `gate` must be open for a copy."""

    def __init__(self, limit: int = 1 << 40) -> None:
        self.limit = limit
        self.gate = threading.Event()
        self.gate.set()
        self.began = threading.Event()
        self.error: Exception | None = None

    def fits(self, nbytes: int, held: int) -> bool:
        return held + nbytes <= self.limit

    def allocate(self, sizes: Sequence[int]) -> list[bytearray]:
        return [bytearray(size) for size in sizes]

    def copy(self, chunk: Chunk, fill: Fill, targets: Sequence[bytearray]) -> bool:
        buffer = bytearray(chunk.nbytes)
        if not fill(memoryview(buffer), chunk.offset):
            return False
        self.began.set()
        assert self.gate.wait(30)
        if self.error is not None:
            raise self.error
        for piece in chunk.pieces:
            content = buffer[piece.chunk_offset : piece.chunk_offset + piece.nbytes]
            targets[piece.target][piece.target_offset : piece.target_offset + piece.nbytes] = content
        return True


class Reading:
    """A staging that was started, and what it said."""

    def __init__(self, sink: Memory, paths: Sequence[Path], hurried: Callable[[], bool]) -> None:
        self.said: list[str] = []
        self.staging = Staging(
            sink, hurried=hurried, say=self.said.append, smallest=10, threads=3, chunk_bytes=700
        )
        self.staging.open(str(path) for path in paths)
        self.threads = self.staging.start()

    def wait(self) -> None:
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive()

    def take(self, path: Path, parts: Sequence[tuple[int, int]]) -> list[bytearray | None]:
        fd = os.open(path, os.O_RDONLY)
        try:
            return self.staging.take(fd, parts)
        finally:
            os.close(fd)


@pytest.fixture
def start() -> Iterator[Callable[..., Reading]]:
    begun: list[tuple[Memory, Reading]] = []

    def begin(paths: Sequence[Path], sink: Memory | None = None, hurried: bool = True) -> Reading:
        sink = sink or Memory()
        reading = Reading(sink, paths, lambda: hurried)
        begun.append((sink, reading))
        return reading

    yield begin
    for sink, reading in begun:
        sink.gate.set()
        reading.staging.release()
        reading.wait()


def test_every_tensor_is_handed_over_once(tmp_path: Path, start: Callable[..., Reading]) -> None:
    file = tmp_path / "a.safetensors"
    tensors = write(file, {"large": 5000, "small": 9, "middle": 700, "last": 1})
    reading = start([file])
    reading.wait()
    assert reading.staging.nbytes == 5700
    places = [(offset, len(content)) for offset, content in tensors.values()]
    taken = reading.take(file, places)
    assert taken == [tensors["large"][1], None, tensors["middle"][1], None]
    assert reading.staging.nbytes == 0
    assert reading.staging.paths == []
    assert reading.take(file, places) == [None] * 4
    assert len([line for line in reading.said if line.startswith("read ahead 5700 bytes of a.")]) == 1


def test_what_is_wanted_goes_first_and_is_waited_for(tmp_path: Path, start: Callable[..., Reading]) -> None:
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    write(first, {"a": 700 * 50})
    (offset, content), *_ = write(second, {"b": 2000}).values()
    sink = Memory()
    sink.gate.clear()
    reading = start([first, second], sink)
    assert sink.began.wait(30)
    threading.Timer(0.05, sink.gate.set).start()
    assert reading.take(second, [(offset, 2000)]) == [content]
    assert [line for line in reading.said if "second" in line]


def test_a_file_that_changed_is_freed_and_never_handed_over(
    tmp_path: Path, start: Callable[..., Reading]
) -> None:
    file = tmp_path / "a.safetensors"
    tensors = write(file, {"a": 5000})
    reading = start([file])
    reading.wait()
    os.utime(file, ns=(0, 0))
    assert reading.take(file, [(tensors["a"][0], 5000)]) == [None]
    assert reading.staging.nbytes == 0


def test_a_file_that_was_replaced_is_not_handed_over(tmp_path: Path, start: Callable[..., Reading]) -> None:
    file = tmp_path / "a.safetensors"
    tensors = write(file, {"a": 5000})
    reading = start([file])
    reading.wait()
    write(tmp_path / "b", {"a": 5000})
    (tmp_path / "b").replace(file)
    assert reading.take(file, [(tensors["a"][0], 5000)]) == [None]


def test_what_was_needed_before_is_not_read_ahead_any_more(tmp_path: Path) -> None:
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    write(first, {"a": 5000})
    write(second, {"b": 5000})
    sink = Memory()
    own, staging_of = sink.allocate, list[Staging[bytearray]]()

    def allocate(sizes: Sequence[int]) -> list[bytearray]:
        for path in (first, second):  # one is being opened, the other is not yet
            fd = os.open(path, os.O_RDONLY)
            assert staging_of[0].take(fd, [(0, 10)]) == [None]
            os.close(fd)
        return own(sizes)

    sink.allocate = allocate
    staging_of.append(Staging(sink, hurried=lambda: True, say=lambda _: None))
    staging_of[0].open([str(first), str(second)])
    for thread in staging_of[0].start():
        thread.join(30)
    assert staging_of[0].nbytes == 0


def test_what_does_not_fit_or_cannot_be_read_is_left_out(
    tmp_path: Path, start: Callable[..., Reading]
) -> None:
    large, broken, small = (tmp_path / f"{name}.safetensors" for name in ("large", "broken", "small"))
    write(large, {"a": 5000})
    write(small, {"a": 100})
    broken.write_bytes(b"no weights")
    reading = start([large, broken, tmp_path / "missing", small], Memory(limit=1000))
    reading.wait()
    assert reading.staging.paths == [str(small)]
    assert reading.staging.nbytes == 100
    assert len([line for line in reading.said if line.startswith("not read ahead: ")]) == 3


def test_files_that_nobody_names_are_freed(tmp_path: Path, start: Callable[..., Reading]) -> None:
    used, unused = tmp_path / "used.safetensors", tmp_path / "unused.safetensors"
    write(used, {"a": 100})
    write(unused, {"a": 5000})
    reading = start([unused, used])
    reading.wait()
    reading.staging.keep(lambda path: path == str(used))
    assert reading.staging.paths == [str(used)]
    assert reading.staging.nbytes == 100


def test_a_release_waits_for_copies_under_way(tmp_path: Path, start: Callable[..., Reading]) -> None:
    file = tmp_path / "a.safetensors"
    write(file, {"a": 50_000})
    sink = Memory()
    sink.gate.clear()
    reading = start([file], sink)
    assert sink.began.wait(30)
    releasing = threading.Thread(target=reading.staging.release)
    releasing.start()
    assert releasing.is_alive()
    sink.gate.set()
    releasing.join(30)
    assert reading.staging.nbytes == 0
    reading.wait()


def test_an_error_while_reading_leaves_the_file_to_comfyui(
    tmp_path: Path, start: Callable[..., Reading]
) -> None:
    file = tmp_path / "a.safetensors"
    write(file, {"a": 50_000})
    sink = Memory()
    sink.gate.clear()
    sink.error = OSError("the disk is gone")
    reading = start([file], sink)
    assert sink.began.wait(30)
    sink.gate.set()
    assert reading.take(file, [(0, 10)]) == [None]
    reading.wait()
    assert reading.staging.nbytes == 0
    assert "the disk is gone" in reading.said[0]


def test_until_comfyui_answers_only_the_page_cache_is_read(
    tmp_path: Path, start: Callable[..., Reading], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.safetensors"
    tensors = write(file, {"a": 5000})
    asked = threading.Event()

    def not_cached(fd: int, view: memoryview, offset: int) -> bool:
        asked.set()
        return False

    monkeypatch.setattr(staging, "read_if_cached", not_cached)
    monkeypatch.setattr(staging, "PAUSE", 0.001)
    reading = start([file], hurried=False)
    assert asked.wait(30)
    assert not [line for line in reading.said if line.startswith("read ahead")]
    # Who needs it does not wait for the boot.
    assert reading.take(file, [(tensors["a"][0], 5000)]) == [tensors["a"][1]]
    reading.wait()


def test_it_is_read_at_once_when_comfyui_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.safetensors"
    write(file, {"a": 5000})
    serving, asked = threading.Event(), threading.Event()

    def not_cached(fd: int, view: memoryview, offset: int) -> bool:
        asked.set()
        return False

    monkeypatch.setattr(staging, "read_if_cached", not_cached)
    reading = Reading(Memory(), [file], serving.is_set)
    assert asked.wait(30)
    serving.set()
    reading.wait()
    assert reading.staging.nbytes == 5000
    reading.staging.release()
