"""comfy-sim with a book of its runs, for clouds-run.ts: `main.py --book FILE --run-ms N`, and comfy-sim's own options.

Every run takes N milliseconds more, and leaves lines of JSON in FILE: its start, a sign of life every 20 ms, its end.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

from comfy_sim.cli import main
from comfy_sim.executor import Executor

SIGN_OF_LIFE = 0.02
"""Seconds between two signs of life of a run."""


def keep_book(book: Path, seconds: float) -> None:
    """Makes every executor of this process write down what it runs."""
    execute: Any = Executor._execute  # pyright: ignore[reportPrivateUsage]

    def write(event: str, prompt_id: str) -> None:
        # Appended in one piece: engines of several workers write to the same file.
        line = json.dumps({"event": event, "id": prompt_id, "pid": os.getpid(), "at": time.time() * 1000})
        with book.open("ab", buffering=0) as file:
            file.write(f"{line}\n".encode())

    def booked(self: Executor, item: Any) -> Any:
        write("start", item.prompt_id)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(SIGN_OF_LIFE)
            write("alive", item.prompt_id)
        result = execute(self, item)
        write("end", item.prompt_id)
        return result

    Executor._execute = booked  # pyright: ignore[reportPrivateUsage]


if __name__ == "__main__":
    own = argparse.ArgumentParser(add_help=False)
    own.add_argument("--book", type=Path, required=True)
    own.add_argument("--run-ms", type=float, default=0)
    given, rest = own.parse_known_args()
    keep_book(given.book, given.run_ms / 1000)
    main(rest)
