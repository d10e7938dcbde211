"""S3's XML documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import quote_plus
from xml.sax.saxutils import escape

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"

Value = str | Sequence[Mapping[str, str]]


def document(root: str, values: Sequence[tuple[str, Value]]) -> str:
    """A document with texts, and with lists of elements whose children are texts."""
    body = "".join(_element(name, value) for name, value in values)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="{NAMESPACE}">{body}</{root}>'


def error(code: str, message: str) -> str:
    """An error; S3 gives it no namespace."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
    )


def key_text(key: str, encoding: str | None) -> str:
    """A key as a listing holds it: as in a form where the client asked for it: a space is `+`."""
    return quote_plus(key, safe="/") if encoding == "url" else key


def iso_time(seconds: float) -> str:
    """Such as 2026-11-24T08:30:00.000Z."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _element(name: str, value: Value) -> str:
    if isinstance(value, str):
        return f"<{name}>{escape(value)}</{name}>"
    return "".join(
        f"<{name}>{''.join(_element(child, text) for child, text in entry.items())}</{name}>"
        for entry in value
    )
