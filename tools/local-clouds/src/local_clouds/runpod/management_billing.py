"""Billing of the local RunPod's management API: nothing is sold, so the records are those that a test has put there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from .management_resources import Refused

Record = dict[str, Any]
BUCKETS = ("hour", "day", "week", "month", "year")
USUAL_DAYS = 30
"""Days that are billed when no window is given (the document's default)."""


def billing(
    records: Sequence[Record], query: Mapping[str, str], owner: str, unique: str, amounts: Sequence[str]
) -> dict[str, Any]:
    """Records of the window that `query` asks for, with their totals; raises Refused."""
    if "lastN" in query and ("startTime" in query or "endTime" in query):
        raise Refused(400, "lastN is mutually exclusive with startTime and endTime")
    bucket = query.get("bucketSize", "day")
    if bucket not in BUCKETS:
        raise Refused(422, "Request validation failed.", [f"bucketSize: must be one of {', '.join(BUCKETS)}"])
    end = _time(query, "endTime") or datetime.now(UTC)
    start = _time(query, "startTime") or end - timedelta(days=_days(query))
    found = [
        record
        for record in records
        if (owner not in query or record[owner] == query[owner])
        and start <= _parse(record["startTime"]) < end
    ]
    return {
        "records": found,
        "metadata": {
            "query": {
                "startTime": start.isoformat(),
                "endTime": end.isoformat(),
                "bucketSize": bucket,
                owner: query.get(owner),
            },
            "recordCount": len(found),
            unique: len({record[owner] for record in found}),
            "totals": {name: sum(record[name] for record in found) for name in amounts},
        },
    }


def _days(query: Mapping[str, str]) -> int:
    try:
        count = int(query.get("lastN", USUAL_DAYS))
    except ValueError:
        count = 0
    if count < 1:
        raise Refused(422, "Request validation failed.", ["lastN: must be an integer of at least 1"])
    return count


def _time(query: Mapping[str, str], name: str) -> datetime | None:
    if name not in query:
        return None
    try:
        return _parse(query[name])
    except ValueError:
        raise Refused(422, "Request validation failed.", [f"{name}: must be a date and time"]) from None


def _parse(text: str) -> datetime:
    parsed = datetime.fromisoformat(text)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
