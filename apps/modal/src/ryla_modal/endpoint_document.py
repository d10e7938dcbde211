"""endpoint.json as a deployment reads it: checked with the schema of libs/workflow, with one environment's overrides."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


class InvalidEndpoint(ValueError):
    """endpoint.json cannot be deployed; the message says what to mend."""


def read_document(file: Path, schema: Path, environment: str) -> dict[str, Any]:
    """An endpoint.json as it is in a Modal environment. Raises InvalidEndpoint with every problem and its place."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        rules = json.loads(schema.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InvalidEndpoint(f"{file} is not JSON: {error}.") from error
    problems = list(_schema_problems(document, rules))
    if not problems:
        problems = [f"{path}: {message}" for path, message in _all_problems(document)]
    if problems:
        listed = "\n  ".join(problems)
        raise InvalidEndpoint(f"{file} cannot be deployed:\n  {listed}")
    return in_environment(document, environment)


def in_environment(document: Mapping[str, Any], environment: str) -> dict[str, Any]:
    """The document with what `environments` says of one: objects are merged, all else replaced."""
    base = {key: value for key, value in document.items() if key != "environments"}
    return _merged(base, document.get("environments", {}).get(environment, {}))


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        inner = base.get(key)
        both = isinstance(value, dict) and isinstance(inner, dict)
        merged[key] = _merged(inner, value) if both else value  # pyright: ignore
    return merged


def _schema_problems(document: Any, rules: Mapping[str, Any]) -> Iterator[str]:
    import jsonschema  # on the deployer's machine only

    validator = jsonschema.Draft202012Validator(rules)
    for error in sorted(validator.iter_errors(document), key=lambda error: error.json_path):  # pyright: ignore
        for nearest in _nearest(error):
            yield f"{nearest.json_path.removeprefix('$.')}: {_message(nearest)}"


def _nearest(error: Any) -> list[Any]:
    """Of several forms that a value may have, the problems of the one that was meant: the one with fewest."""
    if error.validator != "anyOf":
        return [error]
    forms: dict[int, list[Any]] = {}
    for inner in error.context:
        forms.setdefault(inner.schema_path[0], []).append(inner)
    return min(forms.values(), key=len)


def _message(error: Any) -> str:
    rule: Mapping[str, Any] = error.schema
    if error.validator in ("minimum", "maximum") and "minimum" in rule and "maximum" in rule:
        unit = rule.get("description", "")
        return f"{error.instance} is out of range; Modal takes {rule['minimum']} to {rule['maximum']} {unit}"
    return error.message


def _all_problems(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    own = list(_problems(document))
    yield from own
    for name in document.get("environments", {}):
        for problem in _problems(in_environment(document, name)):
            if problem not in own:
                yield f"environments.{name}.{problem[0]}", problem[1]


def _problems(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What the schema cannot say; the same as `deploymentProblems` of libs/workflow."""
    scaling = document.get("scaling", {})
    if scaling.get("minContainers", 0) > scaling.get("maxContainers", 1):
        yield "scaling.minContainers", "minContainers must not be above maxContainers"
    for kind, key in (("volumes", "mountPath"), ("customNodes", "name")):
        values = [entry[key] for entry in document.get(kind, ())]
        for index, value in enumerate(values):
            if value in values[:index]:
                yield f"{kind}.{index}.{key}", f"{value} is there twice"
