"""`.ryla/models.json`: what is on the volume, and when its hash was last found right."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .model_file import OWN_FOLDER

LEDGER_FILE = f"{OWN_FOLDER}/models.json"


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """A file whose hash was right."""

    size: int
    sha256: str
    source: str
    """Address without its query, which may hold a signature; or `volume` for one that was there before."""
    verified_at: str
    """UTC, ISO 8601."""
    mtime: int
    """Its modification time, in seconds since 1970: a file changed since is hashed again."""


class Ledger:
    """Entries by path. One that cannot be read counts as empty: the files are hashed again."""

    def __init__(self, volume: Path) -> None:
        self._file = volume / LEDGER_FILE
        self.entries: dict[str, LedgerEntry] = {}
        try:
            document: Any = json.loads(self._file.read_text(encoding="utf-8"))
            files = document["files"]
            self.entries = {str(path): _entry(value) for path, value in files.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self.entries = {}

    def put(self, path: str, entry: LedgerEntry) -> None:
        """Adds or replaces an entry, on the volume too."""
        self.entries[path] = entry
        self._save()

    def remove(self, path: str) -> None:
        """Removes an entry, on the volume too."""
        if self.entries.pop(path, None) is not None:
            self._save()

    def _save(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        files = {path: _json(entry) for path, entry in sorted(self.entries.items())}
        fresh = self._file.with_suffix(".json-new")
        with fresh.open("w", encoding="utf-8") as file:
            json.dump({"version": 1, "files": files}, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._file)


def _entry(value: Mapping[str, Any]) -> LedgerEntry:
    return LedgerEntry(
        size=int(value["size"]),
        sha256=str(value["sha256"]),
        source=str(value["source"]),
        verified_at=str(value["verifiedAt"]),
        mtime=int(value["mtime"]),
    )


def _json(entry: LedgerEntry) -> dict[str, Any]:
    document = asdict(entry)
    document["verifiedAt"] = document.pop("verified_at")
    return document
