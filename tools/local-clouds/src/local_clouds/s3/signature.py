"""Checks AWS Signature Version 4 in the Authorization header, as S3 wants it."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, unquote

SKEW_S = 15 * 60
"""Seconds that a request's clock may be off (S3's RequestTimeTooSkewed)."""

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/,]+)/(\d{8})/([^/,]*)/s3/aws4_request, *"
    r"SignedHeaders=([^,]+), *Signature=([0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not let in: S3's code and a message."""

    code: str
    message: str


def check(
    method: str,
    target: str,
    headers: Mapping[str, str],
    *,
    access_key: str,
    secret_key: str,
    region: str,
    now: datetime | None = None,
) -> Refusal | None:
    """None when the request is signed by the key; `target` is path and query as they were sent."""
    path, _, query = target.partition("?")
    if "X-Amz-Signature=" in query:
        return Refusal("AccessDenied", "Presigned URLs are not supported.")
    match = _AUTHORIZATION.fullmatch(headers.get("Authorization", ""))
    if match is None:
        return Refusal("AccessDenied", "The request is not signed.")
    key, day, signed_region, names, signature = match.groups()
    if key != access_key:
        return Refusal("InvalidAccessKeyId", "The access key does not exist.")
    if signed_region != region:
        return Refusal(
            "AuthorizationHeaderMalformed", f"The region '{signed_region}' is wrong; use '{region}'."
        )
    stamp = headers.get("X-Amz-Date", "")
    if _is_skewed(stamp, now or datetime.now(UTC)):
        return Refusal("RequestTimeTooSkewed", "The clocks are too far apart.")
    canonical = "\n".join([
        method,
        path,
        _canonical_query(query),
        *(f"{name}:{' '.join(headers.get(name, '').split())}" for name in names.split(";")),
        "",
        names,
        headers.get("X-Amz-Content-SHA256", ""),
    ])  # fmt: skip
    scope = f"{day}/{region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    made = f"AWS4{secret_key}".encode()
    for part in (day, region, "s3", "aws4_request", text):
        made = hmac.digest(made, part.encode(), "sha256")
    if not hmac.compare_digest(made.hex(), signature):
        return Refusal("SignatureDoesNotMatch", "The signature does not match the request.")
    return None


def _canonical_query(query: str) -> str:
    pairs = [part.partition("=") for part in query.split("&") if part]
    encoded = [
        (quote(unquote(name), safe="-_.~"), quote(unquote(value), safe="-_.~")) for name, _, value in pairs
    ]
    return "&".join(f"{name}={value}" for name, value in sorted(encoded))


def _is_skewed(stamp: str, now: datetime) -> bool:
    try:
        then = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return True
    return abs((now - then).total_seconds()) > SKEW_S
