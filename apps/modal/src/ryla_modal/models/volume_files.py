"""Files of a volume: whether they are the ones that are wanted, and how they get to their places."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from pathlib import Path

from .errors import InvalidModel, NotWritten
from .ledger import Ledger, LedgerEntry
from .model_file import OWN_FOLDER, ModelFile
from .part_file import HASH_PIECE
from .progress import size_text
from .threads import in_thread

PARTS_FOLDER = f"{OWN_FOLDER}/parts"
INCOMING_FOLDER = f"{OWN_FOLDER}/incoming"
"""Files that were put onto the volume by hand, named by the sha256 that they should have."""

HERE = "volume"
"""Source, in the ledger, of a file that nobody says where it came from."""


def ledger_entry(volume: Path, model: ModelFile, source: str) -> LedgerEntry:
    """What the ledger says of a model that has just been verified."""
    found = (volume / model.path).stat()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return LedgerEntry(model.size, model.sha256, source, now, int(found.st_mtime))


async def look(
    volume: Path, ledger: Ledger, model: ModelFile, *, say: Callable[[str], None], rehash: bool = False
) -> str | None:
    """None when the model is missing, "" when it is verified, or what is different about it."""
    place = volume / model.path
    refuse_links(volume, model)
    try:
        found = place.lstat()
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return "it is not a plain file"
    if found.st_size != model.size:
        return f"it has {found.st_size} bytes instead of {model.size}"
    if not rehash and is_verified(volume, ledger, model):
        return ""
    say(f"verifying {model.path}, {size_text(model.size)}")
    digest = await in_thread(hash_of, place)
    if digest != model.sha256:
        ledger.remove(model.path)
        return f"its sha256 is {digest}"
    entry = ledger.entries.get(model.path)
    source = entry.source if entry is not None and entry.sha256 == model.sha256 else HERE
    ledger.put(model.path, ledger_entry(volume, model, source))
    return ""


def is_verified(volume: Path, ledger: Ledger, model: ModelFile) -> bool:
    entry = ledger.entries.get(model.path)
    place = volume / model.path
    return (
        entry is not None
        and (entry.sha256, entry.size) == (model.sha256, model.size)
        and is_file(place, model.size)
        and is_unchanged(place, entry)
    )


def is_unchanged(place: Path, entry: LedgerEntry) -> bool:
    return int(place.lstat().st_mtime) == entry.mtime


def is_file(path: Path, size: int) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == size


def refuse_links(volume: Path, model: ModelFile) -> None:
    """A link in the way would lead a write elsewhere."""
    folder = volume
    for name in model.directory.split("/"):
        folder /= name
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise InvalidModel(
                f"{folder.relative_to(volume)} on the volume is not a folder, but {model.path} should go there.",
                hint="Remove it, or give the model another directory.",
            )


def prepare_target(volume: Path, model: ModelFile) -> Path:
    """The model's place, whose folder exists and has no link in it. Raises InvalidModel, NotWritten."""
    refuse_links(volume, model)
    target = volume / model.path
    if target.is_dir() and not target.is_symlink():
        raise InvalidModel(f"{model.path} on the volume is a folder.", hint="Remove it, or rename the model.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotWritten(f"{target.parent} cannot be made: {error.strerror}.") from error
    return target


def place_copy(volume: Path, origin: Path, model: ModelFile) -> bool:
    """A hard link where the volume allows one; else a copy, hashed. Whether its bytes were right."""
    target = prepare_target(volume, model)
    fresh = volume / PARTS_FOLDER / f"{model.sha256}.copy"
    fresh.parent.mkdir(parents=True, exist_ok=True)
    fresh.unlink(missing_ok=True)
    try:
        os.link(origin, fresh)
    except OSError:
        try:
            shutil.copyfile(origin, fresh)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            raise NotWritten(f"{model.path} could not be copied: {error.strerror}.") from error
        if hash_of(fresh) != model.sha256:
            fresh.unlink()
            return False
    fresh.replace(target)
    return True


def hash_of(path: Path) -> str:
    """The sha256 of a file."""
    digest, buffer = hashlib.sha256(), memoryview(bytearray(HASH_PIECE))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
    return digest.hexdigest()


def extra_files(volume: Path, wanted: Collection[ModelFile]) -> dict[str, int]:
    places = {model.path for model in wanted}
    contents = {model.sha256 for model in wanted}
    found: dict[str, int] = {}
    for folder, folders, names in os.walk(volume):
        relative = Path(folder).relative_to(volume).as_posix()
        if relative == ".":
            folders[:] = [name for name in folders if name != OWN_FOLDER]
        for name in names:
            path = name if relative == "." else f"{relative}/{name}"
            if path not in places:
                found[path] = (volume / path).lstat().st_size
    for own in (PARTS_FOLDER, INCOMING_FOLDER):
        for left in (volume / own).glob("*"):
            if left.name.split(".")[0] not in contents:
                found[f"{own}/{left.name}"] = left.lstat().st_size
    return found
