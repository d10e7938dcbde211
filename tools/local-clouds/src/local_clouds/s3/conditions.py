"""If-None-Match and If-Match of a PutObject."""

from __future__ import annotations

from collections.abc import Mapping

from .uploads import Refused


def check_conditions(headers: Mapping[str, str], etag: str | None) -> None:
    """Raises Refused where an object with this ETag (None: there is none) is not as the headers want it."""
    if etag is not None and headers.get("If-None-Match") == "*":
        raise Refused(412, "PreconditionFailed", "The object is there.")
    wanted = headers.get("If-Match")
    if wanted is None:
        return
    if etag is None:
        raise Refused(404, "NoSuchKey", "The key does not exist.")
    if wanted not in (etag, etag.strip('"')):
        raise Refused(412, "PreconditionFailed", "The object has another version.")
