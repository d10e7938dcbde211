"""Copies that are killed: `python tests/volume_kills.py --times 50 [--seed N]`; the tests do three.

The real command runs in a process of its own and gets SIGKILL a moment after one of its requests, chosen at random,
while the source resets connections, repeats tokens, sends wrong bytes and changes files. After each kill no file at
its place may be anything but one whole version of the source's; in the end all is verified, and one more run copies
nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local_volume import KB, MB, Source

FILES = {f"models/loras/{n}": 40 * KB + n for n in range(10)} | {
    "models/vae/a": 5 * MB + 1,
    "models/diffusion_models/large": 40 * MB + 17,
    "ComfyUI/models/clip/b": 18 * MB,
    "models/empty": 0,
}
FAULTS = ["reset=0.15", "truncate=0.05", "repeat-token", "wrong-byte=0.03", "rate-limit=get/0:2"]
LONGEST_DELAY = 0.15
"""Seconds between the request and the kill."""


@dataclass
class Kills:
    """What a series found."""

    kills: int = 0
    runs: int = 0
    volumes: int = 0
    """That were copied to their end."""
    changes: int = 0
    kept_bytes: int = 0
    """At their place after a kill, over all kills."""
    listed: int = 0
    """Runs that ended with a list instead, to be run again."""
    problems: list[str] = field(default_factory=list[str])


class Series:
    """Kills until there have been enough, each volume copied to its end."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._random = random.Random(seed)
        self._source = Source(folder / "source")
        self._versions: dict[str, set[bytes]] = {}
        self._found = Kills()
        self._log = (folder / "log").open("wb")
        for key, size in FILES.items():
            self._write(key, size)

    def close(self) -> None:
        self._log.close()
        self._source.close()

    def run(self, times: int) -> Kills:
        requests = 12
        while self._found.kills < times:
            self._found.volumes += 1
            volume = self._folder / f"volume-{self._found.volumes}"
            volume.mkdir()
            ended = False
            while not ended:
                at = self._random.randint(1, requests) if self._found.kills < times else 0
                began = sum(self._source.operations.values())
                ended = self._once(volume, at)
                requests = max(requests, sum(self._source.operations.values()) - began)
                self._look(volume)
            self._last(volume)
        return self._found

    def _once(self, volume: Path, at: int) -> bool:
        """One run, killed at its request `at`; whether all was copied and verified."""
        self._source.fault(*FAULTS)
        for name in ("repeat-token", "wrong-byte"):
            self._source.s3.faults.active[name].left = self._random.randint(1, 2)
        child = self._start(volume)
        change = self._random.randint(2, 30) if at and self._random.random() < 0.3 else 0
        killed, count = threading.Event(), 0

        def on_request(_operation: str, _key: str) -> None:
            nonlocal count
            count += 1
            if count == change:
                self._change()
            if count == at:
                threading.Timer(self._random.uniform(0, LONGEST_DELAY), kill).start()

        def kill() -> None:
            if child.poll() is None:
                child.send_signal(signal.SIGKILL)
            killed.set()

        self._source.s3.on_request = on_request
        output, _ = child.communicate(timeout=120)
        self._source.s3.on_request = lambda _operation, _key: None
        if at and count >= at:
            killed.wait(10)
        self._found.runs += 1
        if child.returncode == -signal.SIGKILL:
            self._found.kills += 1
            return False
        document = json.loads(output) if output else {}
        if child.returncode == 0 and document.get("complete"):
            return True
        self._found.listed += 1
        if not (document.get("failed") or document.get("changing")):
            self._found.problems.append(f"it ended with {child.returncode} and lists nothing")
            return True
        return False

    def _last(self, volume: Path) -> None:
        """Without faults: what is left after the last change is copied, then nothing."""
        self._source.fault()
        self._start(volume).communicate(timeout=120)
        sent = self._source.s3.traffic.sent
        output, _ = (child := self._start(volume)).communicate(timeout=120)
        document = json.loads(output)
        if child.returncode or not document["complete"] or document["copied"]:
            self._found.problems.append(f"the last run ended with {child.returncode}: {document}")
        if self._source.s3.traffic.sent != sent:
            self._found.problems.append("a run with nothing to do read bytes of the source")
        for key in FILES:
            if (volume / placed(key)).read_bytes() != (self._source.folder / key).read_bytes():
                self._found.problems.append(f"{key} is not the source's")
        if left := list((volume / ".ryla/volume-copy/parts").iterdir()):
            self._found.problems.append(f"left behind: {left}")

    def _look(self, volume: Path) -> None:
        for key in FILES:
            place = volume / placed(key)
            if place.exists():
                content = place.read_bytes()
                self._found.kept_bytes += len(content)
                if content not in self._versions[key]:
                    self._found.problems.append(f"{key} is there with {len(content)} bytes that it never had")

    def _change(self) -> None:
        self._found.changes += 1
        key = self._random.choice(list(FILES))
        self._write(key, FILES[key] + self._random.randint(0, 3))

    def _write(self, key: str, size: int) -> None:
        content = self._random.randbytes(size)
        self._versions.setdefault(key, set()).add(content)
        self._source.put(key, content)

    def _start(self, volume: Path) -> subprocess.Popen[bytes]:
        settings = self._source.s3.settings
        command = [sys.executable, "-m", "ryla_modal.volume_copy", "--volume", str(volume), "--json"]
        command += ["--data-center", settings.data_center, "--volume-id", settings.bucket]
        command += ["--s3-url", self._source.s3.url]
        keys = {"AWS_ACCESS_KEY_ID": settings.access_key, "AWS_SECRET_ACCESS_KEY": settings.secret_key}
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._log, env={**os.environ, **keys})


def placed(key: str) -> str:
    return key.split("models/", 1)[1]


def kill_copies(folder: Path, times: int, seed: int) -> Kills:
    series = Series(folder, seed)
    try:
        return series.run(times)
    finally:
        series.close()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found: Any = kill_copies(Path(folder), arguments.times, arguments.seed)
    print(found, f"{time.monotonic() - began:.0f} s")
    return 1 if found.problems else 0


if __name__ == "__main__":
    sys.exit(main())
