"""A package of the Comfy registry in one version, as an image gets it. Needs nothing but Python: images run this file.

python registry_node.py <id> <version> <folder> [<sha256>]
"""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import os
import shutil
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

REGISTRY = "https://api.comfy.org"
"""The Comfy registry; RYLA_COMFY_REGISTRY names another one, such as a mirror."""

LARGEST = 512 * 1024 * 1024
"""Bytes of an archive; packages of nodes have some megabytes."""

ATTEMPTS = 4
"""As often as a request is sent whose answer is lost or an error of the server, a second and more apart."""

TIMEOUT = 60.0
"""Seconds without a byte."""

TRACKING = ".tracking"
"""ComfyUI-Manager's list of a package's files: with it, it knows the folder as one of the registry."""


class RegistryError(Exception):
    """A version cannot be had; the message says why."""


@dataclass(frozen=True)
class Archive:
    """A version as the registry serves it."""

    data: bytes
    published: datetime | None


def fetch(package: str, version: str, sha256: str | None = None, registry: str | None = None) -> Archive:
    """Downloads a version and checks it. Raises RegistryError."""
    base = registry or os.environ.get("RYLA_COMFY_REGISTRY") or REGISTRY
    about = f"{package} {version}"
    query = urllib.parse.urlencode({"version": version})
    answer = _json(f"{base}/nodes/{urllib.parse.quote(package, safe='')}/install?{query}", about)
    address, found = answer.get("downloadUrl"), answer.get("version")
    if found != version or not isinstance(address, str):
        raise RegistryError(f"The Comfy registry answered {found or 'nothing'} for {about}.")
    if not address.startswith(("https://", f"{base.split(':')[0]}://")):
        raise RegistryError(f"The Comfy registry names no https address for {about}: {address}")
    data = _get(address, about)
    digest = hashlib.sha256(data).hexdigest()
    if sha256 is not None and digest != sha256:
        raise RegistryError(
            f"The archive of {about} has the SHA-256 {digest}, but endpoint.json names {sha256}. Nothing is "
            "installed. If you trust the new one, pin it anew with the generator custom-node."
        )
    return Archive(data, _time(answer.get("createdAt")))


def unpack(archive: Archive, folder: Path) -> None:
    """Puts an archive's files into a folder that is made, or emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        with zipfile.ZipFile(io.BytesIO(archive.data)) as files:
            files.extractall(folder)
            names = [name for name in files.namelist() if not name.endswith("/")]
    except zipfile.BadZipFile as error:
        raise RegistryError(f"What the Comfy registry serves for {folder.name} is no zip: {error}") from error
    (folder / TRACKING).write_text("\n".join(names), encoding="utf-8")


def _json(url: str, about: str) -> Mapping[str, Any]:
    try:
        answer: Any = json.loads(_get(url, about))
    except ValueError as error:
        raise RegistryError(f"The Comfy registry's answer for {about} is no JSON: {error}") from error
    return answer if isinstance(answer, dict) else {}  # pyright: ignore


def _get(url: str, about: str) -> bytes:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as response:  # noqa: S310  (https, checked)
                data = response.read(LARGEST + 1)
        except urllib.error.HTTPError as error:
            if error.code < 500 or attempt == ATTEMPTS:
                raise RegistryError(f"{about} cannot be had: {url} answers {error.code}.") from error
        except (OSError, http.client.HTTPException) as error:
            if attempt == ATTEMPTS:
                raise RegistryError(f"{about} cannot be had: {url}: {error}") from error
        else:
            if len(data) > LARGEST:
                raise RegistryError(f"{about} has more than {LARGEST} bytes.")
            return data
        time.sleep(attempt)
    raise AssertionError


def _time(value: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        return None


def main() -> None:
    """Installs one version."""
    if len(sys.argv) not in (4, 5):
        sys.exit((__doc__ or "").splitlines()[-1])
    package, version, folder, *sha256 = sys.argv[1:]
    try:
        unpack(fetch(package, version, *sha256), Path(folder))
    except RegistryError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
