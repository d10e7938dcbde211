"""Starts a container's process: its files, its environment, its own connection to the control plane."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpclib.server
from modal_proto import api_pb2

from ..child_environment import inherited
from ..child_process import exited, follow_to_end, start_child
from .container import Container
from .records import State

SANDBOX_SCRIPT = Path(__file__).with_name("sandbox_entry.py")


@dataclass(frozen=True)
class ContainerSettings:
    """How containers run on this machine."""

    python: Path
    engine: Mapping[str, str] = field(default_factory=dict[str, str])
    """Variables that replace those of the image, such as which ComfyUI to use."""
    keep: Sequence[Path] = ()
    """Folders that must stay visible in a container's root."""
    namespaces: bool = True
    """Give each container a root of its own, where the kernel allows it."""


class Launcher:
    """Runs one container to its end."""

    def __init__(
        self,
        state: State,
        folder: Path,
        settings: ContainerSettings,
        servicer: Callable[[Container], Any],
        layout: Callable[[Any], Any],
        log: Callable[[str], None],
    ) -> None:
        self._state = state
        self._folder = folder
        self._settings = settings
        self._servicer = servicer
        self._layout = layout
        self._log = log
        self._namespaces: bool | None = None

    async def run(self, container: Container) -> None:
        """Starts the process, follows its log, and returns when it has ended."""
        folder = self._folder / "containers" / container.id
        folder.mkdir(parents=True)
        # Sockets have short names only, and the state may lie anywhere.
        with tempfile.TemporaryDirectory(prefix="local-modal-", ignore_cleanup_errors=True) as short:
            socket = Path(short) / "s"
            server = grpclib.server.Server([self._servicer(container)])
            await server.start(path=str(socket))
            try:
                await self._run(container, folder, socket)
            finally:
                server.close()
                shutil.rmtree(folder, ignore_errors=True)

    async def _run(self, container: Container, folder: Path, socket: Path) -> None:
        function = container.function
        rootfs = folder / "rootfs"
        (rootfs / "root").mkdir(parents=True)
        self._materialise(function.definition, rootfs)
        arguments = folder / "arguments.bin"
        arguments.write_bytes(self._arguments(container).SerializeToString())
        volumes = self._volumes(function.definition)
        sandboxed = await self._can_sandbox()
        environment = self._environment(container, rootfs, volumes, sandboxed)
        # Goes with the container, however that ends.
        scratch = socket.with_name("tmp")
        scratch.mkdir()
        environment |= {
            "TMPDIR": str(scratch),
            "MODAL_SERVER_URL": f"unix://{socket}",
            "MODAL_CONTAINER_ARGUMENTS_PATH": str(arguments),
        }
        command = [str(self._settings.python), "-m", "modal._container_entrypoint"]
        if sandboxed:
            plan = folder / "sandbox.json"
            plan.write_text(
                json.dumps(self._plan(folder, rootfs, volumes, command, socket.parent)), encoding="utf-8"
            )
            command = [str(self._settings.python), str(SANDBOX_SCRIPT), str(plan)]
        container.process = await start_child(command, env=environment, cwd=rootfs / "root")
        self._log(
            f"[{function.app.name} {function.name}] container {container.id} started, pid {container.process.pid}"
        )
        await follow_to_end(container.process, lambda line: self._logged(container, line))
        function.app.logs.put(api_pb2.TaskLogsBatch(task_id=container.id, eof=True))
        self._log(
            f"[{function.app.name} {function.name}] container {container.id} ended, code {container.process.returncode}"
        )

    def _logged(self, container: Container, line: str) -> None:
        function = container.function
        self._log(f"[{function.app.name} {function.name}] {line.rstrip()}")
        item = container.logging_for
        input_id, call_id = (item.id, item.call.id) if item is not None else ("", "")
        entry = api_pb2.TaskLogs(
            data=line,
            timestamp=time.time(),
            timestamp_ns=time.time_ns(),
            file_descriptor=api_pb2.FILE_DESCRIPTOR_STDOUT,
            container_id=container.id,
            input_id=input_id,
            function_call_id=call_id,
        )
        function.app.logs.put(
            api_pb2.TaskLogsBatch(
                items=[entry],
                task_id=container.id,
                function_id=function.id,
                root_function_id=function.base_id or function.id,
                input_id=input_id,
            )
        )

    def _arguments(self, container: Container) -> Any:
        function = container.function
        definition = api_pb2.Function()
        definition.CopyFrom(function.definition)
        definition.ClearField(
            "checkpointing_enabled"
        )  # snapshots are not emulated: every start is a full one
        return api_pb2.ContainerArguments(
            task_id=container.id,
            function_id=function.id,
            app_id=function.app.id,
            function_def=definition,
            app_layout=self._layout(function.app),
            serialized_params=function.params,
            environment_name=function.app.environment,
        )

    def _materialise(self, definition: api_pb2.Function, rootfs: Path) -> None:
        mounts = list(definition.mount_ids)
        for image in self.images(definition.image_id):
            if image.context_mount_id:
                self._copy_context(image, rootfs)
        for mount_id in mounts:
            for name, digest in self._state.mounts.get(mount_id, {}).items():
                self._copy(digest, rootfs / name.lstrip("/"))

    def _copy_context(self, image: api_pb2.Image, rootfs: Path) -> None:
        files = self._state.mounts.get(image.context_mount_id, {})
        for command in image.dockerfile_commands:
            words = shlex.split(command) if command.startswith("COPY") else []
            if len(words) != 3:
                continue
            source, target = words[1].strip("/."), words[2]
            for name, digest in files.items():
                inner = name.strip("/")
                if source and inner != source and not inner.startswith(f"{source}/"):
                    continue
                relative = inner[len(source) :].lstrip("/") if source else inner
                place = rootfs / target.lstrip("/")
                self._copy(digest, place / relative if relative and not target.endswith(inner) else place)

    def _copy(self, digest: str, target: Path) -> None:
        source = self._folder / "files" / digest
        if source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)

    def layers(self, image_id: str) -> list[tuple[str, api_pb2.Image]]:
        """An image and those it is built on with their ids, the lowest first."""
        image = self._state.images.get(image_id)
        if image is None:
            return []
        below = [layer for entry in image.base_images for layer in self.layers(entry.image_id)]
        return [*below, (image_id, image)]

    def images(self, image_id: str) -> list[api_pb2.Image]:
        """The same without ids."""
        return [image for _, image in self.layers(image_id)]

    def image_environment(self, image_id: str) -> dict[str, str]:
        """Variables that the image's ENV commands set."""
        values: dict[str, str] = {}
        for image in self.images(image_id):
            for command in image.dockerfile_commands:
                if command.startswith("ENV "):
                    pairs = shlex.split(command[4:])
                    values |= dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        return values

    def _volumes(self, definition: api_pb2.Function) -> dict[str, tuple[Path, bool]]:
        mounted: dict[str, tuple[Path, bool]] = {}
        for mount in definition.volume_mounts:
            volume = self._state.volumes.by_id[mount.volume_id]
            folder = (
                self._folder / "volumes" / volume.environment / (volume.name or volume.id) / mount.sub_path
            )
            folder.mkdir(parents=True, exist_ok=True)
            mounted[mount.mount_path.rstrip("/")] = (folder, mount.read_only)
        return mounted

    def _environment(
        self, container: Container, rootfs: Path, volumes: Mapping[str, tuple[Path, bool]], sandboxed: bool
    ) -> dict[str, str]:
        function = container.function
        values = inherited(os.environ)
        own = self.image_environment(function.definition.image_id)
        for secret_id in function.definition.secret_ids:
            secret = self._state.secrets.by_id.get(secret_id)
            own |= secret.content if secret is not None else {}
        own.pop("PATH", None)
        if not sandboxed:
            own = {name: _relocated(value, volumes) for name, value in own.items()}
        home = "/root" if sandboxed else str(rootfs / "root")
        return {
            **values,
            **own,
            **self._settings.engine,
            "HOME": home,
            "PYTHONPATH": home,
            "PYTHONUNBUFFERED": "1",
            "MODAL_TASK_ID": container.id,
            "MODAL_IS_REMOTE": "1",
            "MODAL_CONFIG_PATH": "/nonexistent",
            "MODAL_ENVIRONMENT": function.app.environment,
            "MODAL_IMAGE_ID": function.definition.image_id,
        }

    def _plan(
        self,
        folder: Path,
        rootfs: Path,
        volumes: Mapping[str, tuple[Path, bool]],
        command: Sequence[str],
        sockets: Path,
    ) -> dict[str, Any]:
        python = self._settings.python.parent.parent
        keep = [str(path) for path in (*self._settings.keep, self._folder, python, sockets)]
        return {
            "root": str(folder / "newroot"),
            "rootfs": str(rootfs),
            "volumes": {path: [str(source), read_only] for path, (source, read_only) in volumes.items()},
            "keep": keep,
            "command": list(command),
        }

    async def _can_sandbox(self) -> bool:
        if self._namespaces is None:
            self._namespaces = self._settings.namespaces and await self._probe()
            if not self._namespaces:
                self._log(
                    "Containers share this machine's file system: volumes are not at their mount paths, "
                    "and environment values that begin with one are rewritten."
                )
        return self._namespaces

    async def _probe(self) -> bool:
        command = [str(self._settings.python), str(SANDBOX_SCRIPT), "--probe"]
        process = await start_child(command, env={"PATH": os.environ.get("PATH", "")})
        return await exited(process) == 0


def _relocated(value: str, volumes: Mapping[str, tuple[Path, bool]]) -> str:
    for mount_path, (folder, _) in volumes.items():
        if value == mount_path or value.startswith(f"{mount_path}/"):
            return f"{folder}{value[len(mount_path) :]}"
    return value
