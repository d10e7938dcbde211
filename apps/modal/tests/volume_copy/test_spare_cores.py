"""Whether the processor has time left, by clocks that are set."""

from __future__ import annotations

from pathlib import Path

import pytest
from ryla_modal.volume_copy.spare_cores import SpareCores, idle_seconds, usable_cores


class Machine:
    """Seconds since its start, of this process and of idle cores."""

    def __init__(self) -> None:
        self.now = self.used = 0.0
        self.idle: float | None = 0.0

    def spare(self, cores: float) -> SpareCores:
        return SpareCores(cores, lambda: self.now, lambda: self.used, lambda: self.idle)

    def goes_on(self, seconds: float, used: float, idle: float | None) -> None:
        self.now += seconds
        self.used += used * seconds
        self.idle = None if idle is None or self.idle is None else self.idle + idle * seconds


@pytest.mark.parametrize(
    ("cores", "used", "idle", "expected"),
    [
        (2, 0.6, 1.3, True),
        (2, 1.9, 0.1, False),
        (2, 0.6, 0.1, False),  # others are busy
        (4, 1.9, 2.0, True),
        (1, 0.9, 50.0, False),  # the container's limit, on a large machine
        (64, 1.9, None, True),  # a sandbox, which does not say
        (2, 1.9, None, False),
    ],
)
def test_cores_are_spare_when_neither_this_process_nor_others_need_them(
    cores: float, used: float, idle: float | None, expected: bool
) -> None:
    machine = Machine()
    spare = machine.spare(cores)
    assert spare()
    machine.goes_on(0.5, used, idle)
    assert spare() is expected
    machine.goes_on(0.01, 0, cores)  # too soon for another look
    assert spare() is expected
    machine.goes_on(1, 0, cores)
    assert spare()


def test_limits_of_a_container_and_idle_time_are_read(tmp_path: Path) -> None:
    file = tmp_path / "limits"
    all_cores = usable_cores(file)
    assert all_cores >= 1
    for text, expected in [
        ("50000 100000", 0.5),
        ("max 100000", all_cores),
        ("x", all_cores),
        ("1 0", all_cores),
    ]:
        file.write_text(text)
        assert usable_cores(file) == expected
    file.write_text("cpu  10 0 10 100 200 0 0 0\ncpu0 1 1 1 1\n")
    assert (idle_seconds(file) or 0) > 0
    for text in ("cpu  0 0 0 0 0 0 0\n", "cpu\n", ""):
        file.write_text(text)
        assert idle_seconds(file) is None
