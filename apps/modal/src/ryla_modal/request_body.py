"""JSON bodies, read strictly: what another parser could read differently is refused."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request

from .api_error import ApiError
from .limits import INTEGER_BITS, JSON_BYTES, JSON_DEPTH

SLOW_BYTES = 256 * 1024
"""Larger bodies are parsed outside the event loop."""

SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


async def read_json(request: Request) -> dict[str, Any]:
    """The body as a JSON object.

    Raises ApiError: 415 for another type or encoding, 413 over the limit, 400 for what is no JSON object.
    """
    refuse_encoding(request)
    media_type = request.headers.get("content-type", "application/json").split(";")[0].strip().lower()
    if media_type != "application/json":
        raise ApiError(415, "unsupported_media_type", "Send the body as application/json.")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > JSON_BYTES:
            raise ApiError(413, "payload_too_large", f"A JSON body may have {JSON_BYTES} bytes.")
    if len(body) > SLOW_BYTES:
        return await asyncio.to_thread(parse_object, bytes(body))
    return parse_object(bytes(body))


def refuse_encoding(request: Request) -> None:
    """Raises ApiError 415 for compressed bodies: their size is not known before they are unpacked."""
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        message = "Send the body as it is, without Content-Encoding."
        raise ApiError(415, "unsupported_media_type", message)


def parse_object(body: bytes) -> dict[str, Any]:
    """A JSON object out of UTF-8. Raises ApiError 400."""
    try:
        text = body.decode("utf-8")
        document = json.loads(
            text,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_bounded,
            object_pairs_hook=_without_duplicates,
        )
        if SURROGATE.search(text) is not None:
            json.dumps(document, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise ApiError(400, "invalid_request", "The body holds half of a surrogate pair.") from None
    except UnicodeDecodeError as error:
        raise ApiError(400, "invalid_request", f"The body is not UTF-8 at byte {error.start}.") from None
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "invalid_request", f"The body is not JSON: {str(error)[:200]}.") from None
    if not isinstance(document, dict):
        raise ApiError(400, "invalid_request", "The body must be a JSON object.")
    return document


def is_deeper_than(value: Any, levels: int = JSON_DEPTH) -> bool:
    """Whether lists and objects are nested deeper than `levels`."""
    level = [value]
    for _ in range(levels):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def _bounded(text: str) -> int:
    if len(text) > 24 or (value := int(text)).bit_length() > INTEGER_BITS:
        raise ValueError(f"a whole number has more than {INTEGER_BITS} bits")
    return value


def _without_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        seen = set[str]()
        name = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise ValueError(f"the key {name[:60]!r} occurs twice in one object")
    return document
