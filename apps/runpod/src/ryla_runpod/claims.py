"""Where the workers of an endpoint claim jobs, by its variables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from comfy_worker import DirectoryClaims
from comfy_worker.claims import LEASE

from .bucket_claims import BucketClaims
from .result_bucket import ResultBucket

NETWORK_VOLUME = Path("/runpod-volume")
"""Where RunPod mounts the endpoint's network volume."""

CHOICE = "RYLA_CLAIMS"

NOT_CLAIMED = (
    "Jobs are not claimed: one that RunPod delivers twice runs twice. Give the endpoint a network volume, or a bucket "
    "(BUCKET_ENDPOINT_URL)."
)


def claims_from_env(
    environ: Mapping[str, str], bucket: ResultBucket | None
) -> DirectoryClaims | BucketClaims | None:
    """Claims on the network volume, else in the bucket, else none; RYLA_CLAIMS says which instead.

    Raises ValueError when the one that RYLA_CLAIMS names is not there.
    """
    choice, folder, lease = environ.get(CHOICE) or None, _folder(environ), lease_seconds(environ)
    if choice not in (None, "volume", "bucket", "none"):
        raise ValueError(f"{CHOICE} must be volume, bucket or none, not {choice}.")
    if choice == "volume" and folder is None:
        raise ValueError(f"{CHOICE}=volume needs a network volume.")
    if choice == "bucket" and bucket is None:
        raise ValueError(f"{CHOICE}=bucket needs BUCKET_ENDPOINT_URL.")
    if folder is not None and choice in (None, "volume"):
        return DirectoryClaims(folder, lease)
    if bucket is not None and choice in (None, "bucket"):
        return BucketClaims(bucket, lease)
    return None


def lease_seconds(environ: Mapping[str, str]) -> float:
    """RYLA_LEASE_SECONDS: how long a holder of a claim may be silent. Raises ValueError unless from 1 to 600."""
    text = environ.get("RYLA_LEASE_SECONDS") or str(LEASE)
    seconds = float(text)
    if not 1 <= seconds <= 600:
        raise ValueError(f"RYLA_LEASE_SECONDS must be from 1 to 600, not {text}.")
    return seconds


def _folder(environ: Mapping[str, str]) -> Path | None:
    given = environ.get("RYLA_CLAIMS_DIR")
    if given:
        return Path(given)
    return NETWORK_VOLUME / ".ryla/claims" if NETWORK_VOLUME.is_dir() else None
