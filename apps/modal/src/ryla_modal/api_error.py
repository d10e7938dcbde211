"""Errors as Comfy API v2 answers them."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """A refused request: HTTP status, stable code, message, and particulars."""

    def __init__(
        self, status: int, code: str, message: str, details: Any = None, *, retry_after: int | None = None
    ) -> None:
        """`retry_after`: seconds after which the same request may succeed."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details
        self.retry_after = retry_after

    def to_json(self) -> dict[str, Any]:
        """`{"error": {"code", "message", "details"?}}`."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.details is not None:
            error["details"] = self.details
        return {"error": error}

    def headers(self) -> dict[str, str]:
        """Headers of the answer."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
