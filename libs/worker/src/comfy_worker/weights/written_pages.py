"""Which private mappings of files hold pages of their own, because somebody wrote to them."""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import struct

_ENTRY = re.compile(rb"^([0-9a-f]+)-[0-9a-f]+ ", re.MULTILINE)
_ANONYMOUS = re.compile(rb"^Anonymous:\s+(\d+)", re.MULTILINE)

PAGEMAP_SCAN = 0xC0606610
"""The ioctl of /proc/PID/pagemap, from Linux 6.7 (include/uapi/linux/fs.h)."""

IS_FILE, IS_PRESENT, IS_SWAPPED = 1 << 2, 1 << 3, 1 << 4
"""PAGE_IS_FILE, PAGE_IS_PRESENT and PAGE_IS_SWAPPED of the same header."""

Span = tuple[int, int]
"""First address of a mapping and the one after its last."""


def unwritten_spans(spans: list[Span], proc: str = "/proc/self") -> set[int]:
    """First addresses of those mappings without a page of their own.

    Empty where the kernel does not tell: neither PAGEMAP_SCAN nor a smaps with `Anonymous`.
    """
    try:
        return {start for start, end in spans if not _has_own_page(proc, start, end)}
    except OSError:
        pass
    try:
        with open(f"{proc}/smaps", "rb") as stream:
            text = stream.read()
    except OSError:
        return set()
    return {start for start, end in spans if _own_kilobytes(text, start, end) == 0}


def _has_own_page(proc: str, start: int, end: int) -> bool:
    """Raises OSError where PAGEMAP_SCAN is not known. It skips what was never touched: microseconds, not the
    0.05 s that smaps takes in a process with thousands of mappings.
    """
    page = os.sysconf("SC_PAGE_SIZE")
    region = ctypes.create_string_buffer(24)
    # Pages that are not of a file (inverted and asked for), and that are there or swapped out; one is enough.
    argument = struct.pack(
        "<12Q",
        96,
        0,
        start,
        -(-end // page) * page,
        0,
        ctypes.addressof(region),
        1,
        1,
        IS_FILE,
        IS_FILE,
        IS_PRESENT | IS_SWAPPED,
        IS_PRESENT,
    )
    fd = os.open(f"{proc}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return fcntl.ioctl(fd, PAGEMAP_SCAN, bytearray(argument)) > 0
    finally:
        os.close(fd)


def _own_kilobytes(smaps: bytes, start: int, end: int) -> int | None:
    """Kilobytes of pages of its own in a mapping, which may be several entries; None when an entry does not say."""
    # A search, not a walk: ComfyUI has thousands of mappings, and this runs with every model.
    place = re.search(rb"^0*%x-" % start, smaps, re.MULTILINE)
    entry = _ENTRY.search(smaps, place.start()) if place else None
    total: int | None = None
    while entry is not None and int(entry[1], 16) < end:
        following = _ENTRY.search(smaps, entry.end())
        found = _ANONYMOUS.search(smaps, entry.end(), following.start() if following else len(smaps))
        if found is None:
            return None
        total = (total or 0) + int(found[1])
        entry = following
    return total
