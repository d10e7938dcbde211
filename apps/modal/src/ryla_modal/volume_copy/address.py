"""Where a network volume is, and the keys that open it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass

from yarl import URL

from .errors import InvalidSource

ACCESS_KEY = "AWS_ACCESS_KEY_ID"
SECRET_KEY = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 - the name of a variable
RUNPOD_URL = "RUNPOD_S3_URL"
"""Variable with the address of the local RunPod's S3 API, as `npm run clouds` gives it."""

SECRET = "ryla-runpod-s3"  # noqa: S105 - the name of a Modal secret
"""Modal secret that holds both keys, under the names that every S3 tool reads."""

_DATA_CENTER = re.compile(r"[A-Z]{2,3}-[A-Z]{2}-\d{1,2}")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_WITHOUT_S3 = re.compile(r"EU-SE-1|US-TX-\d+|CA-MTL-\d+")
"""Data centres without the S3 API, by contracts of November 2026."""


@dataclass(frozen=True, slots=True)
class Address:
    """A bucket at an S3 endpoint."""

    url: str
    """Such as `https://s3api-eu-ro-1.runpod.io`, without a path."""
    bucket: str
    """The network volume's id."""
    region: str
    """The data centre, as requests are signed for it."""

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.bucket} at {URL(self.url).host}"


@dataclass(frozen=True, slots=True)
class Keys:
    """Credentials; they show nothing of themselves."""

    access: str
    secret: str

    def __repr__(self) -> str:
        return "Keys(…)"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Keys:
        """Raises InvalidSource when one is missing."""
        missing = [name for name in (ACCESS_KEY, SECRET_KEY) if not environ.get(name)]
        if missing:
            raise InvalidSource(
                f"{' and '.join(missing)} not set.",
                hint=f"They belong into the Modal secret {SECRET}; the keys are RunPod's S3 API keys (user_…, rps_…).",
            )
        return cls(environ[ACCESS_KEY].strip(), environ[SECRET_KEY].strip())


def address_of(data_center: str, volume_id: str, url: str = "", runpod_url: str = "") -> Address:
    """The address of a network volume, or of a bucket at another endpoint. Raises InvalidSource.

    `runpod_url` stands for the S3 API of every data centre that has one: that of the local RunPod.
    """
    region = data_center.strip().upper()
    if not _BUCKET.fullmatch(volume_id):
        raise InvalidSource(
            f"{volume_id!r} is no network volume's id.",
            hint="Give --volume-id, as RunPod's console shows it.",
        )
    if not _DATA_CENTER.fullmatch(region) and not (url and re.fullmatch(r"[A-Z0-9-]+", region)):
        raise InvalidSource(
            f"{data_center!r} is no data centre.", hint="Give --data-center, such as EU-RO-1."
        )
    if url:
        return Address(_checked(url), volume_id, region)
    if _WITHOUT_S3.fullmatch(region):
        raise InvalidSource(
            f"RunPod's data centre {region} has no S3 API.",
            hint="docs/migration-volume.md says how a pod does it there; the rest is the same, with --s3-url.",
        )
    if runpod_url:
        return Address(_checked(runpod_url), volume_id, region)
    return Address(f"https://s3api-{region.lower()}.runpod.io", volume_id, region)


def _checked(text: str) -> str:
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    plain = not (url.user or url.query_string or url.fragment) and url.path in ("", "/")
    if (
        not url.host
        or not plain
        or not (url.scheme == "https" or (url.scheme == "http" and _is_local(url.host)))
    ):
        raise InvalidSource(
            "--s3-url (or RUNPOD_S3_URL) is no https address without path and credentials.",
            hint="http is for this machine only.",
        )
    return str(url.origin())


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
