"""Refuses a prompt as ComfyUI refuses it: the same error types, messages, details and order."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from .catalogue import Catalogue
from .folders import Folders

Prompt = dict[str, Any]
Problem = dict[str, Any]

LARGEST_SHOWN_LIST = 20
"""Longer lists of choices are not repeated in an error."""

FILE_NODES = {
    "LoadImage": ("image", "input", "Invalid image file: {}"),
    "LoadImageMask": ("image", "input", "Invalid image file: {}"),
    "LoadLatent": ("latent", "input", "Invalid latent file: {}"),
    "LoadAudio": ("audio", "input", "Invalid audio file: {}"),
    "LoadVideo": ("file", "input", "Invalid video file: {}"),
}
"""Nodes that check themselves whether a file is there, instead of by the list of choices."""


@dataclass(frozen=True)
class Verdict:
    """Whether a prompt may run, what its good outputs are, and what is wrong with the others."""

    outputs: list[str]
    error: Problem | None = None
    node_errors: dict[str, Problem] = field(default_factory=dict[str, Problem])


def validate_prompt(
    prompt: Prompt, catalogue: Catalogue, folders: Folders, targets: Collection[str] | None = None
) -> Verdict:
    """Checks a prompt and, like ComfyUI, converts its constant inputs to their types in place.

    `targets` restricts the outputs that are run (partial execution). A prompt or node that is no object
    raises AttributeError or TypeError, which the server answers with status 500, as the real one does.
    """
    outputs: list[str] = []
    for node_id in prompt:
        node: dict[str, Any] = prompt[node_id]
        if "class_type" not in node:
            return _refused("Cannot execute because a node is missing the class_type property.", node_id)
        if node["class_type"] not in catalogue:
            return _refused(f"Cannot execute because node {node['class_type']} does not exist.", node_id)
        if catalogue.is_output(node["class_type"]) and (targets is None or node_id in targets):
            outputs.append(node_id)
    if not outputs:
        return Verdict([], _error("prompt_no_outputs", "Prompt has no outputs", ""))
    return _Validation(prompt, catalogue, folders).run(outputs)


def _error(kind: str, message: str, details: str, **extra_info: Any) -> Problem:
    return {"type": kind, "message": message, "details": details, "extra_info": extra_info}


def _refused(message: str, node_id: str) -> Verdict:
    return Verdict([], _error("invalid_prompt", message, f"Node ID '#{node_id}'"))


class _Validation:
    def __init__(self, prompt: Prompt, catalogue: Catalogue, folders: Folders) -> None:
        self.prompt = prompt
        self.catalogue = catalogue
        self.folders = folders
        self.results: dict[str, tuple[bool, list[Problem]]] = {}
        self.in_progress: set[str] = set()

    def run(self, outputs: list[str]) -> Verdict:
        good: list[str] = []
        failures: list[Problem] = []
        node_errors: dict[str, Problem] = {}
        for output in outputs:
            valid, reasons = self._output(output)
            if valid:
                good.append(output)
                continue
            failures += reasons
            for node_id, (node_valid, problems) in self.results.items():
                if not node_valid and problems:
                    entry = node_errors.setdefault(
                        node_id,
                        {
                            "errors": problems,
                            "dependent_outputs": [],
                            "class_type": self.prompt[node_id]["class_type"],
                        },
                    )
                    entry["dependent_outputs"].append(output)
        if good:
            return Verdict(good, None, node_errors)
        details = "\n".join(f"{problem['message']}: {problem['details']}" for problem in failures)
        message = "Prompt outputs failed validation"
        return Verdict([], _error("prompt_outputs_failed_validation", message, details), node_errors)

    def _output(self, output: str) -> tuple[bool, list[Problem]]:
        try:
            return self._node(output)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            problem = _error(
                "exception_during_validation",
                "Exception when validating node",
                str(error),
                exception_type=type(error).__name__,
                traceback=[],
            )
            self.results[output] = (False, [problem])
            return self.results[output]

    def _node(self, node_id: str) -> tuple[bool, list[Problem]]:
        if node_id in self.results:
            return self.results[node_id]
        if node_id in self.in_progress:
            # The real one exhausts its stack on a cycle and ends with no reason left.
            return (False, [])
        self.in_progress.add(node_id)
        try:
            result = self._inputs(node_id)
        finally:
            self.in_progress.discard(node_id)
        self.results[node_id] = result
        return result

    def _inputs(self, node_id: str) -> tuple[bool, list[Problem]]:
        node = self.prompt[node_id]
        given: dict[str, Any] = node["inputs"]
        class_type: str = node["class_type"]
        problems: list[Problem] = []
        valid = True
        for category, specs in self.catalogue.inputs(class_type).items():
            for name, spec in specs.items():
                if name not in given:
                    if category == "required":
                        problems.append(
                            _error(
                                "required_input_missing", "Required input is missing", name, input_name=name
                            )
                        )
                    continue
                if isinstance(given[name], list):
                    linked, problem = self._link(name, given[name], spec)
                    valid = valid and linked
                else:
                    problem = self._constant(class_type, given, name, spec)
                if problem is not None:
                    problems.append(problem)
        problems += self._file(class_type, given)
        return (valid and not problems, problems)

    def _link(self, name: str, link: list[Any], spec: list[Any]) -> tuple[bool, Problem | None]:
        if len(link) != 2:
            message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
            return True, _error("bad_linked_input", message, name, **_about(name, spec), received_value=link)
        source: str = link[0]
        received = self.catalogue.static(self.prompt[source]["class_type"])["output"][link[1]]
        if not _types_meet(received, spec[0]):
            details = f"{name}, received_type({received}) mismatch input_type({spec[0]})"
            message = "Return type mismatch between linked nodes"
            return True, _error(
                "return_type_mismatch",
                message,
                details,
                **_about(name, spec),
                received_type=received,
                linked_node=link,
            )
        try:
            return self._node(source)[0], None
        except (KeyError, IndexError, TypeError, ValueError) as error:
            problem = _error(
                "exception_during_inner_validation",
                "Exception when validating inner node",
                str(error),
                **_about(name, spec),
                exception_message=str(error),
                exception_type=type(error).__name__,
                traceback=[],
                linked_node=link,
            )
            self.results[source] = (False, [problem])
            return False, None

    def _constant(self, class_type: str, given: dict[str, Any], name: str, spec: list[Any]) -> Problem | None:
        value = given[name]
        if isinstance(value, dict) and "__value__" in value:
            value = given[name] = value["__value__"]  # pyright: ignore
        try:
            value = given[name] = _converted(value, spec[0])
        except (TypeError, ValueError, OverflowError) as error:
            message = f"Failed to convert an input value to a {spec[0]} value"
            details = f"{name}, {value}, {error}"
            return _error(
                "invalid_input_type",
                message,
                details,
                **_about(name, spec),
                received_value=value,
                exception_message=str(error),
            )
        if class_type in FILE_NODES and FILE_NODES[class_type][0] == name:
            return None
        options: dict[str, Any] = spec[1] if len(spec) > 1 else {}
        if "min" in options and value < options["min"]:
            message = f"Value {value} smaller than min of {options['min']}"
            return _error("value_smaller_than_min", message, name, **_about(name, spec), received_value=value)
        if "max" in options and value > options["max"]:
            message = f"Value {value} bigger than max of {options['max']}"
            return _error("value_bigger_than_max", message, name, **_about(name, spec), received_value=value)
        if isinstance(spec[0], list) and value not in spec[0]:
            return _not_in_list(name, value, spec)
        return None

    def _file(self, class_type: str, given: dict[str, Any]) -> list[Problem]:
        if class_type not in FILE_NODES:
            return []
        name, kind, text = FILE_NODES[class_type]
        value = given.get(name)
        if not isinstance(value, str) or self.folders.annotated(value, kind).exists():
            return []
        details = f"{name} - {text.format(value)}"
        message = "Custom validation failed for node"
        return [_error("custom_validation_failed", message, details, input_name=name)]


def _about(name: str, spec: list[Any]) -> dict[str, Any]:
    return {"input_name": name, "input_config": [spec[0], spec[1] if len(spec) > 1 else {}]}


def _not_in_list(name: str, value: Any, spec: list[Any]) -> Problem:
    choices: list[Any] = spec[0]
    about = _about(name, spec)
    if len(choices) > LARGEST_SHOWN_LIST:
        about["input_config"] = None
        shown = f"(list of length {len(choices)})"
    else:
        shown = str(choices)
    details = f"{name}: '{value}' not in {shown}"
    return _error("value_not_in_list", "Value not in list", details, **about, received_value=value)


def _converted(value: Any, kind: Any) -> Any:
    match kind:
        case "INT":
            return int(value)
        case "FLOAT":
            return float(value)
        case "STRING":
            return str(value)
        case "BOOLEAN":
            return bool(value)
        case _:
            return value


def _types_meet(received: Any, wanted: Any) -> bool:
    if received == wanted or received == "*" or wanted == "*":
        return True
    if not isinstance(received, str) or not isinstance(wanted, str):
        return False
    return not {part.strip() for part in received.split(",")}.isdisjoint(
        part.strip() for part in wanted.split(",")
    )
