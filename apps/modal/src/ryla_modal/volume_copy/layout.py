"""Where an object of a network volume goes on the Modal Volume. Pure; nothing is dropped in silence."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from ..models.model_file import NAME_BYTES, OWN_FOLDER

DEFAULT_ROOTS = ("models/", "ComfyUI/models/")
"""Folders of models, as key prefixes: `/workspace/models` or `/runpod-volume/models`, and that of a ComfyUI beside it."""

PATH_BYTES = 3800
"""Bytes of a path below the volume: Linux's PATH_MAX of 4096 less room for the mount's own path."""

LEGACY_FOLDERS = {"unet": "diffusion_models", "clip": "text_encoders"}
"""ComfyUI reads both names of a folder (folder_paths.py); an endpoint.json names one."""

SHOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class SourceObject:
    """One object as a listing shows it."""

    key: str
    size: int
    """Bytes."""
    etag: str = ""
    """Without its quotes; empty where the source gives none."""
    modified: str = ""
    """As the source writes it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An object that is not copied, and why."""

    key: str
    size: int
    reason: str


@dataclass(frozen=True, slots=True)
class Layout:
    """Every object of a listing, in exactly one of these but for `case`."""

    placed: dict[str, SourceObject] = field(default_factory=dict[str, SourceObject])
    """By its path below the volume."""
    refused: list[Refusal] = field(default_factory=list[Refusal])
    duplicates: dict[str, str] = field(default_factory=dict[str, str])
    """Key of an object that has the size and ETag of another one for the same place, to that one's key."""
    folders: list[str] = field(default_factory=list[str])
    """Keys that only mark a folder: empty, and ending with `/`."""
    outside: list[SourceObject] = field(default_factory=list[SourceObject])
    """Objects that lie under none of the roots."""
    case: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    """Paths that a file system without case, or with other Unicode forms, would take for one. They are copied."""


def lay_out(
    objects: Iterable[SourceObject], roots: Sequence[str] = DEFAULT_ROOTS, pinned: Collection[str] = ()
) -> Layout:
    """Maps a listing; `pinned` are the paths that endpoints want."""
    layout = Layout()
    places: dict[str, list[SourceObject]] = {}
    for item in {item.key: item for item in objects}.values():
        root = root_of(item.key, roots)
        if root is None:
            layout.outside.append(item)
            continue
        path = item.key[len(root) :]
        if item.size == 0 and item.key.endswith("/"):
            layout.folders.append(item.key)
        elif reason := refusal_of(path):
            layout.refused.append(Refusal(item.key, item.size, reason))
        else:
            places.setdefault(modern(path, pinned), []).append(item)
    for path, sharing in places.items():
        _settle(layout, path, sharing)
    _refuse_files_that_are_folders(layout)
    layout.case.extend(_same_without_case(layout.placed))
    return layout


def root_of(key: str, roots: Sequence[str]) -> str | None:
    """The longest root that a key lies under."""
    return max((root for root in roots if key.startswith(root)), key=len, default=None)


def refusal_of(path: str) -> str | None:
    """Why a path may not be made below the volume; None when it may."""
    segments = path.split("/")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in path):
        return "its name has control characters"
    if path.startswith("/"):
        return "its path is absolute"
    if any(segment in (".", "..") for segment in segments):
        return "its path leads elsewhere by . or .."
    if "" in segments:
        return "its path has an empty folder or file name"
    if "\\" in path:
        return "its name has a backslash"
    if any(len(segment.encode()) > NAME_BYTES for segment in segments):
        return f"a name in its path has more than {NAME_BYTES} bytes"
    if len(path.encode()) > PATH_BYTES:
        return f"its path has more than {PATH_BYTES} bytes"
    if segments[0] == OWN_FOLDER:
        return f"{OWN_FOLDER} is the folder of this tool's own files"
    return None


def modern(path: str, pinned: Collection[str]) -> str:
    """The path under the folder's present name, where it is that one that an endpoint wants."""
    folder, _, rest = path.partition("/")
    other = f"{LEGACY_FOLDERS.get(folder, folder)}/{rest}"
    return other if path not in pinned and other in pinned else path


def shown(key: str) -> str:
    """A key for people and logs: no control characters, not too long."""
    text = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in key)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}… ({len(key)} characters)"


def _settle(layout: Layout, path: str, sharing: list[SourceObject]) -> None:
    first, *others = sharing
    if all((item.size, item.etag) == (first.size, first.etag) and item.etag for item in others):
        layout.placed[path] = first
        layout.duplicates.update({item.key: first.key for item in others})
        return
    for item in sharing:
        rivals = ", ".join(shown(other.key) for other in sharing if other is not item)
        reason = f"{shown(path)} is also the place of {rivals}; choose one with --roots"
        layout.refused.append(Refusal(item.key, item.size, reason))


def _refuse_files_that_are_folders(layout: Layout) -> None:
    folders = {path[:at] for path in layout.placed for at, character in enumerate(path) if character == "/"}
    for path in [path for path in layout.placed if path in folders]:
        item = layout.placed.pop(path)
        copies = [key for key, first in layout.duplicates.items() if first == item.key]
        for key in [item.key, *copies]:
            layout.duplicates.pop(key, None)
            layout.refused.append(Refusal(key, item.size, "it is a file where other keys have a folder"))


def _same_without_case(paths: Iterable[str]) -> list[tuple[str, ...]]:
    groups: dict[str, list[str]] = {}
    for path in paths:
        groups.setdefault(unicodedata.normalize("NFC", path).casefold(), []).append(path)
    return [tuple(sorted(group)) for group in groups.values() if len(group) > 1]
