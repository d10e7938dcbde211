"""Options of Modal classes and functions from the settings: one place for every app of this folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import modal
import modal.config

from .images import FILES, MODELS, worker_image
from .requirements_lock import TOOLS, base_lock, node_lock
from .settings import SETTINGS_VARIABLE, InvalidEndpoint, Places, load_settings
from .warm_up import WarmUp

LONGEST = 24 * 3600
"""Seconds of the longest timeout that Modal takes."""

STOP_MARGIN = 120
"""Seconds after a job's own timeout at which Modal ends a worker that is stuck."""


class Deployment:
    """Settings, volumes, secrets and images of one app. Making one needs no network and no credentials."""

    def __init__(self, app_file: Path) -> None:
        """`app_file` is the file that `modal deploy` was given; in a container no repository is around it."""
        self.local = modal.is_local()
        parents = app_file.resolve().parents
        self.repository = parents[2] if self.local else app_file.parent
        self.places = Places.of(self.repository)
        environment: str = (modal.config.config.get("environment") or "") if self.local else ""
        self.settings = load_settings(os.environ, self.places, environment)
        self.models = modal.Volume.from_name("ryla-models", create_if_missing=True, version=2)
        self.files = modal.Volume.from_name("ryla-outputs", create_if_missing=True, version=2)
        self.secret = modal.Secret.from_name("ryla-secrets")
        self.variables: dict[str, str | None] = {SETTINGS_VARIABLE: self.settings.to_json()}

    @property
    def folder(self) -> Path:
        """The folder of the app's endpoint.json, on the deployer's machine."""
        endpoint = self.settings.endpoint
        return self.places.generic.parent if endpoint is None else self.places.endpoints / endpoint

    @property
    def tags(self) -> dict[str, str]:
        """What the app is found by in lists and bills."""
        return {
            "ryla-endpoint": self.settings.endpoint or "any",
            "ryla-environment": self.settings.environment or "default",
            "comfyui": self.settings.comfyui_version,
        }

    def worker_image(self) -> modal.Image:
        """ComfyUI with its nodes; their requirements as they are locked. Raises InvalidEndpoint for a stale lock."""
        settings, command = self.settings, f"npx nx run {self.settings.endpoint or 'modal'}:lock"
        if not self.local:
            return worker_image(settings, None, None)
        self._check_warm_up()
        modal_app, version = self.places.generic.parents[1], settings.comfyui_version
        base = base_lock(modal_app, version, TOOLS).checked(command)
        nodes = node_lock(self.folder, version, settings.custom_nodes).checked(command)
        if base is None or (nodes is None and settings.custom_nodes):
            print(
                f"Requirements are not locked: the build takes the newest. `{command}` locks.",
                file=sys.stderr,
            )
        return worker_image(settings, base, nodes, self.places.endpoints)

    def _check_warm_up(self) -> None:
        warm_up = WarmUp.of(self.settings.warm_up)
        if warm_up is None:
            return
        if self.settings.endpoint is None:
            raise InvalidEndpoint("warmUp: the generic app has no workflow that it could run. Leave it out.")
        if warm_up.workflow is not None and not (self.folder / warm_up.workflow).is_file():
            raise InvalidEndpoint(
                f"warmUp: {self.folder} holds no {warm_up.workflow}. Save the workflow there, in API format."
            )

    def mounts(self, *, writable_models: bool = False) -> dict[str, modal.Volume]:
        """The worker's volumes by mount path. Models are read only, so that no job can change them."""
        models = self.models if writable_models else self.models.with_mount_options(read_only=True)
        own = {MODELS: models, FILES: self.files}
        for volume in self.settings.volumes:
            found = modal.Volume.from_name(volume["name"], create_if_missing=True, version=2)
            if volume.get("readOnly") or volume.get("subPath"):
                found = found.with_mount_options(
                    read_only=volume.get("readOnly"), sub_path=volume.get("subPath")
                )
            own[volume["mountPath"]] = found
        return own

    def machine(self) -> dict[str, Any]:
        """What a GPU container is, for the worker and for editing."""
        settings = self.settings
        return {
            "gpu": list(settings.gpu),
            "cpu": settings.cpu,
            "memory": settings.memory,
            "region": list(settings.regions) or None,
            "secrets": [self.secret, *map(modal.Secret.from_name, settings.secrets)],
            "env": self.variables,
            "startup_timeout": settings.startup_timeout,
        }

    def worker(self) -> dict[str, Any]:
        """Options of the GPU class."""
        settings = self.settings
        gpu_snapshot = {"experimental_options": {"enable_gpu_snapshot": True}}
        return {
            **self.machine(),
            "image": self.worker_image(),
            "volumes": self.mounts(),
            # The worker interrupts a job at its own timeout; Modal's is the one that a stuck worker meets.
            "timeout": min(LONGEST, settings.execution_timeout + STOP_MARGIN),
            "scaledown_window": settings.scaledown_window,
            "min_containers": settings.min_containers,
            "max_containers": settings.max_containers,
            "buffer_containers": settings.buffer_containers,
            "enable_memory_snapshot": settings.snapshot != "none",
            **(gpu_snapshot if settings.snapshot == "gpu" else {}),
            "retries": 0,
        }

    def web(self, image: modal.Image) -> dict[str, Any]:
        """Options of every CPU function."""
        settings = self.settings
        return {
            "image": image,
            "volumes": {FILES: self.files},
            "secrets": [self.secret],
            "env": self.variables,
            "cpu": settings.gateway_cpu,
            "memory": settings.gateway_memory,
            "region": list(settings.regions) or None,
            "scaledown_window": settings.gateway_scaledown_window,
        }
