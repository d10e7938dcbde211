"""Killed at random moments, among faults and changes: no partial file, all verified in the end, then nothing to do."""

from __future__ import annotations

from pathlib import Path

from volume_kills import kill_copies


def test_a_copy_that_is_killed_goes_on_where_it_stopped(tmp_path: Path) -> None:
    found = kill_copies(tmp_path, times=3, seed=7)
    assert found.kills >= 3
    assert not found.problems, found
