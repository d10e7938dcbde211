"""Who is let in, how often, and what is logged of it. Plain ASGI, around both web functions."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .api_error import ApiError
from .stores import timestamp

OPEN_PATHS = ("/health", "/ready")
"""Answered without credentials, and not counted."""

CORS_HEADERS = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Range",
    "Range",
    "Ryla-Job-Id",
    "Ryla-Webhook-Url",
)
"""Headers that pages may send."""

KEYS_REMEMBERED = 1024
requests_log = logging.getLogger("ryla_modal.requests")


@dataclass(frozen=True)
class Access:
    """How callers are let in."""

    token: str | None = None
    """With it, only callers who send it as a bearer token."""
    requests_per_second: float | None = None
    """Of one key, in one container; bursts of twice as many. None: not limited."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may call; none without it."""

    @classmethod
    def from_environ(
        cls, environ: Mapping[str, str], token: str | None, requests_per_second: float | None = None
    ) -> Access:
        """RYLA_RATE_LIMIT (requests per second; 0: not limited) and RYLA_CORS_ORIGINS. Raises ValueError."""
        limit = environ.get("RYLA_RATE_LIMIT")
        if limit is not None:
            if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", limit):
                raise ValueError(f"RYLA_RATE_LIMIT must be a number of requests per second, not {limit!r}.")
            requests_per_second = float(limit) or None
        origins = tuple(environ.get("RYLA_CORS_ORIGINS", "").replace(",", " ").split())
        for origin in origins:
            if not re.fullmatch(r"https?://[A-Za-z0-9.-]+(:[0-9]+)?", origin):
                raise ValueError(
                    f"RYLA_CORS_ORIGINS holds {origin!r}; list origins such as https://app.example.com."
                )
        return cls(token, requests_per_second, origins)

    def middleware(self) -> list[Middleware]:
        """The outermost first: everything is logged, and a page's preflight carries no credentials."""
        stack = [Middleware(RequestLog)]
        if self.cors_origins:
            stack.append(
                Middleware(
                    CORSMiddleware,
                    allow_origins=list(self.cors_origins),
                    allow_methods=["GET", "POST", "DELETE", "HEAD"],
                    allow_headers=[*CORS_HEADERS],
                    expose_headers=["Content-Range", "ETag", "Retry-After"],
                )
            )
        if self.token is not None:
            stack.append(Middleware(BearerAuth, token=self.token))
        if self.requests_per_second is not None:
            stack.append(Middleware(RateLimit, per_second=self.requests_per_second))
        return stack


class BearerAuth:
    """Refuses requests without the right token with 401, before anything else runs."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on when it may."""
        if scope["type"] == "http" and not _is_open(scope):
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, self._expected):
                error = ApiError(
                    401, "unauthorized", "Send Authorization: Bearer with this deployment's token."
                )
                await refuse(error, scope, receive, send)
                return
        await self._app(scope, receive, send)


class RateLimit:
    """A bucket of tokens for each key, in this container only: n containers let n times as much through."""

    def __init__(self, app: ASGIApp, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._rate = per_second
        self._burst = max(1.0, 2 * per_second)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Tokens and when they were counted, the key that asked last at the end."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on when its key has a token left."""
        if scope["type"] == "http" and not _is_open(scope):
            wait = self._take(_key_of(scope))
            if wait > 0:
                message = f"More than {self._rate:g} requests per second."
                error = ApiError(429, "rate_limited", message, retry_after=max(1, math.ceil(wait)))
                await refuse(error, scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _take(self, key: str) -> float:
        """Takes a token; seconds until there is one, 0 when it was taken."""
        now = self._clock()
        tokens, counted = self._buckets.pop(key, (self._burst, now))
        tokens = min(self._burst, tokens + (now - counted) * self._rate)
        taken = tokens >= 1
        self._buckets[key] = (tokens - 1 if taken else tokens, now)
        if len(self._buckets) > KEYS_REMEMBERED:
            self._buckets.popitem(last=False)
        return 0.0 if taken else (1 - tokens) / self._rate


def _is_open(scope: Scope) -> bool:
    """Whether anybody may ask. Not by POST: the one-call form takes jobs at any path."""
    return scope["path"] in OPEN_PATHS and scope["method"] in ("GET", "HEAD")


def _key_of(scope: Scope) -> str:
    headers = dict(scope["headers"])
    given = headers.get(b"authorization") or headers.get(b"modal-key")
    if given is None:
        client = scope.get("client")
        return f"address {client[0] if client else ''}"
    return hashlib.sha256(given).hexdigest()  # no credentials in memory longer than needed


class RequestLog:
    """One JSON line per request, at its end: no query, no body, no credentials."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on and logs how it was answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            line = {
                "time": timestamp(),
                "method": scope["method"][:16],
                "path": scope["path"][:200],
                "status": status,
                "ms": round((time.monotonic() - began) * 1000, 1),
                "job": scope.get("state", {}).get("job"),
            }
            requests_log.info(json.dumps(line))


async def refuse(error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with an error."""
    await JSONResponse(error.to_json(), error.status, error.headers())(scope, receive, send)


def log_requests() -> None:
    """Writes the lines of `RequestLog` to standard error, as they are."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    requests_log.handlers = [handler]
    requests_log.propagate = False
    requests_log.setLevel(logging.INFO)
