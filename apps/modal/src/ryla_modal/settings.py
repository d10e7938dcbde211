"""What a deployment is made of: endpoint.json of an endpoint, or of the generic app."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from .core_nodes import CORE_NODE_CLASSES
from .custom_node_classes import CUSTOM_NODE_CLASSES
from .endpoint_document import InvalidEndpoint, read_document
from .requirements_lock import node_source

__all__ = ["InvalidEndpoint", "Places", "Settings", "bearer_token", "load_settings"]

SETTINGS_VARIABLE = "RYLA_SETTINGS"
"""Holds the settings inside containers, where the repository is not."""

TOKEN_VARIABLE = "RYLA_API_TOKEN"  # noqa: S105  (a name)
"""Key of the secret ryla-secrets: the token of auth `bearer`."""

CATALOGUE_VERSION = "0.3.64"
"""ComfyUI whose node classes core_nodes.py lists."""

Auth = Literal["modal-proxy", "bearer"]
Snapshot = Literal["none", "cpu", "gpu"]


@dataclass(frozen=True)
class Places:
    """Where a deployer's machine has what settings come from."""

    endpoints: Path
    """Folder of the endpoints' folders."""
    generic: Path
    """endpoint.json of the generic app."""
    schema: Path
    """JSON Schema of endpoint.json."""

    @classmethod
    def of(cls, repository: Path) -> Places:
        """Those of a checkout."""
        return cls(
            endpoints=repository / "apps/endpoints",
            generic=repository / "apps/modal/generic/endpoint.json",
            schema=repository / "libs/workflow/schema/endpoint.schema.json",
        )


@dataclass(frozen=True)
class Settings:
    """Settings of one Modal app. Sizes are in MiB, times in seconds."""

    app: str
    endpoint: str | None
    """None for the generic app, which has no workflow of its own."""
    label: str
    """Beginning of its URLs: `<label>-api`, `<label>-generate-image`."""
    environment: str
    """Modal environment whose overrides are in; empty for the account's default."""
    auth: Auth
    comfyui_version: str
    custom_nodes: tuple[Mapping[str, str], ...]
    models: tuple[Mapping[str, Any], ...]
    """Directory, filename, size and sha256 of what the workflow loads; nothing for the generic app."""
    system_packages: tuple[str, ...]
    variables: Mapping[str, str]
    gpu: tuple[str, ...]
    cpu: float
    memory: int
    regions: tuple[str, ...]
    snapshot: Snapshot
    warm_up: Any
    """`warmUp` of endpoint.json as it stands there; None for none."""
    secrets: tuple[str, ...]
    volumes: tuple[Mapping[str, Any], ...]
    execution_timeout: int
    """Seconds that one job may run."""
    startup_timeout: int
    min_containers: int
    max_containers: int
    buffer_containers: int
    scaledown_window: int
    gateway_cpu: float
    gateway_memory: int
    gateway_concurrency: int
    gateway_min_containers: int
    gateway_scaledown_window: int

    @property
    def catalogue_key(self) -> str:
        """Names the set of node classes: equal for equal ComfyUI and custom nodes, so that a worker of an
        earlier deployment with other nodes does not speak for this one."""
        parts = [self.comfyui_version, *sorted(map(node_source, self.custom_nodes))]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def known_classes(self) -> frozenset[str] | None:
        """Node classes that this deployment has, as far as they are known without a worker; None when they are not."""
        if self.comfyui_version != CATALOGUE_VERSION:
            return None
        known = CORE_NODE_CLASSES
        for node in self.custom_nodes:
            classes = CUSTOM_NODE_CLASSES.get(node.get("commit", ""))
            if classes is None:
                return None
            known |= classes
        return known

    def to_json(self) -> str:
        """For the containers."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """The settings that `to_json` wrote."""
        document: dict[str, Any] = json.loads(text)
        for name, value in list(document.items()):
            if isinstance(value, list):
                document[name] = tuple(value)  # pyright: ignore
        return cls(**document)

    @classmethod
    def from_document(
        cls, document: Mapping[str, Any], *, environment: str = "", generic: bool = False
    ) -> Settings:
        """Settings from a checked endpoint.json. What it leaves out is as in libs/workflow."""
        name: str = document["name"]
        image, gateway = document.get("image", {}), document.get("gateway", {})
        scaling, timeouts = document.get("scaling", {}), document.get("timeouts", {})
        modal = document.get("providers", {}).get("modal", {})
        return cls(
            app=f"ryla-{name}",
            endpoint=None if generic else name,
            label=modal.get("label", f"ryla-{name}"),
            environment=environment,
            auth=modal.get("auth", "modal-proxy"),
            comfyui_version=document.get("comfyui", {}).get("version", CATALOGUE_VERSION),
            custom_nodes=tuple(document.get("customNodes", ())),
            models=tuple(
                {key: model[key] for key in ("directory", "filename", "size", "sha256")}
                for model in document.get("models", ())
            ),
            system_packages=tuple(image.get("systemPackages", ())),
            variables=dict(image.get("variables", {})),
            gpu=tuple(document.get("gpu", ("L4",))),
            cpu=document.get("cpu", 2),
            memory=document.get("memory", 8192),
            regions=tuple(document.get("regions", ())),
            snapshot=document.get("snapshot", "none"),
            warm_up=document.get("warmUp") or None,
            secrets=tuple(document.get("secrets", ())),
            volumes=tuple(document.get("volumes", ())),
            execution_timeout=timeouts.get("execution", 600),
            startup_timeout=timeouts.get("startup", 300),
            min_containers=scaling.get("minContainers", 0),
            max_containers=scaling.get("maxContainers", 1),
            buffer_containers=scaling.get("bufferContainers", 0),
            scaledown_window=scaling.get("scaledownWindow", 60),
            gateway_cpu=gateway.get("cpu", 0.5),
            gateway_memory=gateway.get("memory", 512),
            gateway_concurrency=gateway.get("concurrency", 100),
            gateway_min_containers=gateway.get("minContainers", 0),
            gateway_scaledown_window=gateway.get("scaledownWindow", 60),
        )


def bearer_token(auth: Auth, environ: Mapping[str, str]) -> str | None:
    """The token that callers must send with auth `bearer`, None with `modal-proxy`. Raises InvalidEndpoint without one."""
    if auth == "modal-proxy":
        return None
    token = environ.get(TOKEN_VARIABLE, "")
    if not token:
        raise InvalidEndpoint(
            f"Auth is bearer, but the secret ryla-secrets holds no {TOKEN_VARIABLE}. Add it with "
            f"`modal secret create ryla-secrets {TOKEN_VARIABLE}=…` and deploy again."
        )
    return token


def load_settings(environ: Mapping[str, str], places: Places, environment: str = "") -> Settings:
    """Settings of the app that this process deploys or runs in.

    In a container RYLA_SETTINGS holds them. When deploying, RYLA_ENDPOINT names an endpoint; without it they are
    those of the generic app, with RYLA_AUTH as its auth. RYLA_ENVIRONMENT, or else `environment`, chooses the
    overrides. Raises InvalidEndpoint.
    """
    if SETTINGS_VARIABLE in environ:
        return Settings.from_json(environ[SETTINGS_VARIABLE])
    environment = environ.get("RYLA_ENVIRONMENT") or environment
    name = environ.get("RYLA_ENDPOINT")
    if name:
        document = read_document(_file_of(name, places.endpoints), places.schema, environment)
        return Settings.from_document(document, environment=environment)
    document = read_document(places.generic, places.schema, environment)
    auth = environ.get("RYLA_AUTH", "modal-proxy")
    if auth not in ("modal-proxy", "bearer"):
        raise InvalidEndpoint(f"RYLA_AUTH must be modal-proxy or bearer, not {auth!r}.")
    document["providers"] = {"modal": {"auth": auth}}
    return Settings.from_document(document, environment=environment, generic=True)


def _file_of(name: str, endpoints: Path) -> Path:
    file = endpoints / name / "endpoint.json"
    if "/" in name or not file.is_file():
        known = sorted(path.parent.name for path in endpoints.glob("*/endpoint.json"))
        raise InvalidEndpoint(f"There is no endpoint {name!r}. There are: {', '.join(known) or 'none'}.")
    return file
