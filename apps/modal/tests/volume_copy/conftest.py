"""A RunPod network volume on this machine, and a volume to copy it to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from local_volume import KEYS, QUICK, Source
from ryla_modal.models import ModelFile
from ryla_modal.volume_copy import Keys, VolumeCopy

MakeSource = Callable[..., Source]
MakeCopy = Callable[..., VolumeCopy]


@pytest.fixture
def make_source(tmp_path: Path) -> Iterator[MakeSource]:
    made: list[Source] = []

    def make(**how: Any) -> Source:
        made.append(Source(tmp_path / f"source-{len(made)}", **how))
        return made[-1]

    yield make
    for source in made:
        source.close()


@pytest.fixture
def source(make_source: MakeSource) -> Source:
    return make_source()


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    folder = tmp_path / "volume"
    folder.mkdir()
    return folder


@pytest.fixture
def lines() -> list[str]:
    """What the copies said."""
    return []


@pytest.fixture
def make_copy(volume: Path, lines: list[str]) -> MakeCopy:
    def make(source: Source, models: tuple[ModelFile, ...] = (), keys: Keys = KEYS, **how: Any) -> VolumeCopy:
        limits = replace(QUICK, **how.pop("limits", {}))
        spare = how.pop("spare", lambda: True)
        options = source.options(**how)
        return VolumeCopy(volume, options, keys, models, limits=limits, say=lines.append, spare=spare)

    return make
