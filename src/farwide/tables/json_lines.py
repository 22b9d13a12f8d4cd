"""Rows of a JSON Lines file: one object a line, nested values by dotted names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from farwide.runlog import LogError
from farwide.runlog.files import json_type, parse_json

_ABSENT = object()


def read_json_lines(
    text: str, path: Path, reject: Callable[[LogError], None]
) -> list[tuple[int, dict[str, Any]]]:
    """The objects of a file as (line, object). Lines that are no object go to `reject`.

    A last line without its line end is used when it is a whole object: a cut one never is.
    """
    rows = []
    lines = text.split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    for number, line in enumerate(lines, start=1):
        try:
            if not line.strip():
                raise LogError(path, "blank line between rows", line=number)
            obj = parse_json(line, path, number)
            if not isinstance(obj, dict):
                found = json_type(obj)
                raise LogError(path, f"expected a JSON object, found {found}", line=number)
        except LogError as error:
            reject(_with_hint(error, number, len(lines), text))
            continue
        rows.append((number, obj))
    return rows


def lookup(obj: Mapping[str, Any], name: str) -> Any:
    """The value under a name, or under its dotted parts one below the other; else `absent`."""
    if name in obj:
        return obj[name]
    head, dot, rest = name.partition(".")
    while dot:
        if isinstance(inner := obj.get(head), Mapping):
            found = lookup(inner, rest)
            if found is not _ABSENT:
                return found
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"
    return _ABSENT


def absent(value: Any) -> bool:
    """Whether `lookup` found nothing (null is something)."""
    return value is _ABSENT


def dotted_names(obj: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted names of all values that are no objects."""
    for key, value in obj.items():
        if isinstance(value, Mapping):
            yield from dotted_names(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def _with_hint(error: LogError, number: int, last: int, text: str) -> LogError:
    if number == last and not text.endswith("\n") and error.reason.startswith("invalid JSON"):
        return LogError(error.path, f"{error.reason}; the last line is cut short", line=number)
    return error
