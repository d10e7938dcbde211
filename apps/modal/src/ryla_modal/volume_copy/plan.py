"""What is to be copied, in which order, and what is not. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from ..models import ModelFile
from .inventory import Folder, Inventory
from .layout import DEFAULT_ROOTS, Refusal, SourceObject, lay_out


@dataclass(frozen=True, slots=True)
class Selection:
    """What of the source is wanted."""

    roots: tuple[str, ...] = DEFAULT_ROOTS
    only: str = ""
    """A glob over the path on the volume or the key; `*` also matches `/`."""
    used_only: bool = False
    """Leave out what no endpoint uses."""

    def takes(self, path: str, key: str) -> bool:
        return not self.only or fnmatchcase(path, self.only) or fnmatchcase(key, self.only)


@dataclass(frozen=True, slots=True)
class Item:
    """One file to be on the volume."""

    path: str
    """Below the volume."""
    source: SourceObject
    sha256: str | None = None
    """As endpoint.json pins it."""
    endpoints: tuple[str, ...] = ()
    """That use it."""

    @property
    def size(self) -> int:
        """Bytes."""
        return self.source.size

    def identity(self, bucket: str) -> str:
        """Of this version of the source's file: 64 hexadecimal digits, the name of its part file."""
        source = self.source
        version = json.dumps([bucket, source.key, source.size, source.etag, source.modified])
        return hashlib.sha256(version.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Plan:
    """Items in the order of their copy: those that endpoints use first, the largest first among them."""

    items: list[Item] = field(default_factory=list[Item])
    refused: list[Refusal] = field(default_factory=list[Refusal])
    duplicates: dict[str, str] = field(default_factory=dict[str, str])
    case: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    left_out: int = 0
    """Files that the selection does not take."""
    beside: list[str] = field(default_factory=list[str])
    """Folders and files under none of the roots."""
    folders: dict[str, Folder] = field(default_factory=dict[str, Folder])
    not_there: list[str] = field(default_factory=list[str])
    """Models of endpoints that the source does not have."""


def make_plan(inventory: Inventory, models: Sequence[ModelFile], selection: Selection) -> Plan:
    """Lays the inventory out and orders it."""
    pinned = {model.path: model for model in models}
    layout = lay_out(inventory.objects, selection.roots, pinned)
    items: list[Item] = []
    refused = [entry for entry in layout.refused if selection.takes(entry.key, entry.key)]
    left_out = len(layout.refused) - len(refused)
    for path, source in layout.placed.items():
        model = pinned.get(path)
        if not selection.takes(path, source.key) or (selection.used_only and model is None):
            left_out += 1
        elif model is not None and model.size != source.size:
            reason = f"endpoint.json pins {model.size} bytes for {path}, the source has {source.size}"
            refused.append(Refusal(source.key, source.size, reason))
        else:
            items.append(_item(path, source, model))
    return Plan(
        items=sorted(items, key=lambda item: (not item.endpoints, -item.size, item.path)),
        refused=refused,
        duplicates=layout.duplicates,
        case=layout.case,
        left_out=left_out,
        beside=[*inventory.beside, *(item.key for item in inventory.loose)],
        folders=inventory.folders,
        not_there=[path for path in pinned if path not in layout.placed],
    )


def to_json(plan: Plan) -> Mapping[str, object]:
    """For the report; the items' own state is added by the run."""
    return {
        "refused": [{"key": entry.key, "size": entry.size, "reason": entry.reason} for entry in plan.refused],
        "duplicates": plan.duplicates,
        "case": [list(group) for group in plan.case],
        "leftOut": plan.left_out,
        "beside": plan.beside,
        "folders": {key: {"files": entry.files, "bytes": entry.bytes} for key, entry in plan.folders.items()},
        "notThere": plan.not_there,
    }


def _item(path: str, source: SourceObject, model: ModelFile | None) -> Item:
    if model is None:
        return Item(path, source)
    return Item(path, source, model.sha256, model.endpoints)
