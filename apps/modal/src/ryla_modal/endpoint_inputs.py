"""An endpoint's typed inputs, applied to its workflow on the server: what applyInputs of libs/workflow does."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .api_error import ApiError

FILE_TYPES = ("image", "mask", "video", "audio")
FOLDER = "endpoint"
"""Below the container's home: where the gateway's image holds the files of the endpoint's folder."""


@dataclass(frozen=True)
class Endpoint:
    """What endpoint.json says, and the workflow beside it."""

    document: Mapping[str, Any]
    workflow: Mapping[str, Any]
    folder: Path

    @classmethod
    def load(cls, folder: Path) -> Endpoint | None:
        """The endpoint of a folder; None when it holds none."""
        file = folder / "endpoint.json"
        if not file.is_file():
            return None
        document = json.loads(file.read_text(encoding="utf-8"))
        workflow = json.loads(
            (folder / document.get("workflow", "workflow.json")).read_text(encoding="utf-8")
        )
        return cls(document, workflow, folder)

    @property
    def name(self) -> str:
        """Its name."""
        return self.document["name"]

    @property
    def inputs(self) -> Mapping[str, Any]:
        """Its inputs by name."""
        return self.document.get("inputs", {})

    def files(self) -> list[str]:
        """Files of the folder that the server needs: the two documents, and the inputs' default files."""
        defaults = [
            value["default"]
            for value in self.inputs.values()
            if value["type"] in FILE_TYPES and "default" in value
        ]
        return ["endpoint.json", self.document.get("workflow", "workflow.json"), *defaults]

    def apply(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Path]]:
        """The workflow with its inputs set, and the default files it needs by their staged names.

        A file is given as a `core/ASSET` reference. Raises ApiError 422: `unknown_input`, `missing_input` or
        `invalid_input`, with the input's name in the details.
        """
        for name in values:
            if name not in self.inputs:
                known = ", ".join(self.inputs) or "none"
                text = f'Endpoint {self.name} has no input "{name[:60]}". It has: {known}.'
                raise ApiError(422, "unknown_input", text, {"input": name[:60]})
        workflow = {node: {**value, "inputs": dict(value["inputs"])} for node, value in self.workflow.items()}
        files: dict[str, Path] = {}
        for name, declared in self.inputs.items():
            given = values.get(name)
            value = declared.get("default") if given is None else given
            if value is None:
                if declared.get("required"):
                    text = f'Endpoint {self.name} needs the input "{name}".'
                    raise ApiError(422, "missing_input", text, {"input": name})
                continue
            if declared["type"] in FILE_TYPES:
                value = (
                    self._file(name, value, files) if given is None else self._asset(name, declared, value)
                )
            else:
                value = self._checked(name, declared, value)
            for target in (declared, *declared.get("also", ())):
                if target["node"] not in workflow:
                    raise ValueError(f"endpoint {self.name}: input {name} is for node {target['node']}")
                workflow[target["node"]]["inputs"][target["field"]] = value
        return workflow, files

    def _file(self, name: str, default: str, files: dict[str, Path]) -> str:
        extension = re.search(r"\.[A-Za-z0-9]{1,8}$", default)
        staged = name + (extension.group().lower() if extension else "")
        files[staged] = self.folder / default
        return staged

    def _asset(self, name: str, declared: Mapping[str, Any], value: Any) -> Any:
        if isinstance(value, dict) and value.get("__type") == "core/ASSET":
            return value
        raise self._invalid(name, declared, "a core/ASSET reference to an uploaded file", value)

    def _checked(self, name: str, declared: Mapping[str, Any], value: Any) -> Any:
        kind, expected = declared["type"], None
        if kind in ("string", "text"):
            if not isinstance(value, str):
                expected = "a text"
            elif "maxLength" in declared and len(value.encode("utf-16-le")) // 2 > declared["maxLength"]:
                expected = f"at most {declared['maxLength']} characters long"
        elif kind in ("integer", "number"):
            expected = _number_problem(kind, declared, value)
            if expected is None and kind == "integer":
                value = int(value)
        elif kind == "boolean":
            expected = None if isinstance(value, bool) else "true or false"
        elif kind == "enum" and (not isinstance(value, str) or value not in declared["values"]):
            expected = f"one of {', '.join(declared['values'])}"
        if expected is not None:
            raise self._invalid(name, declared, expected, value)
        return value

    def _invalid(self, name: str, declared: Mapping[str, Any], expected: str, value: Any) -> ApiError:
        text = f'Input "{name}" of endpoint {self.name} must be {expected}, not {_shown(value)}.'
        return ApiError(422, "invalid_input", text, {"input": name, "node_id": declared["node"]})

    def input_schema(self) -> dict[str, Any]:
        """The inputs as JSON Schema, for our OpenAPI document."""
        properties = {name: _property(declared) for name, declared in self.inputs.items()}
        required = [
            name
            for name, value in self.inputs.items()
            if value.get("required") and value.get("default") is None
        ]
        schema: dict[str, Any] = {
            "type": "object",
            "properties": properties,
            "additionalProperties": False,
        }
        return {**schema, "required": required} if required else schema


def _number_problem(kind: str, declared: Mapping[str, Any], value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return "a number"
    if kind == "integer" and value != int(value):
        return "a whole number"
    if "minimum" in declared and value < declared["minimum"]:
        return f"at least {declared['minimum']}"
    if "maximum" in declared and value > declared["maximum"]:
        return f"at most {declared['maximum']}"
    return None


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a file"
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return f"{text[:57]}…" if len(text) > 60 else text


def _property(declared: Mapping[str, Any]) -> dict[str, Any]:
    kind = declared["type"]
    texts = {name: declared[name] for name in ("title", "description") if declared.get(name)}
    if kind in FILE_TYPES:
        return {**texts, "allOf": [{"$ref": "#/components/schemas/AssetReference"}], "nullable": True}
    names = {"string": "string", "text": "string", "enum": "string"}
    schema: dict[str, Any] = {"type": names.get(kind, kind), "nullable": True, **texts}
    if kind == "enum":
        schema["enum"] = [*declared["values"], None]
    for limit in ("minimum", "maximum", "maxLength", "default"):
        if limit in declared:
            schema[limit] = declared[limit]
    return schema
