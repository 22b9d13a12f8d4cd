"""One cell: a positive finite number, or the reason why it is none."""

from __future__ import annotations

import math
import re
from typing import Any

from farwide.runlog.files import json_type
from farwide.runlog.record import shown

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)


def text_number(name: str, cell: str) -> float:
    """The number that a CSV cell holds; ValueError says why it cannot be used."""
    text = cell.strip()
    if not text:
        raise ValueError(f"{name} is empty")
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"{name} is {text}; expected a finite number")
    if _DECIMAL_COMMA.fullmatch(text):
        raise ValueError(f"{name} is {text!r}: a comma for a decimal point? Write a point")
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{name} is {shown(text)}, not a number")
    return _positive(name, float(text), text)


def json_number(name: str, value: Any) -> float:
    """The number that a JSON value is; ValueError says why it cannot be used."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        found = json_type(value)
        raise ValueError(f"{name} is {found if value is None else f'{found}, {shown(value)}'}, "
                         "not a number")  # fmt: skip
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    return _positive(name, number, shown(value))


def text_label(name: str, cell: Any) -> str:
    """A run's name: a text that is not blank, or a whole number."""
    if isinstance(cell, int) and not isinstance(cell, bool):
        return shown(cell)
    if not isinstance(cell, str):
        raise ValueError(f"{name} is {json_type(cell)}, not a text")
    if not cell.strip():
        raise ValueError(f"{name} is empty")
    return cell.strip()


def _positive(name: str, number: float, written: str) -> float:
    if not math.isfinite(number):
        raise ValueError(f"{name} is {shortened(written)}, too large for a 64-bit float")
    if number == 0 and name.startswith("weight") and not _has_digit(written):
        return number  # a row that does not count
    if number <= 0:
        reason = "too small for a 64-bit float" if _has_digit(written) else "it must be positive"
        raise ValueError(f"{name} is {shortened(written)}; {reason}")
    return number


def _has_digit(written: str) -> bool:
    """Whether a number that reads as zero or less is written as a positive one."""
    mantissa = re.split("[eE]", written)[0]
    return not written.startswith("-") and any(digit in mantissa for digit in "123456789")


def shortened(text: str, length: int = 40) -> str:
    """A text as a message shows it."""
    return text if len(text) <= length else text[: length - 3] + "..."
