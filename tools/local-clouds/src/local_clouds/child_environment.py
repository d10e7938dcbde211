"""What a container or a worker sees of this machine's environment: as little as it would in a cloud."""

from __future__ import annotations

from collections.abc import Mapping

INHERITED = (
    "PATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
)
"""Variables of this machine that are handed on; nothing else leaks, above all no credentials."""


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of an environment that is handed on."""
    return {name: environ[name] for name in INHERITED if name in environ}
