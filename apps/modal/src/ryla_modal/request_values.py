"""Single values of requests: ids, keys, labels, paths, ranges."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import Headers

from .api_error import ApiError
from .limits import (
    FILE_PATH_BYTES,
    KEY_LENGTH,
    METADATA_KEY_LENGTH,
    METADATA_PAIRS,
    METADATA_VALUE_BYTES,
    TAG_LENGTH,
    TAGS,
)

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MEDIA_TYPE = re.compile(r"[\w.+-]{1,80}/[\w.+-]{1,80}(; ?[\w.+-]{1,40}=[\w.+-]{1,80}){0,4}", re.ASCII)
METADATA_KEY = re.compile(rf"[A-Za-z0-9_.-]{{1,{METADATA_KEY_LENGTH}}}")
INVISIBLE = re.compile("[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]")
HOST = re.compile(r"[A-Za-z0-9._-]{1,253}(:[0-9]{1,5})?|\[[0-9a-fA-F:.]{2,45}\](:[0-9]{1,5})?")
PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+){1,8}")
LIFETIMES = (60, 604_800)


def known_id(value: str) -> str | None:
    """The id as it is stored; None for what is no id of ours, so that the store is not asked."""
    lower = value.lower()
    return lower if UUID.fullmatch(lower) else None


def caller_job_id(headers: Headers) -> str | None:
    """`Ryla-Job-Id`. Raises ApiError 400 unless it is a UUID."""
    value = headers.get("ryla-job-id")
    if value is None:
        return None
    try:
        return str(uuid.UUID(value))
    except ValueError:
        raise ApiError(400, "invalid_request", "Ryla-Job-Id must be a UUID.") from None


def idempotency_key(headers: Headers) -> str | None:
    """`Idempotency-Key`. Raises ApiError 400 for what no SDK sends."""
    value = headers.get("idempotency-key")
    if value is None:
        return None
    if not re.fullmatch(rf"[\x21-\x7e][\x20-\x7e]{{0,{KEY_LENGTH - 1}}}", value):
        message = f"Idempotency-Key must have 1 to {KEY_LENGTH} printable ASCII characters."
        raise ApiError(400, "invalid_request", message)
    return value


def metadata(value: Any) -> dict[str, str]:
    """The labels of a job. Raises ApiError 422 `metadata_invalid`."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ApiError(422, "metadata_invalid", "`metadata` must be an object of texts.")
    if len(value) > METADATA_PAIRS:
        message = f"`metadata` may have {METADATA_PAIRS} pairs; there are {len(value)}."
        raise ApiError(422, "metadata_invalid", message)
    for key, text in value.items():
        problem = label_problem(key, text)
        if problem is not None:
            raise ApiError(422, "metadata_invalid", f"`metadata`, key {key[:60]!r}: {problem}.")
    return dict(value)


def label_problem(key: str, text: Any) -> str | None:
    """What is wrong with a label."""
    if not METADATA_KEY.fullmatch(key):
        return f"keys have 1 to {METADATA_KEY_LENGTH} characters of A-Z a-z 0-9 _ - ."
    if not isinstance(text, str) or len(text.encode()) > METADATA_VALUE_BYTES:
        return f"values are texts of up to {METADATA_VALUE_BYTES} bytes"
    return "values hold no control characters" if INVISIBLE.search(text) else None


def extra_data(document: Mapping[str, Any]) -> dict[str, Any] | None:
    """`extra_data`, a closed object. Raises ApiError 422."""
    if "extra_data" not in document:
        return None
    value = document["extra_data"]
    if (
        not isinstance(value, dict)
        or not set(value) <= {"api_key_comfy_org"}
        or not all(isinstance(secret, str) and len(secret) <= 4096 for secret in value.values())
    ):
        raise ApiError(422, "invalid_request", "`extra_data` takes `api_key_comfy_org`, a text, only.")
    return value


def file_path(value: Any) -> str:
    """Where an asset belongs, such as `photo.png`. Raises ApiError 422 for what leads out of there."""
    problem = None
    if not isinstance(value, str) or len(value.encode()) > FILE_PATH_BYTES:
        problem = f"must be a text of up to {FILE_PATH_BYTES} bytes"
    elif INVISIBLE.search(value):
        problem = "holds control characters"
    elif leads_out(value):
        problem = "must be relative and may not hold `..`"
    if problem is not None:
        raise ApiError(422, "invalid_request", f"`file_path` {problem}.")
    return str(value)


def leads_out(path: str) -> bool:
    """Whether a relative file name leads out of its folder, on any system, or holds NUL."""
    parts = re.split(r"[/\\]", path)
    return ".." in parts or path.startswith(("/", "\\", "~")) or path[1:2] == ":" or "\0" in path


def media_type(value: Any) -> str:
    """`content_type`. Raises ApiError 422."""
    if not isinstance(value, str) or not MEDIA_TYPE.fullmatch(value):
        raise ApiError(422, "invalid_request", "`content_type` must be a media type, such as image/png.")
    return value


def tags(values: Any) -> list[str]:
    """`tags`. Raises ApiError 422."""
    valid = isinstance(values, list) and len(values) <= TAGS
    if not valid or not all(
        isinstance(tag, str) and len(tag) <= TAG_LENGTH and not INVISIBLE.search(tag) for tag in values
    ):
        message = f"`tags` are up to {TAGS} texts of up to {TAG_LENGTH} characters."
        raise ApiError(422, "invalid_request", message)
    return list(values)


def expires_in(value: Any) -> int | None:
    """Seconds that an asset is kept; a text in a form, a number in JSON. Raises ApiError 422."""
    if value is None:
        return None
    if isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not LIFETIMES[0] <= value <= LIFETIMES[1]:
        message = f"`expires_in` must be from {LIFETIMES[0]} to {LIFETIMES[1]} seconds."
        raise ApiError(422, "invalid_request", message)
    return value


def content_hash(value: Any) -> str | None:
    """`blake3:` and 64 hexadecimal digits; None for anything else, under which nothing can be stored."""
    return value if isinstance(value, str) and re.fullmatch("blake3:[0-9a-f]{64}", value) else None


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Start and end that a Range header asks for; the whole file where it is to be ignored; None for 416."""
    found = None if header is None else re.fullmatch(r"bytes=([0-9]{0,20})-([0-9]{0,20})", header.strip())
    if found is None or found.groups() == ("", ""):
        return 0, size
    first, last = found.groups()
    if first == "":
        return (max(0, size - int(last)), size) if int(last) and size else None
    start = int(first)
    if last and int(last) < start:
        return 0, size
    end = min(size, int(last) + 1) if last else size
    return (start, end) if start < end else None


def origin(headers: Headers, scheme: str) -> str:
    """Where the caller reached us. Content URLs must be absolute: the official SDKs refuse relative ones.

    Raises ApiError 400 for a Host that is none.
    """
    host = headers.get("host", "")
    if not HOST.fullmatch(host):
        raise ApiError(400, "invalid_request", "The Host header is not a host.")
    forwarded = headers.get("x-forwarded-proto")
    # Modal's own hosts speak TLS only, whatever the proxy in front of the container says.
    if host.endswith(".modal.run") or forwarded == "https":
        scheme = "https"
    prefix = headers.get("x-forwarded-prefix", "")
    return f"{scheme}://{host}{prefix if PREFIX.fullmatch(prefix) else ''}"
