"""One line of metrics.jsonl."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from farwide.runlog.errors import LogError
from farwide.runlog.files import json_type, parse_json, to_json

SCHEMA = 1
"""The version of every file in a run folder."""


class Record(NamedTuple):
    """The state of a run after `step` updates. Losses are in nats per target, such as a byte.

    A loss that is not finite (the run diverged) is written as null: `train_loss` reads back as
    nan, `validation_loss` as None, which is also its value where nothing was evaluated. A metric
    that is not finite is written as null, too, and reads back as nan. A line without metrics has no
    such field, as those of earlier versions have not.
    """

    run: str
    step: int  # updates so far
    tokens: int  # training tokens so far
    params_total: int
    params_non_embedding: int
    flops: float  # training FLOPs so far, by the model's own count
    train_loss: float  # mean since the previous record
    validation_loss: float | None
    wall_seconds: float  # training time so far, summed over restarts
    learning_rate: float  # of the last update
    metrics: Mapping[str, float] | None = None  # anything else that was measured, by name

    def to_json(self) -> str:
        """The record as one line of JSON, without its line end."""
        fields = {"schema": SCHEMA, **self._asdict()}
        if not self.metrics:
            del fields["metrics"]
        return to_json(fields)

    @classmethod
    def parse(cls, text: str, path: str | Path = "metrics.jsonl", line: int = 1) -> Record:
        """The record that a line holds; LogError with `path` and `line` for any other content."""
        path = Path(path)
        obj = parse_json(text, path, line)

        def refuse(reason: str) -> LogError:
            return LogError(path, reason, line=line)

        if not isinstance(obj, dict):
            raise refuse(f"expected a JSON object, found {json_type(obj)}")
        if obj.get("schema") != SCHEMA or isinstance(obj.get("schema"), bool):
            raise refuse(f"schema is {shown(obj.get('schema'))}; this version reads {SCHEMA}")
        if missing := [name for name in REQUIRED if name not in obj]:
            raise refuse(f"missing {', '.join(missing)}")
        if unknown := sorted(set(obj) - {"schema", *cls._fields}):
            raise refuse(f"unknown field {', '.join(unknown)}")
        try:
            return cls(
                run=_text(obj, "run"),
                step=_count(obj, "step"),
                tokens=_count(obj, "tokens"),
                params_total=_count(obj, "params_total", least=1),
                params_non_embedding=_count(obj, "params_non_embedding", least=1),
                flops=_amount(obj, "flops"),
                train_loss=math.nan if obj["train_loss"] is None else _number(obj, "train_loss"),
                validation_loss=None
                if obj["validation_loss"] is None
                else _number(obj, "validation_loss"),
                wall_seconds=_amount(obj, "wall_seconds"),
                learning_rate=_amount(obj, "learning_rate"),
                metrics=_metrics(obj),
            )
        except ValueError as error:
            raise refuse(str(error)) from None


REQUIRED = tuple(name for name in Record._fields if name not in Record._field_defaults)
"""The fields that every line has."""


def _metrics(obj: dict[str, Any]) -> dict[str, float] | None:
    found = obj.get("metrics")
    if "metrics" not in obj:
        return None
    if not isinstance(found, dict):
        raise ValueError(f"metrics is {shown(found)}; expected an object of numbers")
    try:
        return {
            _text({"a name": name}, "a name"): math.nan if number is None else _number(found, name)
            for name, number in found.items()
        }
    except ValueError as error:
        raise ValueError(f"in metrics, {error}") from None


def _text(obj: dict[str, Any], name: str) -> str:
    value = obj[name]
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} is {shown(value)}; expected a text")
    return value


def _number(obj: dict[str, Any], name: str) -> float:
    value = obj[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is {shown(value)}; expected a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name} is {shown(value)}; expected a finite number")
    return number


def _amount(obj: dict[str, Any], name: str) -> float:
    value = _number(obj, name)
    if value < 0:
        raise ValueError(f"{name} is {value!r}; expected no less than 0")
    return value


def _count(obj: dict[str, Any], name: str, least: int = 0) -> int:
    value = _number(obj, name)
    if value != int(value) or value < least:
        raise ValueError(f"{name} is {shown(obj[name])}; expected a whole number from {least}")
    return int(obj[name])


def shown(value: Any, length: int = 40) -> str:
    """A value as a message shows it: its JSON, cut to `length` characters."""
    if isinstance(value, int) and value.bit_length() > 4 * length:
        return f"an integer of {value.bit_length()} bits"
    text = to_json(value)
    return text if len(text) <= length else text[: length - 3] + "..."
