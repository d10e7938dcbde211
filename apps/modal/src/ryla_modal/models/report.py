"""What a run did and what a look found, for people. Works on their JSON, which may come from another machine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from .progress import size_text


def print_upload(upload: Mapping[str, Any], say: Callable[[str], None] = print) -> int:
    """Prints what a run did; returns the exit code, 1 when a model failed."""
    words = {"kept": "verified before", "adopted": "verified now", "shared": "shared", "fetched": "fetched"}
    counts = [f"{len(upload[name])} {word}" for name, word in words.items() if upload[name]]
    failed: Mapping[str, Mapping[str, str]] = upload["failed"]
    if failed:
        counts.append(f"{len(failed)} failed")
    say(f"Models: {', '.join(counts) or 'none wanted'}.")
    for path, error in failed.items():
        say(f"  {path}: {error['code']}: {error['message']} {error.get('hint', '')}".rstrip())
    return 1 if failed else 0


def print_findings(findings: Mapping[str, Any], say: Callable[[str], None] = print) -> int:
    """Prints what a look at the volume found; returns the exit code, 1 when models are missing or different."""
    for path in findings["verified"]:
        say(f"verified   {path}")
    for path in findings["missing"]:
        say(f"missing    {path}")
    for entry in findings["different"]:
        say(f"different  {entry['path']}: {entry['reason']}")
    for path, size in findings["extra"].items():
        say(f"extra      {path}, {size_text(size)}")
    if findings["complete"]:
        say("Every model is on the volume.")
        return 0
    say("The volume is not complete. Run the same without --check to bring what is missing.")
    return 1


def ask_to_remove(findings: Mapping[str, Any], *, yes: bool) -> list[str]:
    """The extra files, if the person at the terminal agrees; none when there is nobody to ask."""
    extra: Mapping[str, int] = findings["extra"]
    if not extra or yes:
        return list(extra)
    question = f"Remove these {len(extra)} extra files, {size_text(sum(extra.values()))}? [y/N] "
    print(question, flush=True)  # not by input: modal's own display would draw over it
    try:
        answer = input()
    except EOFError:
        print("Nobody answers: nothing is removed. Use --yes to remove without being asked.", file=sys.stderr)
        return []
    return list(extra) if answer.strip().lower() in ("y", "yes") else []
