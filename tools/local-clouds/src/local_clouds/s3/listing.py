"""ListObjectsV2 over an object store."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from .objects import ObjectStore, StoredObject

MAX_KEYS = 1000
"""Entries of one answer (S3's own limit)."""


@dataclass(frozen=True, slots=True)
class Page:
    """One answer: objects and prefixes in one order, and the token of the next one."""

    objects: list[StoredObject]
    prefixes: list[str]
    token: str | None


class InvalidToken(ValueError):
    """The continuation token is none of ours."""


def list_page(store: ObjectStore, query: Mapping[str, str]) -> Page:
    """Answers a query; only the delimiter `/` is known. Raises InvalidToken."""
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    after = _after(query)
    limit = min(MAX_KEYS, max(1, int(query.get("max-keys") or MAX_KEYS)))
    entries = sorted(_entries(store, prefix, delimiter), key=lambda entry: entry[0])
    following = list(islice((entry for entry in entries if entry[0] > after), limit + 1))
    page = following[:limit]
    token = _token(page[-1][0]) if len(following) > limit else None
    objects = [found for _, found in page if isinstance(found, StoredObject)]
    return Page(objects, [found for _, found in page if isinstance(found, str)], token)


def _entries(store: ObjectStore, prefix: str, delimiter: str) -> list[tuple[str, StoredObject | str]]:
    if not delimiter:
        return [(found.key, found) for found in store.all(prefix)]
    folder = prefix[: prefix.rfind("/") + 1]
    objects, prefixes = store.directory(folder)
    entries: list[tuple[str, StoredObject | str]] = [(found.key, found) for found in objects]
    entries += [(found, found) for found in prefixes]
    return [entry for entry in entries if entry[0].startswith(prefix)]


def _after(query: Mapping[str, str]) -> str:
    token = query.get("continuation-token")
    if token is None:
        return query.get("start-after", "")
    try:
        return base64.urlsafe_b64decode(token.encode()).decode(errors="surrogateescape")
    except (binascii.Error, ValueError) as error:
        raise InvalidToken(token) from error


def _token(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode(errors="surrogateescape")).decode()
