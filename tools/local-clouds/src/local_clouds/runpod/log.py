"""The stand-in's log, on stderr."""

from __future__ import annotations

import sys


def log(message: str, source: str = "runpod") -> None:
    """One line with its source in front."""
    print(f"[{source}] {message}", file=sys.stderr, flush=True)
