"""`python -m local_clouds.runpod`: the local RunPod alone. Prints one JSON line; ends with a signal or its standard input."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from .account import read_account
from .server import LocalRunPod


async def main() -> None:
    """Serves until SIGINT, SIGTERM or the end of standard input."""
    parser = argparse.ArgumentParser(prog="python -m local_clouds.runpod", description=__doc__)
    parser.add_argument(
        "--account", type=Path, help="JSON of the API v2: what the account holds from the start"
    )
    account_file: Path | None = parser.parse_args().account
    account = None if account_file is None else read_account(account_file)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    loop.run_in_executor(None, _wait_for_eof, loop, stopped)
    with TemporaryDirectory(prefix="local-runpod-") as folder:
        runpod = LocalRunPod(
            Path(folder), log=lambda line: print(line, file=sys.stderr, flush=True), account=account
        )
        await runpod.start()
        try:
            addresses = {"apiUrl": runpod.api_url, "managementUrl": runpod.management_url}
            print(json.dumps({**addresses, "apiKey": runpod.api_key}), flush=True)
            await stopped.wait()
        finally:
            await runpod.stop()


def _wait_for_eof(loop: asyncio.AbstractEventLoop, stopped: asyncio.Event) -> None:
    while sys.stdin.buffer.read(1024):
        continue
    loop.call_soon_threadsafe(stopped.set)


if __name__ == "__main__":
    asyncio.run(main())
