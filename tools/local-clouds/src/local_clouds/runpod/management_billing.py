"""Billing of the local RunPod's management API: what ran and what lies there, at prices that nobody charges."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from .management_resources import Refused
from .management_schemas import SERVERLESS_AMOUNTS, VOLUME_AMOUNTS

Record = dict[str, Any]
BUCKETS = ("hour", "day", "week", "month", "year")
USUAL_DAYS = 30
"""Days that are billed when no window is given (the document's default)."""

USD_PER_WORKER_SECOND = 0.0005
"""Dollars of a worker's second, idle ones too: invented, so that nobody takes them for RunPod's."""

USD_PER_GB_HOUR = 0.0001
"""Dollars of a GB of a network volume and hour, stored or not: invented."""


@dataclass(frozen=True)
class Life:
    """From when to when something was there that is billed."""

    owner: str
    begin: datetime
    end: datetime
    usd_per_hour: float


class VolumeLedger:
    """Since when network volumes are there, and until when those were that are gone."""

    def __init__(self) -> None:
        self._begun: dict[str, tuple[datetime, int]] = {}
        self._ended: list[Life] = []

    def begin(self, volume: Mapping[str, Any]) -> None:
        """A volume is there from now on."""
        self._begun[volume["id"]] = (datetime.now(UTC), volume["size"])

    def end(self, identifier: str) -> None:
        """It is gone."""
        begun = self._begun.pop(identifier, None)
        if begun is not None:
            self._ended.append(_volume_life(identifier, *begun))

    def lives(self) -> list[Life]:
        """All of them, until now."""
        return [*self._ended, *(_volume_life(each, *begun) for each, begun in self._begun.items())]


def _volume_life(identifier: str, begin: datetime, gigabytes: int) -> Life:
    return Life(identifier, begin, datetime.now(UTC), gigabytes * USD_PER_GB_HOUR)


def worker_life(endpoint_id: str, begin: datetime) -> Life:
    """A worker until now."""
    return Life(endpoint_id, begin, datetime.now(UTC), USD_PER_WORKER_SECOND * 3600)


@dataclass(frozen=True)
class Window:
    """The time that a bill is of: whole buckets."""

    bucket: str
    start: datetime
    end: datetime

    def buckets(self) -> Iterator[tuple[datetime, datetime]]:
        """Beginning and end of each."""
        start = self.start
        while start < self.end:
            end = following(self.bucket, start)
            yield start, end
            start = end


def window(query: Mapping[str, str], now: datetime) -> Window:
    """What a query asks for, snapped to whole buckets; raises Refused."""
    if "lastN" in query and ("startTime" in query or "endTime" in query):
        raise Refused(400, "lastN is mutually exclusive with startTime and endTime")
    bucket = query.get("bucketSize", "day")
    if bucket not in BUCKETS:
        raise Refused(422, "Request validation failed.", [f"bucketSize: must be one of {', '.join(BUCKETS)}"])
    if "lastN" in query:
        start = beginning(bucket, now)
        for _ in range(_count(query) - 1):
            start = beginning(bucket, start - timedelta(seconds=1))
        return Window(bucket, start, following(bucket, beginning(bucket, now)))
    end = _time(query, "endTime") or now
    start = _time(query, "startTime") or end - timedelta(days=USUAL_DAYS)
    last = beginning(bucket, end)
    return Window(bucket, beginning(bucket, start), last if last == end else following(bucket, last))


def serverless_records(lives: Iterable[Life], asked: Window) -> list[Record]:
    """One record for each endpoint and bucket in which it had a worker."""
    return [
        {
            **dict.fromkeys(SERVERLESS_AMOUNTS, 0.0),
            **_times(span),
            "serverlessId": owner,
            "totalAmount": usd,
            "gpuAmount": usd,
        }
        for owner, span, usd in _spent(lives, asked)
    ]


def volume_records(lives: Iterable[Life], asked: Window) -> list[Record]:
    """One record for each network volume and bucket in which it was there."""
    return [
        {
            **dict.fromkeys(VOLUME_AMOUNTS, 0.0),
            **_times(span),
            "networkVolumeId": owner,
            "totalAmount": usd,
            "standardAmount": usd,
        }
        for owner, span, usd in _spent(lives, asked)
    ]


def billing(
    records: Sequence[Record],
    asked: Window,
    query: Mapping[str, str],
    owner: str,
    unique: str,
    amounts: Sequence[str],
) -> dict[str, Any]:
    """Records of the window, of one owner where the query names one, with their totals."""
    found = [
        record
        for record in records
        if (owner not in query or record[owner] == query[owner])
        and asked.start <= _parse(record["startTime"]) < asked.end
    ]
    return {
        "records": found,
        "metadata": {
            "query": {
                "startTime": asked.start.isoformat(),
                "endTime": asked.end.isoformat(),
                "bucketSize": asked.bucket,
                owner: query.get(owner),
            },
            "recordCount": len(found),
            unique: len({record[owner] for record in found}),
            "totals": {name: sum(record[name] for record in found) for name in amounts},
        },
    }


def beginning(bucket: str, moment: datetime) -> datetime:
    """The beginning of the bucket that a moment lies in; weeks begin on Monday."""
    hour = moment.replace(minute=0, second=0, microsecond=0)
    if bucket == "hour":
        return hour
    day = hour.replace(hour=0)
    if bucket == "week":
        return day - timedelta(days=day.weekday())
    if bucket == "month":
        return day.replace(day=1)
    return day.replace(month=1, day=1) if bucket == "year" else day


def following(bucket: str, start: datetime) -> datetime:
    """The beginning of the bucket after the one that begins here."""
    longest = {"hour": 1, "day": 24, "week": 7 * 24, "month": 31 * 24, "year": 366 * 24}
    return beginning(bucket, start + timedelta(hours=longest[bucket]))


def _spent(lives: Iterable[Life], asked: Window) -> Iterator[tuple[str, tuple[datetime, datetime], float]]:
    spans = list(asked.buckets())
    spent: dict[tuple[tuple[datetime, datetime], str], float] = defaultdict(float)
    for life in lives:
        for span in spans:
            seconds = (min(span[1], life.end) - max(span[0], life.begin)).total_seconds()
            if seconds > 0:
                spent[span, life.owner] += seconds / 3600 * life.usd_per_hour
    for (span, owner), usd in sorted(spent.items()):
        yield owner, span, round(usd, 9)


def _times(span: tuple[datetime, datetime]) -> Record:
    return {"startTime": span[0].isoformat(), "endTime": span[1].isoformat()}


def _count(query: Mapping[str, str]) -> int:
    try:
        count = int(query["lastN"])
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
    return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
