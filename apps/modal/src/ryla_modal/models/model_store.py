"""The models on one volume: brought there, looked at, tidied up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .download import Limits
from .ledger import Ledger
from .model_file import ModelFile
from .upload import Upload, UploadRun
from .volume_files import extra_files, look
from .volume_lock import locked


async def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Different:
    """A file that is not the one that it should be."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Findings:
    """What a look at the volume found, as paths below it."""

    verified: Sequence[str] = ()
    missing: Sequence[str] = ()
    different: Sequence[Different] = ()
    extra: Mapping[str, int] = field(default_factory=dict[str, int])
    """Files that no endpoint wants, and unfinished downloads of such; with their sizes."""

    @property
    def complete(self) -> bool:
        """Whether every model is there; extra files do no harm."""
        return not self.missing and not self.different

    def to_json(self) -> dict[str, Any]:
        """For a caller in another process."""
        return {
            "complete": self.complete,
            "verified": list(self.verified),
            "missing": list(self.missing),
            "different": [{"path": entry.path, "reason": entry.reason} for entry in self.different],
            "extra": dict(self.extra),
        }


class ModelStore:
    """The models below one folder, which is the volume's mount. One run at a time: others wait."""

    def __init__(
        self,
        volume: Path,
        *,
        tokens: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        commit: Callable[[], Awaitable[None]] | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        """`tokens` are those of gated files, by the name of their secret.

        `commit` is how the volume makes what is written last; without it each file is flushed to the disk.
        """
        self._volume = volume
        self._tokens = tokens or {}
        self._limits = limits or Limits()
        self._durable = commit is None
        self._commit = commit or _nothing
        self._say = say

    async def upload(self, models: Sequence[ModelFile]) -> Upload:
        """Brings models to the volume; one that fails does not stop the others."""
        async with locked(self._volume, self._say):
            run = UploadRun(
                self._volume,
                Ledger(self._volume),
                self._tokens,
                self._limits,
                self._commit,
                self._say,
                durable=self._durable,
            )
            return await run.upload(models)

    async def check(
        self,
        models: Sequence[ModelFile],
        wanted: Collection[ModelFile] | None = None,
        *,
        rehash: bool = False,
    ) -> Findings:
        """Compares the volume with models. Changes no model; a hash that had to be computed goes into the ledger.

        `wanted` are the models of all endpoints, what else there is being extra. `rehash` reads every file again.
        """
        async with locked(self._volume, self._say):
            ledger = Ledger(self._volume)
            verified: list[str] = []
            missing: list[str] = []
            different: list[Different] = []
            for model in models:
                state = await look(self._volume, ledger, model, rehash=rehash, say=self._say)
                if state is None:
                    missing.append(model.path)
                elif state == "":
                    verified.append(model.path)
                else:
                    different.append(Different(model.path, state))
            await self._commit()
            extra = extra_files(self._volume, [*models, *(wanted or ())])
            return Findings(verified, missing, different, extra)

    async def prune(self, paths: Collection[str], wanted: Collection[ModelFile]) -> list[str]:
        """Removes those of the paths that are still extra; returns which."""
        async with locked(self._volume, self._say):
            ledger, removed = Ledger(self._volume), list[str]()
            for path in extra_files(self._volume, wanted):
                if path in paths:
                    (self._volume / path).unlink(missing_ok=True)
                    ledger.remove(path)
                    removed.append(path)
            await self._commit()
            return removed
