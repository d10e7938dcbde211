"""What a plan, a check or a copy found, for people. Works on their JSON, which comes from another machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..models.progress import duration, size_text
from .layout import shown

LISTED = 20
"""Lines of one kind; the rest is in --json."""


@dataclass(frozen=True, slots=True)
class Price:
    """What the container costs while it copies."""

    per_second: float
    """Dollars."""
    date: str

    @classmethod
    def of(cls, prices: Mapping[str, Any], cores: float, memory_gib: float) -> Price:
        """From a dated table, such as libs/business/src/prices/modal.json."""
        per_second = cores * prices["cpuCorePerSecond"] + memory_gib * prices["memoryGibPerSecond"]
        return cls(per_second, prices["date"])


def print_plan(document: Mapping[str, Any], price: Price | None, say: Callable[[str], None] = print) -> int:
    """Exit code 0: a plan is no failure."""
    files: Sequence[Mapping[str, Any]] = document["files"]
    say(f"{document['source']}, folder by folder:")
    for prefix, folder in sorted(document["folders"].items()):
        say(f"  {shown(prefix)}: {folder['files']} files, {size_text(folder['bytes'])}")
    lacking = [file for file in files if file["state"] != "verified"]
    used = [file for file in lacking if file["endpoints"]]
    unused = [file for file in lacking if not file["endpoints"]]
    _print_files("To be copied first, as endpoints use them", used, say)
    _print_files("To be copied then; no endpoint uses them (--used-only leaves them out)", unused, say)
    say(f"{len(files) - len(lacking)} files are on the volume and verified.")
    _print_lists(document, say)
    _print_estimate(document, sum(file["size"] for file in lacking), price, say)
    return 0


def print_check(document: Mapping[str, Any], say: Callable[[str], None] = print) -> int:
    """Exit code 1 when a file of the source is not on the volume."""
    files: Sequence[Mapping[str, Any]] = document["files"]
    _print_proofs(files, say)
    _print_some(
        "Not as at the source",
        [f"{_name(file)}: {file['state']}" for file in files if file["state"] != "verified"],
        say,
    )
    _print_lists(document, say)
    return _verdict(document, say)


def print_copy(document: Mapping[str, Any], say: Callable[[str], None] = print) -> int:
    """Exit code 1 when a file of the source is not on the volume."""
    words = {
        "kept": "unchanged",
        "copied": "copied",
        "adopted": "found there",
        "changing": "changing",
        "failed": "failed",
    }
    counts = [f"{len(document[name])} {word}" for name, word in words.items() if document[name]]
    seconds, count = document["seconds"], document["bytesCopied"]
    rate = f", {size_text(count)} in {duration(seconds)}" if count else ""
    say(f"Files: {', '.join(counts) or 'none'}{rate}.")
    _print_proofs(document["files"], say)
    for path, error in document["failed"].items():
        say(f"  {shown(path)}: {error['code']}: {error['message']} {error.get('hint', '')}".rstrip())
    _print_some(
        "Changed at the source each time they were copied; run it again",
        [shown(path) for path in document["changing"]],
        say,
    )
    _print_lists(document, say)
    return _verdict(document, say)


def _verdict(document: Mapping[str, Any], say: Callable[[str], None]) -> int:
    if document["complete"]:
        say("Every file of the source that was asked for is on the volume and verified.")
        return 0
    say("Not every file is on the volume and verified: see the lists above.")
    return 1


def _print_proofs(files: Sequence[Mapping[str, Any]], say: Callable[[str], None]) -> None:
    proofs = Counter[str](file["proof"] for file in files if "proof" in file)
    for proof, count in proofs.most_common():
        say(f"  verified by {proof}: {count}")
    _print_some(
        "Verified by samples only, since no checksum is known (--reread reads them whole)",
        [_name(file) for file in files if file.get("proof", "").startswith("size, and sampled")],
        say,
    )
    unnoted = sum("proof" in file and file["sha256"] is None for file in files)
    if unnoted:
        what = "1 file" if unnoted == 1 else f"{unnoted} files"
        say(
            f"The sha256 of {what} is not noted: there was no time of the processor for it beside the MD5. "
            "--check --rehash notes it."
        )


def _print_files(title: str, files: Sequence[Mapping[str, Any]], say: Callable[[str], None]) -> None:
    total = size_text(sum(file["size"] for file in files))
    lines = [f"{_name(file)}, {size_text(file['size'])}{_users(file)}: {file['state']}" for file in files]
    _print_some(f"{title}: {len(files)} files, {total}", lines, say)


def _print_lists(document: Mapping[str, Any], say: Callable[[str], None]) -> None:
    refused = [f"{shown(entry['key'])}: {entry['reason']}" for entry in document["refused"]]
    _print_some("Not copied; they need a person", refused, say)
    duplicates = [f"{shown(key)} = {shown(first)}" for key, first in document["duplicates"].items()]
    _print_some("Same file at two places of the source, copied once", duplicates, say)
    _print_some(
        "The same but for upper and lower case",
        [" and ".join(map(shown, group)) for group in document["case"]],
        say,
    )
    _print_some("On the volume, but no longer at the source", [shown(path) for path in document["gone"]], say)
    _print_some("Models of endpoints that the source does not have", document["notThere"], say)
    _print_some("Beside the models, not looked into", [shown(key) for key in document["beside"]], say)
    if document["leftOut"]:
        say(f"{document['leftOut']} files were not asked for (--only, --used-only).")


def _print_some(title: str, lines: Sequence[str], say: Callable[[str], None]) -> None:
    if not lines:
        return
    say(f"{title}:")
    for line in lines[:LISTED]:
        say(f"  {line}")
    if len(lines) > LISTED:
        say(f"  … and {len(lines) - LISTED} more, in --json")


def _print_estimate(
    document: Mapping[str, Any], count: int, price: Price | None, say: Callable[[str], None]
) -> None:
    rate = document["bytesPerSecond"]
    if not count:
        say("Nothing is to be copied.")
    elif rate is None:
        say(f"To copy: {size_text(count)}. The rate could not be measured, so no time is said.")
    else:
        seconds = count / rate
        cost = (
            f", ${seconds * price.per_second:.2f} of Modal's CPU at prices of {price.date}" if price else ""
        )
        say(
            f"To copy: {size_text(count)}, about {duration(seconds)} at {size_text(rate)}/s as just measured{cost}."
        )


def _name(file: Mapping[str, Any]) -> str:
    return shown(file["path"])


def _users(file: Mapping[str, Any]) -> str:
    return f" ({', '.join(file['endpoints'])})" if file["endpoints"] else ""
