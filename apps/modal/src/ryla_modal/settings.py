"""What a deployment is made of: the generic app's defaults, or an endpoint's endpoint.json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from .core_nodes import CORE_NODE_CLASSES
from .custom_node_classes import CUSTOM_NODE_CLASSES

GENERIC_APP = "ryla-comfyui"
SETTINGS_VARIABLE = "RYLA_SETTINGS"
"""Holds the settings inside containers, where the repository is not."""

TOKEN_VARIABLE = "RYLA_API_TOKEN"  # noqa: S105  (a name)
"""Key of the secret ryla-secrets: the token of auth `bearer`."""

COMFYUI_VERSION = "0.3.64"
RES4LYF = {
    "name": "res4lyf",
    "repository": "https://github.com/ClownsharkBatwing/RES4LYF",
    "commit": "022c873c6d198c67b3312a1804336533a050df18",
}
"""The example of a custom node, in the generic app: its version 1.1.0."""

Auth = Literal["modal-proxy", "bearer"]


class InvalidEndpoint(ValueError):
    """endpoint.json cannot be deployed; the message says what to mend."""


@dataclass(frozen=True)
class Settings:
    """Settings of one Modal app."""

    app: str = GENERIC_APP
    endpoint: str | None = None
    auth: Auth = "modal-proxy"
    comfyui_version: str = COMFYUI_VERSION
    custom_nodes: tuple[Mapping[str, str], ...] = (RES4LYF,)
    models: tuple[Mapping[str, Any], ...] = ()
    """Directory, filename, size and sha256 of what the workflow loads; nothing for the generic app."""
    gpu: tuple[str, ...] = ("L40S", "A100-80GB")
    cpu: float = 4
    memory: int = 16_384
    """MiB."""
    execution_timeout: int = 1800
    """Seconds that one job may run."""
    startup_timeout: int = 600
    min_containers: int = 0
    max_containers: int = 2
    buffer_containers: int = 0
    scaledown_window: int = 60

    @property
    def catalogue_key(self) -> str:
        """Names the set of node classes: equal for equal ComfyUI and custom nodes, so that a worker of an
        earlier deployment with other nodes does not speak for this one."""
        parts = [self.comfyui_version, *sorted(f"{n['repository']}@{n['commit']}" for n in self.custom_nodes)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def known_classes(self) -> frozenset[str] | None:
        """Node classes that this deployment has, as far as they are known without a worker; None when they are not."""
        if self.comfyui_version != COMFYUI_VERSION:
            return None
        known = CORE_NODE_CLASSES
        for node in self.custom_nodes:
            classes = CUSTOM_NODE_CLASSES.get(node["commit"])
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
        document = json.loads(text)
        for name in ("custom_nodes", "models", "gpu"):
            document[name] = tuple(document[name])
        return cls(**document)


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


def load_settings(environ: Mapping[str, str], endpoints: Path, schema: Path) -> Settings:
    """Settings of the app that this process deploys or runs in.

    In a container RYLA_SETTINGS holds them. When deploying, RYLA_ENDPOINT names a folder of `endpoints`;
    without it they are those of the generic app, with RYLA_AUTH as its auth. Raises InvalidEndpoint.
    """
    if SETTINGS_VARIABLE in environ:
        return Settings.from_json(environ[SETTINGS_VARIABLE])
    name = environ.get("RYLA_ENDPOINT")
    if not name:
        auth = environ.get("RYLA_AUTH", "modal-proxy")
        if auth not in ("modal-proxy", "bearer"):
            raise InvalidEndpoint(f"RYLA_AUTH must be modal-proxy or bearer, not {auth!r}.")
        return Settings(auth="bearer" if auth == "bearer" else "modal-proxy")
    return endpoint_settings(name, endpoints, schema)


def endpoint_settings(name: str, endpoints: Path, schema: Path) -> Settings:
    """Settings from endpoints/<name>/endpoint.json, checked with the schema that libs/workflow emits."""
    import jsonschema  # on the deployer's machine only

    file = endpoints / name / "endpoint.json"
    if "/" in name or not file.is_file():
        known = sorted(path.parent.name for path in endpoints.glob("*/endpoint.json"))
        raise InvalidEndpoint(f"There is no endpoint {name!r}. There are: {', '.join(known) or 'none'}.")
    try:
        document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        jsonschema.validate(document, json.loads(schema.read_text(encoding="utf-8")))
    except json.JSONDecodeError as error:
        raise InvalidEndpoint(f"{file} is not JSON: {error}.") from error
    except jsonschema.ValidationError as error:
        raise InvalidEndpoint(f"{file}: {error.json_path}: {error.message}") from error
    scaling, timeouts = document.get("scaling", {}), document.get("timeouts", {})
    defaults = Settings()
    return Settings(
        app=f"ryla-{document['name']}",
        endpoint=document["name"],
        auth=document.get("providers", {}).get("modal", {}).get("auth", defaults.auth),
        comfyui_version=document.get("comfyui", {}).get("version", defaults.comfyui_version),
        custom_nodes=tuple(document.get("customNodes", ())),
        models=tuple(
            {key: model[key] for key in ("directory", "filename", "size", "sha256")}
            for model in document.get("models", ())
        ),
        gpu=tuple(document.get("gpu", ("L4",))),
        cpu=document.get("cpu", 2),
        memory=document.get("memory", 8192),
        execution_timeout=timeouts.get("execution", 600),
        startup_timeout=timeouts.get("startup", 300),
        min_containers=scaling.get("minContainers", 0),
        max_containers=scaling.get("maxContainers", 1),
        buffer_containers=scaling.get("bufferContainers", 0),
        scaledown_window=scaling.get("scaledownWindow", 60),
    )
