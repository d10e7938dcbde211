"""Assets: records over bytes that are kept once."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Receive

from . import limits, request_values
from .api_error import ApiError
from .idempotency import KeyClaims
from .jobs import URL_LIFETIME
from .request_body import read_json, refuse_encoding
from .stores import Blob, FileStore, KeyValueStore, file_pieces, new_asset, timestamp

FORM_OVERHEAD = 1 << 16
"""Bytes of an upload's form beside its file."""


class AssetRoutes:
    """`/api/v2/assets`."""

    def __init__(self, store: KeyValueStore, files: FileStore) -> None:
        self._store = store
        self._files = files
        self._keys = KeyClaims(store, "asset", time.time)

    def routes(self) -> list[Route]:
        """For the application."""
        return [
            Route("/api/v2/assets", self._post, methods=["POST"]),
            Route("/api/v2/assets/from-hash", self._from_hash, methods=["POST"]),
            Route("/api/v2/assets/by-hash/{hash}", self._head, methods=["HEAD"]),
            Route("/api/v2/assets/{id}", self._get, methods=["GET"]),
            Route("/api/v2/assets/{id}", self._delete, methods=["DELETE"]),
            Route("/api/v2/assets/{id}/content", self._content, methods=["GET"]),
        ]

    async def _post(self, request: Request) -> Response:
        refuse_encoding(request)
        if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
            raise ApiError(415, "unsupported_media_type", "Send the file as multipart/form-data.")
        origin = request_values.origin(request.headers, request.url.scheme)
        key = request_values.idempotency_key(request.headers)
        async with Request(request.scope, _limited(request.receive)).form(max_files=1, max_fields=64) as form:
            file, fields = _upload_fields(form)
            await self._keys.claim(key)
            try:
                blob = await self._files.write(_upload_pieces(file))
                expected = fields["expected_hash"]
                if expected is not None and expected != blob.hash:
                    message = f"The bytes have the hash {blob.hash}, which is not `expected_hash`."
                    raise ApiError(409, "hash_mismatch", message)
            except ApiError:
                await self._keys.release(key)
                raise
        asset = new_asset(
            blob,
            fields["content_type"],
            fields["file_path"],
            expires_in=fields["expires_in"],
            tags=fields["tags"],
        )
        await self._store.put(f"asset:{asset['id']}", asset)
        await self._files.commit()
        return JSONResponse(shown_asset(asset, origin, blob.is_new), 201 if blob.is_new else 200)

    async def _from_hash(self, request: Request) -> Response:
        document = await read_json(request)
        origin = request_values.origin(request.headers, request.url.scheme)
        if not isinstance(document.get("hash"), str):
            raise ApiError(422, "invalid_request", "`hash` is needed: blake3: and 64 hexadecimal digits.")
        file_path = request_values.file_path(document.get("file_path", ""))
        tags = request_values.tags(document.get("tags", []))
        if isinstance(document.get("expires_in", 60), str):
            raise ApiError(422, "invalid_request", "`expires_in` must be a number.")
        expires_in = request_values.expires_in(document.get("expires_in", None))
        content_hash = request_values.content_hash(document["hash"])
        path = None if content_hash is None else await self._files.path(content_hash)
        if path is None or content_hash is None:
            raise ApiError(404, "blob_not_found", "There are no bytes with this hash.")
        blob = Blob(content_hash, path.stat().st_size, False)
        asset = new_asset(blob, "", file_path, expires_in=expires_in, tags=tags)
        await self._store.put(f"asset:{asset['id']}", asset)
        return JSONResponse(shown_asset(asset, origin, False), 201)

    async def _head(self, request: Request) -> Response:
        content_hash = request_values.content_hash(request.path_params["hash"])
        found = None if content_hash is None else await self._files.path(content_hash)
        return Response(status_code=404 if found is None else 200)

    async def _asset(self, request: Request) -> dict[str, Any]:
        asset_id: str = request.path_params["id"]
        known = request_values.known_id(asset_id)
        asset = None if known is None else await self._store.get(f"asset:{known}")
        if asset is None or asset["expires_at"] < timestamp():
            raise ApiError(404, "not_found", f"There is no asset {asset_id[:60]}.")
        return asset

    async def _get(self, request: Request) -> Response:
        asset = await self._asset(request)
        return JSONResponse(shown_asset(asset, request_values.origin(request.headers, request.url.scheme)))

    async def _delete(self, request: Request) -> Response:
        asset = await self._asset(request)
        if asset["job_id"] is not None:
            raise ApiError(409, "asset_in_use", "The asset is in use.")
        await self._store.pop(f"asset:{asset['id']}")
        return Response(status_code=204)

    async def _content(self, request: Request) -> Response:
        asset = await self._asset(request)
        path = await self._files.path(asset["hash"])
        if path is None:
            raise ApiError(404, "not_found", "The bytes of this asset are no longer kept.")
        size, etag = path.stat().st_size, f'"{asset["hash"]}"'
        headers = {
            "Accept-Ranges": "bytes",
            "ETag": etag,
            # Bytes of strangers: no page of theirs may act in our name.
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
        }
        if etag in [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]:
            return Response(status_code=304, headers=headers)
        wanted = request.headers.get("range")
        if request.headers.get("if-range", etag) != etag:
            wanted = None  # other bytes than those that the caller has a part of: all of them
        span = request_values.byte_range(wanted, size)
        if span is None:
            error = ApiError(416, "range_not_satisfiable", f"The content has {size} bytes.")
            return JSONResponse(error.to_json(), 416, {"Content-Range": f"bytes */{size}"})
        start, end = span
        status = 200
        if wanted is not None and (start, end) != (0, size):
            status = 206
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        headers["Content-Length"] = str(end - start)
        pieces = file_pieces(path, start, end - start)
        return StreamingResponse(pieces, status, headers, media_type=asset["content_type"])


def shown_asset(asset: Mapping[str, Any], origin: str, created_new: bool | None = None) -> dict[str, Any]:
    """An asset in the shape of Comfy API v2."""
    names = ("id", "hash", "size_bytes", "content_type", "file_path", "created_at", "expires_at", "job_id")
    document = {name: asset[name] for name in names}
    document["url"] = f"{origin}/api/v2/assets/{asset['id']}/content"
    document["url_expires_at"] = timestamp(time.time() + URL_LIFETIME)
    return document if created_new is None else {**document, "created_new": created_new}


def _upload_fields(form: FormData) -> tuple[UploadFile, dict[str, Any]]:
    file = form.get("file")
    texts = {name: form.get(name) for name in ("content_type", "file_path", "expected_hash", "expires_in")}
    if not isinstance(file, UploadFile) or texts["content_type"] is None or texts["file_path"] is None:
        raise ApiError(422, "invalid_request", "`file`, `content_type` and `file_path` are needed.")
    if any(not isinstance(text, str | None) for text in texts.values()):
        raise ApiError(422, "invalid_request", "All fields but `file` are texts.")
    return file, {
        "content_type": request_values.media_type(texts["content_type"]),
        "file_path": request_values.file_path(texts["file_path"]),
        "expected_hash": texts["expected_hash"],
        "expires_in": request_values.expires_in(texts["expires_in"]),
        "tags": request_values.tags(form.getlist("tags")),
    }


async def _upload_pieces(file: UploadFile) -> AsyncIterator[bytes]:
    while piece := await file.read(1 << 20):
        yield piece


def _limited(receive: Receive) -> Receive:
    """Receives no more than an upload may have, whatever Content-Length says."""
    received = 0

    async def limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limits.UPLOAD_BYTES + FORM_OVERHEAD:
            raise ApiError(413, "payload_too_large", f"An upload may have {limits.UPLOAD_BYTES} bytes.")
        return message

    return limited
