"""Primitive, text and preview nodes, for real."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from .images import one
from .registry import Context, NodeError, Result, node


@node("PrimitiveInt", "PrimitiveFloat", "PrimitiveBoolean", "PrimitiveString", "PrimitiveStringMultiline")
def primitive(_: Context, *, value: Any) -> Result:
    return one(value)


@node("PreviewAny")
def preview_any(_: Context, *, source: Any = None) -> Result:
    return Result(ui={"text": [_shown(source)]})


def _shown(source: Any) -> str:
    if isinstance(source, str):
        return source
    if source is None:
        return "None"
    if isinstance(source, int | float | bool):
        return str(source)
    try:
        return json.dumps(source)
    except (TypeError, ValueError):
        if isinstance(source, np.ndarray):
            return np.array2string(source, prefix="tensor(", precision=4, separator=", ")
        return str(source)


@node("StringConcatenate")
def concatenate(_: Context, *, string_a: str, string_b: str, delimiter: str = "") -> Result:
    return one(delimiter.join((string_a, string_b)))


@node("StringSubstring")
def substring(_: Context, *, string: str, start: int, end: int) -> Result:
    return one(string[start:end])


@node("StringLength")
def length(_: Context, *, string: str) -> Result:
    return one(len(string))


@node("CaseConverter")
def case(_: Context, *, string: str, mode: str) -> Result:
    change = {
        "UPPERCASE": str.upper,
        "lowercase": str.lower,
        "Capitalize": str.capitalize,
        "Title Case": str.title,
    }
    return one(change[mode](string) if mode in change else string)


@node("StringTrim")
def trim(_: Context, *, string: str, mode: str) -> Result:
    change = {"Both": str.strip, "Left": str.lstrip, "Right": str.rstrip}
    return one(change[mode](string) if mode in change else string)


@node("StringReplace")
def replace(_: Context, *, string: str, find: str, replace: str) -> Result:
    return one(string.replace(find, replace))


@node("StringContains")
def contains(_: Context, *, string: str, substring: str, case_sensitive: bool) -> Result:
    return one(substring in string if case_sensitive else substring.lower() in string.lower())


@node("StringCompare")
def compare(_: Context, *, string_a: str, string_b: str, mode: str, case_sensitive: bool) -> Result:
    a, b = (string_a, string_b) if case_sensitive else (string_a.lower(), string_b.lower())
    match mode:
        case "Equal":
            return one(a == b)
        case "Starts With":
            return one(a.startswith(b))
        case "Ends With":
            return one(a.endswith(b))
        case _:
            raise NodeError(f"unknown mode {mode}", "ValueError")


def _flags(case_insensitive: bool, multiline: bool, dotall: bool) -> re.RegexFlag:
    flags = re.RegexFlag(0)
    for wanted, flag in ((case_insensitive, re.IGNORECASE), (multiline, re.MULTILINE), (dotall, re.DOTALL)):
        flags |= flag if wanted else re.RegexFlag(0)
    return flags


@node("RegexMatch")
def regex_match(
    _: Context, *, string: str, regex_pattern: str, case_insensitive: bool, multiline: bool, dotall: bool
) -> Result:
    try:
        return one(re.search(regex_pattern, string, _flags(case_insensitive, multiline, dotall)) is not None)
    except re.error:
        return one(False)


@node("RegexReplace")
def regex_replace(
    _: Context,
    *,
    string: str,
    regex_pattern: str,
    replace: str,
    case_insensitive: bool = True,
    multiline: bool = False,
    dotall: bool = False,
    count: int = 0,
) -> Result:
    return one(
        re.sub(regex_pattern, replace, string, count=count, flags=_flags(case_insensitive, multiline, dotall))
    )


@node("RegexExtract")
def regex_extract(
    _: Context,
    *,
    string: str,
    regex_pattern: str,
    mode: str,
    case_insensitive: bool,
    multiline: bool,
    dotall: bool,
    group_index: int,
) -> Result:
    try:
        pattern = re.compile(regex_pattern, _flags(case_insensitive, multiline, dotall))
    except re.error:
        return one("")
    first = pattern.search(string)
    match mode:
        case "First Match":
            return one(first.group(0) if first else "")
        case "All Matches":
            return one(
                "\n".join(
                    found.group(0) if not pattern.groups else found.group(1)
                    for found in pattern.finditer(string)
                )
            )
        case "First Group":
            return one(first.group(group_index) if first and pattern.groups >= group_index else "")
        case _:
            groups = [
                found.group(group_index)
                for found in pattern.finditer(string)
                if pattern.groups >= group_index
            ]
            return one("\n".join(group for group in groups if group))
