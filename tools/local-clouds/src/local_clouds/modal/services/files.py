"""Blobs, mounts, images and volumes: everything that is bytes on disk."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from ..records import Named, new_id
from ..rpc import not_found, streaming, unary
from .base import Service

BLOCK_SIZE = 8 * 1024 * 1024
"""Bytes of a block of a version 2 volume (modal 1.6.4, blob_utils.BLOCK_SIZE)."""

INLINE_FILE_LIMIT = 4 * 1024 * 1024
"""Larger files of version 1 volumes are read by URL."""


class FileService(Service):
    """Files by content (mounts), by id (blobs) and by path (volumes)."""

    def blob_path(self, blob_id: str) -> Path:
        """Where a blob lies."""
        return self.folder / "blobs" / Path(blob_id).name

    def file_path(self, sha256_hex: str) -> Path:
        """Where a file with this hash lies."""
        return self.folder / "files" / Path(sha256_hex).name

    def _blob_url(self, blob_id: str) -> str:
        return f"{self.web_url}/_blob/{blob_id}"

    @unary
    async def BlobCreate(self, request: Any) -> Any:
        blob_id = new_id("bl")
        url = self._blob_url(blob_id)
        return api_pb2.BlobCreateResponse(
            blob_id=blob_id, blob_ids=[blob_id], upload_urls=api_pb2.UploadUrlList(items=[url])
        )

    @unary
    async def BlobGet(self, request: Any) -> Any:
        return api_pb2.BlobGetResponse(download_url=self._blob_url(request.blob_id))

    @unary
    async def MountGetOrCreate(self, request: Any) -> Any:
        if request.object_creation_type == api_pb2.OBJECT_CREATION_TYPE_UNSPECIFIED:
            mount_id = f"mo-global-{request.deployment_name}"
            self.state.mounts.setdefault(mount_id, {})
        else:
            mount_id = new_id("mo")
            self.state.mounts[mount_id] = {file.filename: file.sha256_hex for file in request.files}
        checksum = hashlib.sha256(repr(sorted(self.state.mounts[mount_id].items())).encode()).hexdigest()
        metadata = api_pb2.MountHandleMetadata(content_checksum_sha256_hex=checksum)
        return api_pb2.MountGetOrCreateResponse(mount_id=mount_id, handle_metadata=metadata)

    @unary
    async def MountBatchedCheckExistence(self, request: Any) -> Any:
        missing = [digest for digest in request.sha256_hex_hashes if not self.file_path(digest).exists()]
        return api_pb2.MountBatchedCheckExistenceResponse(missing_sha256_hex_hashes=missing)

    @unary
    async def MountPutFile(self, request: Any) -> Any:
        path = self.file_path(request.sha256_hex)
        kind = request.WhichOneof("data_oneof")
        if kind == "data":
            path.write_bytes(request.data)
        elif kind == "data_blob_id":
            shutil.copyfile(self.blob_path(request.data_blob_id), path)
        return api_pb2.MountPutFileResponse(exists=path.exists())

    @unary
    async def ImageGetOrCreate(self, request: Any) -> Any:
        key = request.image.SerializeToString(deterministic=True)
        known = self.state.image_order.get(key)
        image_id = known or new_id("im")
        self.state.image_order[key] = image_id
        self.state.images[image_id] = request.image
        response = api_pb2.ImageGetOrCreateResponse(
            image_id=image_id, metadata=api_pb2.ImageMetadata(image_builder_version=request.builder_version)
        )
        if known is not None and not request.force_build:
            response.result.status = api_pb2.GenericResult.GENERIC_STATUS_SUCCESS
        return response

    @streaming
    async def ImageJoinStreaming(self, request: Any) -> AsyncIterator[Any]:
        text = "Recorded, not built: the local Modal runs containers in this machine's own environment.\n"
        logs = [api_pb2.TaskLogs(data=text, file_descriptor=api_pb2.FILE_DESCRIPTOR_STDOUT)]
        yield api_pb2.ImageJoinStreamingResponse(task_logs=logs, entry_id="1")
        result = api_pb2.GenericResult(status=api_pb2.GenericResult.GENERIC_STATUS_SUCCESS)
        yield api_pb2.ImageJoinStreamingResponse(result=result, metadata=api_pb2.ImageMetadata())

    # -- volumes ---------------------------------------------------------------------------------------

    def _metadata(self, volume: Named) -> Any:
        return api_pb2.VolumeMetadata(
            name=volume.name, version=volume.content, creation_info=self.creation(volume)
        )

    def volume_folder(self, volume: Named) -> Path:
        """The directory that holds a volume's files."""
        folder = self.folder / "volumes" / volume.environment / (volume.name or volume.id)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _volume(self, request: Any) -> Path:
        return self.volume_folder(self.by_id(self.state.volumes, request.volume_id))

    def _inside(self, root: Path, path: str) -> Path:
        relative = PurePosixPath(path.lstrip("/"))
        if ".." in relative.parts:
            raise GRPCError(Status.INVALID_ARGUMENT, f"path {path!r} leads out of the volume")
        return root / relative

    @unary
    async def VolumeGetOrCreate(self, request: Any) -> Any:
        version = request.version or api_pb2.VOLUME_FS_VERSION_V1
        volume = self.get_or_create(self.state.volumes, request, lambda _: version)
        self.volume_folder(volume)
        return api_pb2.VolumeGetOrCreateResponse(
            volume_id=volume.id, version=volume.content, metadata=self._metadata(volume)
        )

    @unary
    async def VolumeGetById(self, request: Any) -> Any:
        volume = self.by_id(self.state.volumes, request.volume_id)
        return api_pb2.VolumeGetByIdResponse(volume_id=volume.id, metadata=self._metadata(volume))

    @unary
    async def VolumeList(self, request: Any) -> Any:
        environment = self.environment(request.environment_name)
        items = [
            api_pb2.VolumeListItem(
                label=item.name, volume_id=item.id, created_at=item.created_at, metadata=self._metadata(item)
            )
            for item in self.state.volumes.named(environment)
            if item.created_at < (request.pagination.created_before or float("inf"))
        ]
        return api_pb2.VolumeListResponse(items=items, environment_name=environment)

    @unary
    async def VolumeDelete(self, request: Any) -> Any:
        folder = self._volume(request)
        del self.state.volumes.by_id[request.volume_id]
        shutil.rmtree(folder)
        return Empty()

    @unary
    async def VolumeRename(self, request: Any) -> Any:
        volume = self.by_id(self.state.volumes, request.volume_id)
        before = self.volume_folder(volume)
        if self.state.volumes.find(volume.environment, request.name) is not None:
            raise GRPCError(Status.ALREADY_EXISTS, f"Volume '{request.name}' already exists")
        volume.name = request.name
        before.rename(before.with_name(request.name))
        return Empty()

    @unary
    async def VolumeCommit(self, request: Any) -> Any:
        if self.faults.hit("volume-commit-fails") is not None:
            raise GRPCError(Status.UNAVAILABLE, "injected fault: volume commit")
        return api_pb2.VolumeCommitResponse()

    @unary
    async def VolumeReload(self, request: Any) -> Any:
        return Empty()

    @unary
    async def VolumeHeartbeat(self, request: Any) -> Any:
        return Empty()

    def _entry(self, root: Path, path: Path) -> Any:
        status = path.stat()
        kind = api_pb2.FileEntry.DIRECTORY if path.is_dir() else api_pb2.FileEntry.FILE
        size = 0 if path.is_dir() else status.st_size
        return api_pb2.FileEntry(
            path=path.relative_to(root).as_posix(), type=kind, mtime=int(status.st_mtime), size=size
        )

    def _listing(self, request: Any) -> list[Any]:
        root = self._volume(request)
        start = self._inside(root, request.path)
        if not start.exists():
            raise not_found(f"No such file or directory: {request.path}")
        if start.is_file():
            return [self._entry(root, start)]
        found = sorted(start.rglob("*") if request.recursive else start.iterdir())
        limit = request.max_entries or len(found)
        return [self._entry(root, path) for path in found[:limit]]

    @streaming
    async def VolumeListFiles(self, request: Any) -> AsyncIterator[Any]:
        yield api_pb2.VolumeListFilesResponse(entries=self._listing(request))

    @streaming
    async def VolumeListFiles2(self, request: Any) -> AsyncIterator[Any]:
        yield api_pb2.VolumeListFiles2Response(entries=self._listing(request))

    def _existing(self, request: Any) -> Path:
        path = self._inside(self._volume(request), request.path)
        if not path.is_file():
            raise not_found(f"No such file: {request.path}")
        return path

    def _span(self, path: Path, request: Any) -> tuple[int, int]:
        size = path.stat().st_size
        start = min(request.start, size)
        return start, min(request.len or size - start, size - start)

    @unary
    async def VolumeGetFile(self, request: Any) -> Any:
        path = self._existing(request)
        start, length = self._span(path, request)
        size = path.stat().st_size
        if length > INLINE_FILE_LIMIT:
            blob_id = new_id("bl")
            os.link(path, self.blob_path(blob_id))
            return api_pb2.VolumeGetFileResponse(data_blob_id=blob_id, size=size, start=start, len=length)
        with path.open("rb") as file:
            file.seek(start)
            return api_pb2.VolumeGetFileResponse(data=file.read(length), size=size, start=start, len=length)

    @unary
    async def VolumeGetFile2(self, request: Any) -> Any:
        path = self._existing(request)
        start, length = self._span(path, request)
        volume = self.by_id(self.state.volumes, request.volume_id)
        relative = path.relative_to(self.volume_folder(volume)).as_posix()
        urls: list[str] = []
        position = start
        while position < start + length:
            end = min((position // BLOCK_SIZE + 1) * BLOCK_SIZE, start + length)
            urls.append(f"{self.web_url}/_volume/{volume.id}/{position}-{end}/{relative}")
            position = end
        return api_pb2.VolumeGetFile2Response(
            get_urls=urls, size=path.stat().st_size, start=start, len=length
        )

    @unary
    async def VolumePutFiles(self, request: Any) -> Any:
        root = self._volume(request)
        for file in request.files:
            target = self._inside(root, file.filename)
            self._refuse_overwrite(target, request)
        for file in request.files:
            _place(self.file_path(file.sha256_hex), self._inside(root, file.filename), file.mode)
        return Empty()

    @unary
    async def VolumePutFiles2(self, request: Any) -> Any:
        root = self._volume(request)
        response = api_pb2.VolumePutFiles2Response()
        for file_index, file in enumerate(request.files):
            self._refuse_overwrite(self._inside(root, file.path), request)
            for block_index, block in enumerate(file.blocks):
                if not self.file_path(block.contents_sha256.hex()).exists():
                    url = f"{self.web_url}/_block/{block.contents_sha256.hex()}"
                    response.missing_blocks.add(file_index=file_index, block_index=block_index, put_url=url)
        if not response.missing_blocks:
            for file in request.files:
                self._assemble(file, self._inside(root, file.path))
        return response

    def _assemble(self, file: Any, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        with partial.open("wb") as output:
            for block in file.blocks:
                with self.file_path(block.contents_sha256.hex()).open("rb") as piece:
                    shutil.copyfileobj(piece, output)
            output.truncate(file.size)
        partial.chmod((file.mode or 0o644) & 0o777)
        partial.replace(target)

    def _refuse_overwrite(self, target: Path, request: Any) -> None:
        if target.exists() and request.disallow_overwrite_existing_files:
            raise GRPCError(Status.ALREADY_EXISTS, f"{target.name} already exists")

    def _remove(self, request: Any) -> Empty:
        path = self._inside(self._volume(request), request.path)
        if not path.exists():
            raise not_found(f"No such file or directory: {request.path}")
        if path.is_dir():
            if not request.recursive:
                raise GRPCError(
                    Status.INVALID_ARGUMENT, f"{request.path} is a directory; remove it recursively"
                )
            shutil.rmtree(path)
        else:
            path.unlink()
        return Empty()

    @unary
    async def VolumeRemoveFile(self, request: Any) -> Any:
        return self._remove(request)

    @unary
    async def VolumeRemoveFile2(self, request: Any) -> Any:
        return self._remove(request)

    def _copy(self, request: Any) -> Empty:
        root = self._volume(request)
        target = self._inside(root, request.dst_path)
        for source_path in request.src_paths:
            source = self._inside(root, source_path)
            if not source.exists():
                raise not_found(f"No such file or directory: {source_path}")
            place = target / source.name if target.is_dir() else target
            place.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, place, dirs_exist_ok=True)
            else:
                shutil.copy2(source, place)
        return Empty()

    @unary
    async def VolumeCopyFiles(self, request: Any) -> Any:
        return self._copy(request)

    @unary
    async def VolumeCopyFiles2(self, request: Any) -> Any:
        return self._copy(request)


def _place(source: Path, target: Path, mode: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    shutil.copyfile(source, partial)
    partial.chmod((mode or 0o644) & 0o777)
    partial.replace(target)
