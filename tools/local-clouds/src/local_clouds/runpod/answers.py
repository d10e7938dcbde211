"""Answers that every API of the local RunPod gives: errors, and those of a connection that breaks."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web


def error(status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """An error of the job API, whose bodies RunPod does not document."""
    return web.json_response({"error": message}, status=status, headers=headers)


def cut(request: web.Request) -> web.Response:
    """Cuts the connection; the answer is never sent."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


async def half(request: web.Request, body: bytes) -> web.StreamResponse:
    """Half of a JSON answer, then a cut connection."""
    response = web.StreamResponse(
        headers={"Content-Length": str(len(body)), "Content-Type": "application/json"}
    )
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.abort()
    return response
