"""Host names of web functions."""

from __future__ import annotations

import re
from hashlib import sha256

from modal_proto import api_pb2

from .records import AppRecord

SUBDOMAIN_LIMIT = 63
"""Longest label of a host name; Modal cuts longer ones and adds a hash."""


def subdomain(workspace: str, web_suffix: str, app: AppRecord, name: str, suffix: str) -> str:
    """Host label of a web function: workspace, the environment's suffix, then its label or app and name."""
    label = re.sub(r"[^a-z0-9-]", "-", (suffix or f"{app.name}-{name}").lower())
    environment = f"-{web_suffix}" if web_suffix else ""
    dev = "-dev" if app.state == api_pb2.APP_STATE_EPHEMERAL else ""
    whole = f"{workspace}{environment}--{label}{dev}"
    if len(whole) <= SUBDOMAIN_LIMIT:
        return whole
    return f"{whole[:56]}-{sha256(whole.encode()).hexdigest()[:6]}"
