"""Files that are read ahead into tensors of their own, and handed over to whoever asks for their parts.

Until ComfyUI answers, only what the page cache holds is read: the disk belongs to the imports, and to the read-ahead
that fills the page cache beside them. Afterwards, and for a file that somebody waits for, everything is.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar, cast

from .chunks import Chunk, Segment, plan_chunks
from .header import WeightsInvalid, WeightsUnsupported, read_header
from .reading import CHUNK_BYTES, read_exactly, read_if_cached, thread_count

PAUSE = 0.1
"""Seconds after which a chunk that was not in the page cache is tried again."""

Identity = tuple[int, int, int, int]
"""Device, inode, bytes and nanoseconds of the last change: the same content, as long as nobody sets clocks back."""

T = TypeVar("T")

Fill = Callable[[memoryview, int], bool]
"""Fills a buffer with the bytes from an offset; False when it filled nothing."""


class Sink(Protocol[T]):
    """Where tensors go: a GPU."""

    def fits(self, nbytes: int, held: int) -> bool:
        """Whether `nbytes` more may be read ahead, beside `held` bytes that already are."""
        ...

    def allocate(self, sizes: Sequence[int]) -> list[T]:
        """Flat tensors of so many bytes each."""
        ...

    def copy(self, chunk: Chunk, fill: Fill, targets: Sequence[T]) -> bool:
        """Brings one chunk to its targets; False when `fill` says so."""
        ...


@dataclass(slots=True, eq=False)
class _File(Generic[T]):
    path: str
    fd: int
    identity: Identity
    nbytes: int
    targets: list[T | None]
    chunks: deque[Chunk]
    left: int
    """Chunks that are not copied yet."""
    places: dict[tuple[int, int], int]
    """Offset and bytes of a tensor to the number of its target; those that were not handed over."""
    started: float = field(default_factory=time.monotonic)
    busy: int = 0
    """Threads that work on it."""
    demanded: bool = False
    ready: bool = False
    gone: bool = False


class Staging(Generic[T]):
    """Reads safetensors files ahead on threads of its own; every method may be called from any thread."""

    def __init__(
        self,
        sink: Sink[T],
        *,
        hurried: Callable[[], bool],
        say: Callable[[str], None],
        smallest: int = 1,
        threads: int | None = None,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> None:
        """`hurried` says whether the disk may be read, too. Tensors below `smallest` bytes are left alone. `say` gets
        a line for each file.
        """
        self._sink, self._hurried, self._say = sink, hurried, say
        self._smallest, self._chunk_bytes = smallest, chunk_bytes
        self._threads = threads or thread_count()
        self._changed = threading.Condition()
        self._files: list[_File[T]] = []
        self._queue: deque[_File[T]] = deque()
        self._asked: set[Identity] = set()
        """What somebody needed before it was read ahead: it will not be."""
        self._opened_all = False
        self._stopped = False
        self._hurrying = False
        self._probing = False
        self._retry_at = 0.0

    @property
    def nbytes(self) -> int:
        """Bytes that are held, or will be, and that nobody has taken."""
        with self._changed:
            return sum(self._held(file) for file in self._files)

    @property
    def stopped(self) -> bool:
        """Whether everything was released."""
        return self._stopped

    @property
    def paths(self) -> list[str]:
        """Files of which something is held."""
        with self._changed:
            return [file.path for file in self._files]

    def open(self, paths: Iterable[str]) -> None:
        """Takes memory for `paths`; what cannot be read ahead is left to who needs it."""
        for path in dict.fromkeys(paths):
            try:
                file = self._open(path)
            except (OSError, MemoryError, WeightsInvalid, WeightsUnsupported, RuntimeError) as error:
                self._say(f"not read ahead: {path}: {type(error).__name__}: {error}")
                continue
            if file is not None:
                self._enqueue(file)
        with self._changed:
            self._opened_all = True
            self._changed.notify_all()

    def start(self) -> list[threading.Thread]:
        """Begins to read what was opened, in that order."""
        threads = [
            threading.Thread(target=self._work, name=f"ahead_{n}", daemon=True) for n in range(self._threads)
        ]
        for thread in threads:
            thread.start()
        return threads

    def take(self, fd: int, parts: Sequence[tuple[int, int]]) -> list[T | None]:
        """Hands over tensors of the file that is open as `fd`, by offset and bytes: each only once, None for others.

        Waits for the file when it is being read, which then goes first. What was read before the file changed is
        freed.
        """
        nothing: list[T | None] = [None] * len(parts)
        file = self._current(fd)
        if file is None:
            return nothing
        with self._changed:
            file.demanded = True
            if file in self._queue:
                self._queue.remove(file)
                self._queue.appendleft(file)
            self._changed.notify_all()
            self._changed.wait_for(lambda: file.ready or file.gone)
            if file.gone:
                return nothing
            numbers = [file.places.pop(part, None) for part in parts]
            taken = [None if number is None else file.targets[number] for number in numbers]
            for number in (number for number in numbers if number is not None):
                file.targets[number] = None
            self._tidy(file)
        return taken

    def keep(self, wanted: Callable[[str], bool]) -> None:
        """Frees everything of the files whose paths are not `wanted`."""
        with self._changed:
            files = [file for file in self._files if not wanted(file.path)]
        self._drop(files)

    def release(self) -> None:
        """Frees everything, and reads no more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            files = list(self._files)
        self._drop(files)

    def _held(self, file: _File[T]) -> int:
        return sum(nbytes for _, nbytes in file.places)

    def _current(self, fd: int) -> _File[T] | None:
        """The file with this content; one with the same inode and another content is freed."""
        identity = _identity(fd)
        with self._changed:
            same = [file for file in self._files if file.identity[:2] == identity[:2]]
            found = next((file for file in same if file.identity == identity), None)
            if found is None:
                self._asked.add(identity)
        self._drop([file for file in same if file is not found])
        return found

    def _enqueue(self, file: _File[T]) -> None:
        with self._changed:
            if not self._stopped and file.identity not in self._asked:
                self._files.append(file)
                self._queue.append(file)
                self._changed.notify_all()
                return
        self._forget(file)

    def _open(self, path: str) -> _File[T] | None:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            identity = _identity(fd)
            tensors = [one for one in read_header(path).tensors if one.nbytes >= self._smallest]
            nbytes = sum(one.nbytes for one in tensors)
            if not nbytes or self._stopped or identity in self._asked:
                os.close(fd)
                return None
            if not self._sink.fits(nbytes, self.nbytes):
                raise MemoryError(f"{nbytes} bytes are too many for what is free")
            segments = (Segment(one.offset, one.nbytes, number) for number, one in enumerate(tensors))
            chunks = deque(plan_chunks(segments, self._chunk_bytes))
            places = {(one.offset, one.nbytes): number for number, one in enumerate(tensors)}
            targets: list[T | None] = [*self._sink.allocate([one.nbytes for one in tensors])]
        except BaseException:
            os.close(fd)
            raise
        return _File(path, fd, identity, nbytes, targets, chunks, len(chunks), places)

    def _work(self) -> None:
        while (task := self._next()) is not None:
            file, chunk, read = task
            error: Exception | None = None
            copied = ready = False
            try:
                copied = self._sink.copy(chunk, read, cast("list[T]", file.targets))
                ready = copied and self._is_last(file)
            except Exception as caught:
                error = caught
            if error is None and not copied:
                self._put_back(file, chunk)
            self._after(file, ready, error)

    def _next(self) -> tuple[_File[T], Chunk, Fill] | None:
        with self._changed:
            while True:
                while self._queue and not self._queue[0].chunks:
                    self._queue.popleft()
                if not self._queue:
                    if self._opened_all or self._stopped:
                        return None
                    self._changed.wait()
                    continue
                file = self._queue[0]
                hurried = file.demanded or self._is_hurried()
                pause = self._retry_at - time.monotonic()
                if not hurried and (self._probing or pause > 0):
                    self._wait(pause)
                    continue
                file.busy += 1
                read = functools.partial(_read_all if hurried else read_if_cached, file.fd)
                return file, file.chunks.popleft(), read

    def _is_hurried(self) -> bool:
        self._hurrying = self._hurrying or self._hurried()
        return self._hurrying

    def _wait(self, seconds: float) -> None:
        """One thread looks again after a while, the others wait for what it finds."""
        if self._probing:
            self._changed.wait()
            return
        self._probing = True
        self._changed.wait(seconds)
        self._probing = False
        self._changed.notify_all()

    def _is_last(self, file: _File[T]) -> bool:
        with self._changed:
            file.left -= 1
            return file.left == 0

    def _put_back(self, file: _File[T], chunk: Chunk) -> None:
        with self._changed:
            self._retry_at = time.monotonic() + PAUSE
            if file.gone:
                return
            file.chunks.appendleft(chunk)
            if file not in self._queue:
                self._queue.appendleft(file)

    def _after(self, file: _File[T], ready: bool, error: Exception | None) -> None:
        with self._changed:
            file.busy -= 1
            file.ready = file.ready or ready
            self._changed.notify_all()
        if error is not None:
            self._say(f"not read ahead: {file.path}: {type(error).__name__}: {error}")
            self._drop([file])
        elif ready:
            seconds = time.monotonic() - file.started
            self._say(f"read ahead {file.nbytes} bytes of {os.path.basename(file.path)} in {seconds:.3f} s")

    def _drop(self, files: Sequence[_File[T]]) -> None:
        if not files:
            return
        with self._changed:
            for file in files:
                file.gone = True
                file.chunks.clear()
            self._changed.notify_all()
            self._changed.wait_for(lambda: not any(file.busy for file in files))
            files = [file for file in files if file in self._files]
            self._files = [file for file in self._files if file not in files]
        for file in files:
            self._forget(file)

    def _tidy(self, file: _File[T]) -> None:
        """Forgets a file of which everything was handed over."""
        if not file.places and file in self._files:
            self._files.remove(file)
            self._forget(file)

    def _forget(self, file: _File[T]) -> None:
        file.targets = []
        file.places = {}
        with contextlib.suppress(OSError):
            os.close(file.fd)


def _identity(fd: int) -> Identity:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _read_all(fd: int, view: memoryview, offset: int) -> bool:
    read_exactly(fd, view, offset)
    return True
