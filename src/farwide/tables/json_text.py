"""Rows of JSON: one object a line, an array of objects, or one object.

Nested values have dotted names. NaN and Infinity, which Python writes and JSON has no word for, are
read as what they are: they are refused where a cell that holds one is used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from farwide.runlog import LogError
from farwide.runlog.files import json_type
from farwide.tables.source import ABSENT
from farwide.tables.table import error_at

LINE_SUFFIXES = (".jsonl", ".ndjson")
Place = int | str
_SPACE = re.compile(r"[ \t\r\n]*")


def read_json_rows(
    text: str, path: Path, suffix: str, reject: Callable[[LogError], None]
) -> list[tuple[Place, dict[str, Any]]]:
    """The objects of a file as (line, object); what is no object goes to `reject`.

    Line by line for .jsonl and .ndjson. Under any other name, a file that starts with "[" is one
    array, and one whose first line is a whole object with others to follow is JSON Lines.
    """
    if suffix not in LINE_SUFFIXES:
        start = text.lstrip()
        if start.startswith("["):
            return _array(text, path, reject)
        head, _, rest = start.partition("\n")
        if not (head.rstrip().endswith("}") and rest.strip()) and suffix == ".json":
            return _single(text, path)
    return _lines(text, path, reject)


def _lines(
    text: str, path: Path, reject: Callable[[LogError], None]
) -> list[tuple[Place, dict[str, Any]]]:
    """A last line without its line end is used when it is a whole object: a cut one never is."""
    rows: list[tuple[Place, dict[str, Any]]] = []
    decode = _decoder().decode
    lines = text.split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    for number, line in enumerate(lines, start=1):
        try:
            if not line.strip():
                raise LogError(path, "blank line between rows", line=number)
            rows.append((number, _object(_guarded(decode, line, path, number), path, number)))
        except LogError as error:
            reject(_with_hint(error, number, len(lines), text))
    return rows


def _array(
    text: str, path: Path, reject: Callable[[LogError], None]
) -> list[tuple[Place, dict[str, Any]]]:
    """The items of an array, each with the line that it starts on."""
    decoder = _decoder()
    rows: list[tuple[Place, dict[str, Any]]] = []
    at = _skip(text, text.index("[") + 1)
    line, counted, item = 1, 0, 0
    while not text.startswith("]", at):
        item += 1
        line, counted = line + text.count("\n", counted, at), at
        place = line if not rows or rows[-1][0] != line else f"line {line}, item {item}"
        try:
            obj, at = _guarded(lambda start: decoder.raw_decode(text, start), at, path, line)
        except LogError as error:
            reject(LogError(path, f"{error.reason}; the rest is not read", line=error.line))
            return rows
        try:
            rows.append((place, _object(obj, path, place)))
        except LogError as error:
            reject(error)
        at = _skip(text, at)
        more = text.startswith(",", at)
        if not more and not text.startswith("]", at):
            line += text.count("\n", counted, at)
            reason = (
                "the array is cut short" if at >= len(text) else "expected , or ] after an item"
            )
            reject(LogError(path, f"invalid JSON: {reason}; the rest is not read", line=line))
            return rows
        at = _skip(text, at + more)
    if text[at + 1 :].strip():
        line += text.count("\n", counted, _skip(text, at + 1))
        reason = "invalid JSON: text after the end of the array, which is not read"
        reject(LogError(path, reason, line=line))
    return rows


def _single(text: str, path: Path) -> list[tuple[Place, dict[str, Any]]]:
    return [(1, _object(_guarded(_decoder().decode, text, path, None), path, 1))]


def _guarded(decode: Callable[[Any], Any], argument: Any, path: Path, line: int | None) -> Any:
    """What `decode` makes of a text or a position; its errors as LogError."""
    try:
        return decode(argument)
    except json.JSONDecodeError as error:
        at = error.lineno if line is None or not isinstance(argument, str) else line
        reason = f"invalid JSON: {error.msg} at column {error.colno}"
        raise LogError(path, reason, line=at) from None
    except ValueError as error:
        raise LogError(path, str(error), line=line or 1) from None
    except RecursionError:
        raise LogError(path, "invalid JSON: nested too deeply", line=line or 1) from None


def _decoder() -> json.JSONDecoder:
    def refuse_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        obj: dict[str, Any] = {}
        for key, value in pairs:
            if key in obj:
                raise ValueError(f"has the key {key[:60]!r} twice")
            obj[key] = value
        return obj

    return json.JSONDecoder(object_pairs_hook=refuse_repeats)


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()


def _object(obj: Any, path: Path, place: Place) -> dict[str, Any]:
    if not isinstance(obj, dict):
        raise error_at(path, place, f"expected a JSON object, found {json_type(obj)}")
    return obj


def lookup(obj: Mapping[str, Any], name: str) -> Any:
    """The value under a name, or under its dotted parts one below the other; else `ABSENT`.

    A value that Weights & Biases wraps as {"value": ..., "desc": ...} is taken out.
    """
    return unwrapped(_lookup(obj, name))


def _lookup(obj: Mapping[str, Any], name: str) -> Any:
    if name in obj:
        return obj[name]
    head, dot, rest = name.partition(".")
    while dot:
        if isinstance(inner := obj.get(head), dict):
            found = _lookup(inner, rest)
            if found is not ABSENT:
                return found
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"
    return ABSENT


def unwrapped(value: Any) -> Any:
    """A value, or what a config of Weights & Biases wraps as {"value": ..., "desc": ...}."""
    if isinstance(value, dict) and "value" in value and value.keys() <= {"value", "desc"}:
        return value["value"]
    return value


def dotted_names(obj: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted names of all values that are no objects, and of the items of a history."""
    stack = [(prefix, obj)]
    while stack:
        before, mapping = stack.pop()
        inner = []
        for key, wrapped in mapping.items():
            value = unwrapped(wrapped)
            name = f"{before}{key}"
            if isinstance(value, dict):
                inner.append((f"{name}.", value))
            elif is_history(key, value) and not before:
                inner.extend((f"{name}.", item) for item in value if isinstance(item, dict))
            else:
                yield name
        stack.extend(reversed(inner))


def is_history(key: str, value: Any) -> bool:
    """Whether a value is the curve of a run: a list of objects under the name "history"."""
    return key == HISTORY and isinstance(value, list) and any(isinstance(i, dict) for i in value)


HISTORY = "history"


def _with_hint(error: LogError, number: int, last: int, text: str) -> LogError:
    if number == last and not text.endswith("\n") and error.reason.startswith("invalid JSON"):
        return LogError(error.path, f"{error.reason}; the last line is cut short", line=number)
    return error
