"""Objects that are written only where they are still as they were read: conditional puts, whatever answer is lost."""

from __future__ import annotations

import asyncio
import email.utils
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from uuid import uuid4

from comfy_worker import ClaimsUnavailable

from .result_bucket import ResultBucket

PAUSES = (0.05, 0.2, 0.5, 1.0)
"""Seconds before each further try of a request that failed or whose answer was lost."""

NO_CONDITIONS = (
    "does not keep conditional puts (If-None-Match, If-Match), so that workers cannot claim jobs in it: a job that is "
    "delivered twice would run twice."
)


@dataclass(frozen=True)
class Found:
    """An object as it was read."""

    etag: str
    document: dict[str, Any]
    silent_for: float
    """Seconds since it was written, at least, by the bucket's clock."""


class Changed(Exception):
    """The object is not as it was read any more; `found` is what it is now, None when it is gone."""

    def __init__(self, found: Found | None) -> None:
        super().__init__("the object was changed by another")
        self.found = found


class ClaimObjects:
    """JSON objects of a bucket."""

    def __init__(self, bucket: ResultBucket, patience: float) -> None:
        """`patience`: seconds that the bucket may be silent before a request counts as lost."""
        self._bucket = bucket
        self._patience = max(1.0, patience)

    async def read(self, key: str) -> Found | None:
        """The object; None when it is not there. Raises ClaimsUnavailable."""
        failure: Exception | None = None
        for pause in (0.0, *PAUSES):
            await asyncio.sleep(pause)
            try:
                return await asyncio.to_thread(self._get, key)
            except Exception as error:
                status = _status(error)
                if status == 404:
                    return None
                if not _is_passing(status):
                    raise self._unavailable(error) from error
                failure = error
        raise self._unavailable(failure) from failure

    async def write(self, key: str, document: Mapping[str, Any], etag: str | None) -> str:
        """Writes where the object still has this ETag, or is not there (None); returns the new one.

        A write whose answer was lost is looked up: each is told by a mark of its own. Raises Changed and
        ClaimsUnavailable; after the latter nobody knows whether it was written.
        """
        mark = uuid4().hex
        body = json.dumps({**document, "write": mark}).encode()
        failure: Exception | None = None
        for pause in (0.0, *PAUSES):
            await asyncio.sleep(pause)
            try:
                return await asyncio.to_thread(self._put, key, body, etag)
            except Exception as error:
                status, failure = _status(error), error
            if status in (404, 409, 412):
                found = await self.read(key)
                if found is not None and found.document.get("write") == mark:
                    return found.etag
                # 409: a write beside this one, which may have failed; 404: RunPod's words for a bucket, too.
                if status == 412 or (None if found is None else found.etag) != etag:
                    raise Changed(found)
            elif not _is_passing(status):
                break
        raise self._unavailable(failure) from failure

    async def check(self, key: str) -> None:
        """Tries all that `write` relies on, with an object of its own. Raises ClaimsUnavailable."""
        first = await self.write(key, {"check": 1}, None)
        try:
            for etag in (None, '"0123456789abcdef0123456789abcdef"'):
                try:
                    await self.write(key, {"check": 2}, etag)
                except Changed:
                    continue
                raise self._unsupported()
            await self.write(key, {"check": 3}, first)
        except Changed:
            raise self._unsupported() from None
        finally:
            await asyncio.to_thread(self._delete, key)

    async def delete_older(self, prefix: str, start: str, seconds: float) -> int:
        """Deletes objects that were last written so long ago by the bucket's own clock; how many.

        It looks at one page of the keys from `start` on, and where they end at one from the first: two requests and one for each
        object that goes, however many there are. Raises what the bucket answers.
        """
        page, is_last = await asyncio.to_thread(self._older, prefix, start, seconds)
        if is_last:
            page += (await asyncio.to_thread(self._older, prefix, "", seconds))[0]
        old = dict.fromkeys(page)
        for key in old:
            # One by one: RunPod's S3 knows no DeleteObjects, and a worker that ends waits for one request at most.
            await asyncio.to_thread(self._client.delete_object, Bucket=self._bucket.name, Key=key)
        return len(old)

    def _older(self, prefix: str, start: str, seconds: float) -> tuple[list[str], bool]:
        answer = self._client.list_objects_v2(Bucket=self._bucket.name, Prefix=prefix, StartAfter=start)
        now = _bucket_time(answer)
        old = [
            item["Key"]
            for item in answer.get("Contents", [])
            if (now - item["LastModified"]).total_seconds() > seconds
        ]
        return old, not answer.get("IsTruncated", False)

    def _get(self, key: str) -> Found:
        answer = self._client.get_object(Bucket=self._bucket.name, Key=key)
        try:
            document: Any = json.loads(answer["Body"].read())
        except ValueError:
            document = {}
        # Both are whole seconds: the true age is less than one below their difference.
        silent_for = (_bucket_time(answer) - answer["LastModified"]).total_seconds() - 1
        return Found(answer["ETag"], document if isinstance(document, dict) else {}, silent_for)

    def _put(self, key: str, body: bytes, etag: str | None) -> str:
        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
        place = {"Bucket": self._bucket.name, "Key": key, "ContentType": "application/json"}
        return self._client.put_object(**place, **condition, Body=body)["ETag"]

    def _delete(self, key: str) -> None:
        try:
            self._client.delete_object(Bucket=self._bucket.name, Key=key)
        except Exception as error:
            # Keys that may not delete are enough for claims.
            print(f"{key} stays in the bucket: {type(error).__name__}.", flush=True)

    @cached_property
    def _client(self) -> Any:
        # Its own repetitions would not know their own writes.
        return self._bucket.client(
            retries={"total_max_attempts": 1}, connect_timeout=self._patience, read_timeout=self._patience
        )

    def _unavailable(self, error: Exception | None) -> ClaimsUnavailable:
        if _status(error) in (400, 501):
            return self._unsupported()
        return ClaimsUnavailable(
            f"The bucket of the claims, {self._bucket.url}, cannot be used: {error}",
            hint="Check BUCKET_ENDPOINT_URL, BUCKET_REGION and the keys, which must read and write below "
            ".ryla/claims/.",
        )

    def _unsupported(self) -> ClaimsUnavailable:
        return ClaimsUnavailable(
            f"The bucket {self._bucket.url} {NO_CONDITIONS}",
            hint="Give the endpoint a network volume or another bucket, or set RYLA_CLAIMS=none where a job may run twice.",
        )


def _bucket_time(answer: Mapping[str, Any]) -> datetime:
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return email.utils.parsedate_to_datetime(date) if date else datetime.now(UTC)


def _status(error: Exception | None) -> int | None:
    """HTTP status of a refusal; None when there was no answer."""
    response: Any = getattr(error, "response", None)
    return response["ResponseMetadata"].get("HTTPStatusCode") if isinstance(response, dict) else None


def _is_passing(status: int | None) -> bool:
    """Whether a request may succeed when it is sent again."""
    return status is None or status == 429 or (status >= 500 and status != 501)
