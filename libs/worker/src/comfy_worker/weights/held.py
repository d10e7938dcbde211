"""What a held process makes besides the imports, without a GPU: tokenizers, and the libraries that cuDNN loads later.

A memory snapshot then holds both. The first workflow would wait for them otherwise (docs/benchmarks.md).
"""

from __future__ import annotations

import ctypes
import importlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

TOKENIZERS = (("CLIPTokenizer", "sd1_tokenizer", 2), ("T5TokenizerFast", "text_encoders/t5_tokenizer", 1))
"""Class in transformers, folder in ComfyUI's `comfy` (0.3.64), how many of them: SDXL has two of the first kind."""

State = tuple[tuple[str, int, int], ...]


def prepare_tokenizers(comfy: Path) -> None:
    """Makes the tokenizers that ComfyUI makes of its own files, and hands each over once."""
    transformers: Any = importlib.import_module("transformers")
    for name, folder, count in TOKENIZERS:
        if (comfy / folder).is_dir():
            prepare(getattr(transformers, name), comfy / folder, count)


def prepare(kind: Any, folder: Path, count: int) -> None:
    """Calls `kind.from_pretrained(folder)` now, `count` times; whoever asks for just that gets one of these.

    Any other call, one after the files changed, and those after the last, are answered as ever.
    """
    own: Callable[..., Any] = kind.from_pretrained
    before = _state(folder)
    made = [own(str(folder)) for _ in range(count)]

    def from_pretrained(cls: Any, *args: Any, **named: Any) -> Any:
        if cls is kind and not named and made and _is_folder(args, folder) and _state(folder) == before:
            return made.pop()
        return getattr(own, "__func__")(cls, *args, **named)  # noqa: B009

    kind.from_pretrained = classmethod(from_pretrained)


def _is_folder(args: Sequence[Any], folder: Path) -> bool:
    return (
        len(args) == 1
        and isinstance(args[0], str | Path)
        and os.path.realpath(args[0]) == str(folder.resolve())
    )


def _state(folder: Path) -> State:
    with os.scandir(folder) as entries:
        found = [(entry.name, entry.stat()) for entry in entries]
    return tuple(sorted((name, status.st_size, status.st_mtime_ns) for name, status in found))


def load_libraries(maps: Path = Path("/proc/self/maps")) -> int:
    """Loads the libraries beside cuDNN's first one, which loads them when it is first used; their number."""
    lines = maps.read_text(encoding="utf-8", errors="replace").splitlines()
    first = next((line.split(maxsplit=5)[5] for line in lines if "/libcudnn.so" in line), None)
    libraries = sorted(Path(first).parent.glob("libcudnn_*.so*")) if first else []
    for library in libraries:
        ctypes.CDLL(str(library))
    return len(libraries)
