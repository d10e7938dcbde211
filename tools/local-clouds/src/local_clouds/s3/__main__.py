"""`python -m local_clouds.s3 FOLDER`: a folder as a RunPod network volume. Prints one JSON line with address and keys."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path

from ..faults import UnknownFault
from .server import FAULTS, LocalS3, S3Settings


def parser() -> argparse.ArgumentParser:
    """The command line."""
    shown = "\n".join(f"  {name}: {text}" for name, text in FAULTS.items())
    result = argparse.ArgumentParser(
        prog="python -m local_clouds.s3",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Serves a folder as a RunPod network volume, by its S3 API. Prints one JSON line with the address\n"
        "and the keys; ends with SIGINT or SIGTERM, or when its standard input closes (--until-eof).",
        epilog=f"Faults (--fault, or PUT a JSON list to <url>/_local/faults):\n{shown}\n\n"
        "A fault is NAME or NAME=VALUE, with :COUNT to stop after so many hits.",
    )
    result.add_argument("folder", type=Path, help="the volume's files")
    result.add_argument("--port", type=int, default=0, help="default: a free one")
    result.add_argument("--bucket", default="local-volume", help="the volume's id (default: %(default)s)")
    result.add_argument("--data-center", default="EU-RO-1", help="also the region (default: %(default)s)")
    result.add_argument("--access-key", default="user_local", help="default: %(default)s")
    result.add_argument("--secret-key", default="rps_local", help="default: %(default)s")
    result.add_argument("--etags", choices=("md5", "multipart", "opaque"), default="md5")
    result.add_argument("--checksums", action="store_true", help="give x-amz-checksum-sha256")
    result.add_argument("--fault", action="append", default=[], metavar="FAULT", help="see below")
    result.add_argument("--until-eof", action="store_true", help="end when standard input closes")
    return result


def main() -> None:
    """Runs until a signal."""
    arguments = parser().parse_args()
    if not arguments.folder.is_dir():
        sys.exit(f"local_clouds.s3: {arguments.folder} is no folder")
    settings = S3Settings(
        arguments.folder.absolute(),
        bucket=arguments.bucket,
        data_center=arguments.data_center,
        access_key=arguments.access_key,
        secret_key=arguments.secret_key,
        port=arguments.port,
        etags=arguments.etags,
        checksums=arguments.checksums,
    )
    try:
        asyncio.run(_serve(LocalS3(settings, faults=arguments.fault), until_eof=arguments.until_eof))
    except (OSError, UnknownFault) as error:
        sys.exit(f"local_clouds.s3: {error}")


async def _serve(server: LocalS3, *, until_eof: bool) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    if until_eof:
        loop.run_in_executor(None, _wait_for_eof, loop, stopped)
    await server.start()
    try:
        settings = server.settings
        document = {
            "url": server.url,
            "bucket": settings.bucket,
            "dataCenter": settings.data_center,
            "accessKey": settings.access_key,
            "secretKey": settings.secret_key,
        }
        print(json.dumps(document), flush=True)
        await stopped.wait()
    finally:
        await server.stop()


def _wait_for_eof(loop: asyncio.AbstractEventLoop, stopped: asyncio.Event) -> None:
    while sys.stdin.buffer.read(1024):
        continue
    loop.call_soon_threadsafe(stopped.set)


if __name__ == "__main__":
    main()
