"""What a held process makes besides the imports is handed over once, and only for the same question."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from comfy_worker.weights import held


class Tokenizer:
    """transformers' base class, as far as ComfyUI asks it."""

    made = 0

    @classmethod
    def from_pretrained(cls, path: Any, **named: Any) -> Any:
        Tokenizer.made += 1
        one = cls()
        setattr(one, "asked", (str(path), named))  # noqa: B010
        return one


@pytest.fixture
def kind(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(Tokenizer, "made", 0)
    return type("ClipTokenizer", (Tokenizer,), {})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "vocab.json").write_text("{}", encoding="utf-8")
    return tmp_path


def test_each_is_handed_over_once(kind: Any, folder: Path) -> None:
    held.prepare(kind, folder, 2)
    assert Tokenizer.made == 2
    first, second = kind.from_pretrained(str(folder)), kind.from_pretrained(str(folder))
    assert Tokenizer.made == 2
    assert first is not second
    assert isinstance(kind.from_pretrained(str(folder)), kind)
    assert Tokenizer.made == 3


def test_any_other_question_is_answered_as_ever(kind: Any, folder: Path, tmp_path: Path) -> None:
    held.prepare(kind, folder, 1)
    assert kind.from_pretrained("elsewhere").asked == ("elsewhere", {})
    assert kind.from_pretrained(str(folder), legacy=True).asked == (str(folder), {"legacy": True})
    below = type("Below", (kind,), {})
    assert isinstance(below.from_pretrained(str(folder)), below)
    assert Tokenizer.from_pretrained(str(folder)).asked == (str(folder), {})
    assert Tokenizer.made == 5


def test_files_that_changed_are_read_again(kind: Any, folder: Path) -> None:
    held.prepare(kind, folder, 1)
    (folder / "vocab.json").write_text('{"a": 1}', encoding="utf-8")
    kind.from_pretrained(str(folder))
    assert Tokenizer.made == 2


def test_libraries_beside_the_first_one_are_loaded(tmp_path: Path) -> None:
    mapped = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    library = next(line.split(maxsplit=5)[5] for line in mapped if "/libc.so" in line or "/libc-" in line)
    folder = tmp_path / "with space"
    folder.mkdir()
    for name in ("libcudnn.so.9", "libcudnn_ops.so.9", "libcudnn_cnn.so.9"):
        shutil.copy(library, folder / name)
    maps = tmp_path / "maps"
    maps.write_text(f"7f00-7f01 r-xp 00000000 00:00 1   {folder}/libcudnn.so.9\n", encoding="utf-8")
    assert held.load_libraries(maps) == 2
    maps.write_text("7f00-7f01 r-xp 00000000 00:00 0\n", encoding="utf-8")
    assert held.load_libraries(maps) == 0
