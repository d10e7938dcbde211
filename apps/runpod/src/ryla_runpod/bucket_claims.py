"""Claims in an S3-compatible bucket, for endpoints without a network volume.

One object for each job. It is made by a conditional put (`If-None-Match: *`) and changed by one (`If-Match` with the ETag
that was read), so that of two writers one wins, and the other hears of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import uuid4

from comfy_worker import ClaimsUnavailable, JobAlreadyClaimed
from comfy_worker.claims import (
    KEEP,
    LEASE,
    Renewal,
    already_claimed,
    done_before,
    is_same_delivery,
    kept_alive,
    not_renewed,
)

from .claim_objects import Changed, ClaimObjects, Found
from .result_bucket import ResultBucket

FOLDER = ".ryla/claims"
"""Prefix of the objects' keys. A rule of the bucket may delete what is older than KEEP below it, too."""

HELD, FREE, DONE = "held", "free", "done"
"""States of a claim: a worker has it, a worker let it go without a result, a result was committed."""


@dataclass
class BucketClaim:
    """The right to run one attempt of a job, as an object."""

    objects: ClaimObjects
    job_id: str
    attempt: int
    key: str
    holder: Mapping[str, Any]
    etag: str = ""
    state: str = HELD
    is_ours: bool = True
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while the object is written: the next write needs this one's ETag."""

    async def commit(self, result: Mapping[str, Any] | None = None) -> None:
        """As HeldClaim says. Raises ClaimsUnavailable, too."""
        try:
            await self.write(DONE, result)
        except Changed as change:
            raise done_before(self.job_id, _holder_of(change.found)) from None

    async def delivered(self) -> None:
        """As HeldClaim says."""
        with contextlib.suppress(Changed, ClaimsUnavailable):
            await self.write(DONE, None)

    async def release(self) -> None:
        """Failed or cancelled here: whoever comes next need not wait for the lease. Never raises."""
        with contextlib.suppress(Changed, ClaimsUnavailable):
            try:
                await self.write(FREE)
            except Changed as change:
                found = change.found
                # A renewal that was given up may have been written all the same.
                if found is None or found.document.get("state") != HELD or _holder_of(found) != self._ours():
                    return
                self.etag = found.etag
                await self.write(FREE)

    def _ours(self) -> dict[str, Any]:
        return {**self.holder, "attempt": self.attempt}

    async def write(self, state: str, result: Mapping[str, Any] | None = None) -> None:
        """Writes the object anew. Raises Changed when another has taken over, and ClaimsUnavailable."""
        kept = {} if result is None else {"result": result}
        document = {"state": state, "attempt": self.attempt, "holder": self.holder, **kept}
        async with self.turn:
            try:
                self.etag = await self.objects.write(self.key, document, self.etag or None)
            except Changed:
                self.is_ours = False
                raise
            self.state = state


class BucketClaims:
    """Claims as objects in a bucket that all workers of an endpoint share."""

    def __init__(self, bucket: ResultBucket, lease: float = LEASE) -> None:
        """`lease` in seconds. Ages are told by the bucket's own clock."""
        self._objects = ClaimObjects(bucket, patience=lease / 6)
        self._lease = lease
        self._is_checked = False

    async def check(self) -> None:
        """Tries whether the bucket keeps the conditions of a put. Raises ClaimsUnavailable."""
        if not self._is_checked:
            await self._objects.check(f"{FOLDER}/check-{uuid4().hex}")
            self._is_checked = True

    async def prune(self) -> int:
        """Deletes claims that nobody can ask for any more; how many. Of many, those of one place that chance chooses: every
        worker that starts does its part. Never raises: a key that may not list and delete leaves them to a rule of the bucket.
        """
        try:
            return await self._objects.delete_older(f"{FOLDER}/", f"{FOLDER}/{uuid4().hex}", KEEP)
        except Exception as error:
            print(
                f"Claims older than 7 days may stay in the bucket ({type(error).__name__}): a lifecycle rule below {FOLDER}/ "
                "removes them.",
                flush=True,
            )
            return 0

    @asynccontextmanager
    async def claim(self, job_id: str, holder: Mapping[str, Any]) -> AsyncGenerator[BucketClaim]:
        """As Claims says. Raises ClaimsUnavailable, too: nothing runs without a claim.

        A holder that loses its claim, or cannot renew it, is cancelled and hears JobAlreadyClaimed or
        ClaimsUnavailable.
        """
        await self.check()
        claim, begun = await self._take(job_id, holder)
        try:
            async with kept_alive(
                self._lease, begun, partial(self._renew, claim), partial(self._lost, claim)
            ):
                yield claim
        finally:
            if claim.state == HELD and claim.is_ours:
                await claim.release()

    async def _take(self, job_id: str, holder: Mapping[str, Any]) -> tuple[BucketClaim, float]:
        """The claim, and the loop's time before it was taken."""
        key = f"{FOLDER}/{hashlib.sha256(job_id.encode()).hexdigest()}"
        found: Found | None = None
        while True:
            if found is not None and self._is_held(found, job_id, holder):
                await asyncio.sleep(self._lease / 10)
                found = await self._objects.read(key)
                continue
            attempt = 1 if found is None else int(found.document.get("attempt", 0)) + 1
            claim = BucketClaim(
                self._objects, job_id, attempt, key, dict(holder), found.etag if found else ""
            )
            begun = asyncio.get_running_loop().time()
            try:
                await claim.write(HELD)
            except Changed as change:
                found = change.found
            else:
                return claim, begun

    def _is_held(self, found: Found, job_id: str, holder: Mapping[str, Any]) -> bool:
        """Whether another run of this delivery may still live. Raises JobAlreadyClaimed."""
        state = found.document.get("state")
        if state == DONE:
            raise done_before(job_id, _holder_of(found))
        if state == FREE or found.silent_for > self._lease:
            return False
        if not is_same_delivery(found.document.get("holder", {}), holder):
            raise already_claimed(job_id, _holder_of(found))
        return True

    async def _renew(self, claim: BucketClaim) -> Renewal:
        if claim.state != HELD:
            return Renewal.OVER
        try:
            await claim.write(HELD)
        except Changed:
            return Renewal.REPLACED
        except ClaimsUnavailable:
            return Renewal.FAILED
        return Renewal.DONE

    async def _lost(self, claim: BucketClaim) -> JobAlreadyClaimed | ClaimsUnavailable:
        if claim.is_ours:
            return not_renewed(claim.job_id)
        with contextlib.suppress(ClaimsUnavailable):
            return already_claimed(claim.job_id, _holder_of(await self._objects.read(claim.key)))
        return already_claimed(claim.job_id, {})


def _holder_of(found: Found | None) -> dict[str, Any]:
    """What an object says of who has the job, with the attempt and the result where there is one."""
    if found is None:
        return {}
    more = {name: found.document[name] for name in ("attempt", "result") if name in found.document}
    return {**found.document.get("holder", {}), **more}
