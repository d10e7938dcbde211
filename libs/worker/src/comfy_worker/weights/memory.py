"""How much memory may still be used: the machine's, and what the cgroup of a container leaves of it."""

from __future__ import annotations

from pathlib import Path

MARGIN = 1 << 30
"""Bytes that are always left to the rest of the machine."""


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes that can be taken without swapping; page cache counts as free. None where nothing tells.

    `root` is the root of the file system, for tests.
    """
    known = [value for value in (_machine(root), _cgroup_v2(root), _cgroup_v1(root)) if value is not None]
    return min(known) if known else None


def fits(nbytes: int, root: Path = Path("/")) -> bool:
    """Whether `nbytes` more leave MARGIN free; True where nothing tells."""
    available = available_memory(root)
    return available is None or nbytes + MARGIN <= available


def _machine(root: Path) -> int | None:
    for line in _lines(root / "proc/meminfo"):
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return None


def _cgroup_v2(root: Path) -> int | None:
    folder = root / "sys/fs/cgroup"
    limit = _number(folder / "memory.max")
    used = _number(folder / "memory.current")
    if limit is None or used is None:
        return None
    return max(0, limit - used + _page_cache(folder / "memory.stat", ("active_file", "inactive_file")))


def _cgroup_v1(root: Path) -> int | None:
    folder = root / "sys/fs/cgroup/memory"
    limit = _number(folder / "memory.limit_in_bytes")
    used = _number(folder / "memory.usage_in_bytes")
    if limit is None or used is None or limit >= 1 << 62:
        return None
    names = ("total_active_file", "total_inactive_file")
    return max(0, limit - used + _page_cache(folder / "memory.stat", names))


def _page_cache(path: Path, names: tuple[str, ...]) -> int:
    fields = (line.split() for line in _lines(path))
    return sum(int(field[1]) for field in fields if len(field) == 2 and field[0] in names)


def _number(path: Path) -> int | None:
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdigit() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
