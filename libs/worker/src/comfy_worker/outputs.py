"""What a job made: files in ComfyUI's folders, or text."""

from __future__ import annotations

import hashlib
import mimetypes
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from .errors import OutputMissing

Kind = Literal["image", "video", "audio", "text", "file", "latent"]

KINDS_BY_SUFFIX: dict[str, Kind] = {
    **dict.fromkeys(
        [".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tiff", ".exr", ".svg", ".avif"], "image"
    ),
    **dict.fromkeys([".mp4", ".webm", ".mov", ".mkv", ".avi", ".m4v"], "video"),
    **dict.fromkeys([".flac", ".mp3", ".wav", ".ogg", ".opus", ".m4a", ".aac"], "audio"),
    **dict.fromkeys([".txt", ".json", ".csv", ".srt"], "text"),
    ".latent": "latent",
}
KINDS_BY_KEY: dict[str, Kind] = {
    "images": "image",
    "gifs": "video",
    "video": "video",
    "videos": "video",
    "audio": "audio",
    "latents": "latent",
    "3d": "file",
    "result": "file",
    "text": "text",
}
"""Kinds by the key under which a node reports its files, when the name does not tell."""

TYPES = {
    ".glb": "model/gltf-binary",
    ".safetensors": "application/octet-stream",
    ".latent": "application/octet-stream",
    ".webp": "image/webp",
    ".avif": "image/avif",
}
"""Content types that `mimetypes` may not know."""

Open = Callable[["Output"], AsyncIterator[bytes]]


@dataclass(slots=True)
class Output:
    """One file, or one text, that an output node made."""

    node_id: str
    name: str
    """File name without folders; texts are called `<node id>-<number>.txt`."""
    subfolder: str
    kind: Kind
    content_type: str
    type: str = "output"
    """ComfyUI's folder: `output`, or `temp` for previews."""
    size_bytes: int | None = None
    """Known once the output was read or saved."""
    sha256: str | None = None
    """Hexadecimal; known once the output was read or saved."""
    text: str | None = None
    """The content of a text that is no file."""
    open: Open | None = field(default=None, repr=False)

    async def stream(self) -> AsyncIterator[bytes]:
        """The content in pieces. Raises OutputMissing when it cannot be read whole."""
        if self.text is not None:
            yield self.text.encode()
        elif self.open is not None:
            async for piece in self.open(self):
                yield piece

    async def read(self) -> bytes:
        """The whole content; sets `size_bytes` and `sha256`."""
        pieces = [piece async for piece in self.stream()]
        content = b"".join(pieces)
        self.size_bytes, self.sha256 = len(content), hashlib.sha256(content).hexdigest()
        return content

    async def save(self, path: Path) -> Path:
        """Streams the content to `path`, which appears only when it is whole; sets `size_bytes` and `sha256`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        hasher, size = hashlib.sha256(), 0
        descriptor, partial = tempfile.mkstemp(prefix=".partial-", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                async for piece in self.stream():
                    hasher.update(piece)
                    size += len(piece)
                    file.write(piece)
            os.replace(partial, path)
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise
        self.size_bytes, self.sha256 = size, hasher.hexdigest()
        return path

    def to_json(self) -> dict[str, Any]:
        """Description without content; keys in camel case."""
        return {
            "nodeId": self.node_id,
            "name": self.name,
            "subfolder": self.subfolder,
            "kind": self.kind,
            "contentType": self.content_type,
            "size": self.size_bytes,
            "sha256": self.sha256,
        }


def outputs_of(node_id: str, ui: Mapping[str, Any], open_file: Open) -> Iterator[Output]:
    """The outputs in what a node reported (`executed`, or /history).

    Raises OutputMissing for a name that leads out of ComfyUI's folders.
    """
    for key, values in ui.items():
        if not isinstance(values, list | tuple):
            continue
        for number, value in enumerate(values):
            if isinstance(value, str) and key == "text":
                name = f"{node_id.replace(':', '-')}-{number}.txt"
                yield Output(node_id, name, "", "text", "text/plain; charset=utf-8", text=value)
            elif isinstance(value, Mapping) and isinstance(value.get("filename"), str):
                yield _file(node_id, key, value, open_file)


def _file(node_id: str, key: str, value: Mapping[str, Any], open_file: Open) -> Output:
    filename, subfolder = str(value["filename"]), str(value.get("subfolder") or "")
    folder = str(value.get("type") or "output")
    if not _is_safe(filename, subfolder) or folder not in ("output", "temp", "input"):
        raise OutputMissing(
            f"Node {node_id} reported an output outside ComfyUI's folders.",
            node_id=node_id,
            details={"filename": filename, "subfolder": subfolder, "type": folder},
            hint="The custom node that made it is broken or hostile; nothing was read.",
        )
    suffix = PurePosixPath(filename).suffix.lower()
    kind = KINDS_BY_SUFFIX.get(suffix) or KINDS_BY_KEY.get(key, "file")
    content_type = TYPES.get(suffix) or mimetypes.guess_type(filename)[0] or "application/octet-stream"
    return Output(node_id, filename, subfolder, kind, content_type, type=folder, open=open_file)


def _is_safe(filename: str, subfolder: str) -> bool:
    if not filename or filename in (".", "..") or any(mark in filename for mark in ("/", "\\", "\0")):
        return False
    parts = PurePosixPath(subfolder.replace("\\", "/"))
    return not parts.is_absolute() and ".." not in parts.parts and "\0" not in subfolder
