"""One file: found on the volume already, or fetched, verified and put in its place."""

from __future__ import annotations

import asyncio
import email.utils
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..models import Ledger, Limits, ModelFile
from ..models.download import Download
from ..models.part_file import PartFile
from ..models.progress import Progress, size_text
from ..models.threads import in_thread
from ..models.volume_files import ledger_entry, look, prepare_target, refuse_links
from .bandwidth import Bandwidth
from .bucket import Bucket, Head
from .errors import ChangedDuringCopy, OtherFileThere, WrongBytes
from .layout import shown
from .manifest import COPY_FOLDER, Copied, Manifest
from .object_source import ObjectSource
from .plan import Item
from .verification import MD5, PINNED, Digests, Verification, digests_of, may_be_md5

PARTS_FOLDER = f"{COPY_FOLDER}/parts"


@dataclass(frozen=True, slots=True)
class FileCopy:
    """What every file's copy needs."""

    volume: Path
    bucket: Bucket
    bucket_id: str
    manifest: Manifest
    ledger: Ledger
    verification: Verification
    limits: Limits
    slots: asyncio.Semaphore
    bandwidth: Bandwidth
    progress: Progress
    say: Callable[[str], None]
    overwrite: bool
    durable: bool
    spare: Callable[[], bool]
    """Whether there is time for a sha256 that proves nothing, and is only noted."""

    async def run(self, item: Item) -> str:
        """`copied`, or `adopted` where the volume had the bytes already. Raises ModelError."""
        model = _model(item)
        if item.sha256 is not None and await look(self.volume, self.ledger, model, say=self.say) == "":
            self._note(item, item.sha256, PINNED)
            return "adopted"
        head = await self.bucket.head(item.source.key)
        check_version(item, head)
        source = ObjectSource(self.bucket, item.source.key, head, self.bandwidth)
        if await self._is_there(item, model, head, source):
            return "adopted"
        await self._fetch(item, model, head, source)
        return "copied"

    async def _is_there(self, item: Item, model: ModelFile, head: Head, source: ObjectSource) -> bool:
        """Whether the file at the place is the source's. Raises OtherFileThere when it is someone else's."""
        refuse_links(self.volume, model)
        place = self.volume / item.path
        if not place.exists() and not place.is_symlink():
            return False
        before = self.manifest.entries.get(item.path)
        ours = before is not None and self.manifest.is_untouched(before)
        if before is not None and ours and _is_same_content(before, item, self.bucket_id):
            self._note(item, before.sha256, before.proof)
            return True
        if ours:
            return False
        if place.is_file() and not place.is_symlink() and place.stat().st_size == item.size:
            self.say(f"comparing {shown(item.path)}, {size_text(item.size)}, which is there already")
            digests = await in_thread(digests_of, place, md5=may_be_md5(head.etag))
            proof, _ = await self.verification.proof(digests, item.sha256, head, source, place)
            if proof is not None:
                self._note(item, digests.hexdigest(), proof)
                return True
        if not self.overwrite:
            raise OtherFileThere(
                f"{shown(item.path)} on the volume is another file, which this copy did not bring.",
                hint="Remove or rename it, or copy with --overwrite.",
            )
        return False

    async def _fetch(self, item: Item, model: ModelFile, head: Head, source: ObjectSource) -> None:
        target = prepare_target(self.volume, model)
        with_md5 = item.sha256 is None and head.sha256 is None and may_be_md5(head.etag)
        with PartFile(self.volume / PARTS_FOLDER, item.identity(self.bucket_id), item.size) as part:
            download = Download(
                model,
                source,
                part,
                limits=self.limits,
                slots=self.slots,
                progress=self.progress,
                remark=self.say,
                new_digest=lambda: Digests(md5=with_md5, spare=self._spare()),
            )
            sha256, proof = await self._fetch_proven(item, head, source, part, download)
            await in_thread(part.finish, target, durable=self.durable)
        self._note(item, sha256, proof)

    def _spare(self) -> Callable[[], bool] | None:
        return self.spare if self.verification.etags.are_md5 else None

    async def _fetch_proven(
        self, item: Item, head: Head, source: ObjectSource, part: PartFile, download: Download
    ) -> tuple[str, str]:
        different = ""
        for _ in range(self.limits.attempts):
            digests = await download.fetch()
            assert isinstance(digests, Digests)
            proof, different = await self.verification.proof(digests, item.sha256, head, source, part.path)
            if proof is not None:
                return digests.hexdigest(), proof
            self.say(f"{shown(item.path)}: {different}; it is fetched again")
            part.restart()
        part.discard()
        raise WrongBytes(
            f"{shown(item.source.key)}: {different}, after {self.limits.attempts} whole copies.",
            hint="Nothing was kept. "
            + (
                "The source has another file than endpoint.json pins: bring the right one with upload_models.py."
                if item.sha256
                else "Run it again; if it stays so, the file is damaged at the source."
            ),
        )

    def _note(self, item: Item, sha256: str, proof: str) -> None:
        found = (self.volume / item.path).lstat()
        source = item.source
        entry = Copied(
            path=item.path,
            bucket=self.bucket_id,
            key=source.key,
            size=item.size,
            etag=source.etag,
            modified=source.modified,
            sha256=sha256,
            proof=proof,
            verified_at=datetime.now(UTC).isoformat(timespec="seconds"),
            mtime=int(found.st_mtime),
        )
        self.manifest.put(entry)
        if item.sha256 is not None:
            model = _model(item)
            self.ledger.put(model.path, ledger_entry(self.volume, model, f"{self.bucket_id}/{source.key}"))


def check_version(item: Item, head: Head) -> None:
    """Raises ChangedDuringCopy when the object is no longer the one that was listed."""
    listed = item.source
    same = head.size == listed.size and (
        listed.etag == head.etag
        or not (listed.etag and head.etag)
        # One version with two ETags: a source whose listing and whose answers differ. The end's listing decides.
        or _seconds(listed.modified) == _seconds(head.modified) is not None
    )
    if not same:
        raise ChangedDuringCopy(
            f"{shown(listed.key)}: it has another version than a moment ago.",
            hint="It is listed again at the end of the run.",
        )


def _is_same_content(before: Copied, item: Item, bucket: str) -> bool:
    """Whether another version is known to have the bytes of the one that was copied."""
    if item.sha256 is not None:
        return before.sha256 == item.sha256
    if before.is_of(item, bucket):
        return True
    same = (before.bucket, before.key, before.size, before.etag) == (
        bucket,
        item.source.key,
        item.size,
        item.source.etag,
    )
    return same and before.proof == MD5


def _seconds(text: str) -> int | None:
    """An ISO time of a listing or an HTTP date, in whole seconds since 1970."""
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except ValueError:
        pass
    try:
        return int(email.utils.parsedate_to_datetime(text).timestamp())
    except ValueError:
        return None


def _model(item: Item) -> ModelFile:
    """The item as the code for models knows it; `.` stands for the volume itself."""
    directory, _, filename = item.path.rpartition("/")
    return ModelFile(
        url=item.source.key,
        directory=directory or ".",
        filename=filename,
        size=item.size,
        sha256=item.sha256 or "",
        endpoints=item.endpoints,
    )
