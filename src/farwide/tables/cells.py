"""One cell: a finite number, positive where it must be, or the reason why it is none."""

from __future__ import annotations

import math
import re
from typing import Any

from farwide.runlog.files import json_type
from farwide.runlog.record import shown

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)


def text_number(name: str, cell: str, *, positive: bool = True) -> float:
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
    return _checked(name, float(text), text, positive)


def json_number(name: str, value: Any, *, positive: bool = True) -> float:
    """The number that a JSON value is; ValueError says why it cannot be used."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        found = json_type(value)
        raise ValueError(f"{name} is {found if value is None else f'{found}, {shown(value)}'}, "
                         "not a number")  # fmt: skip
    if isinstance(value, float) and not math.isfinite(value):
        written = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        raise ValueError(f"{name} is {written}, which is not a finite number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if math.isfinite(number) and (number > 0 or not positive):
        return number
    return _checked(name, number, shown(value), positive)


def text_label(name: str, cell: Any) -> str:
    """A run's name: a text that is not blank, or a whole number."""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)  # as Parquet has whole numbers beside a null
    if isinstance(cell, int) and not isinstance(cell, bool):
        return shown(cell)
    if not isinstance(cell, str):
        raise ValueError(f"{name} is {json_type(cell)}, not a text")
    if not cell.strip():
        raise ValueError(f"{name} is empty")
    return cell.strip()


def lenient_number(value: Any) -> float | None:
    """A number as it is written, NaN and infinities too; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    text = value.strip() if isinstance(value, str) else ""
    return float(text) if _NUMBER.fullmatch(text) or _NOT_FINITE.fullmatch(text) else None


def _checked(name: str, number: float, written: str, positive: bool) -> float:
    if not math.isfinite(number):
        raise ValueError(f"{name} is {shortened(written)}, too large for a 64-bit float")
    if not positive:
        return number
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
    """A text as a message shows it, on one line."""
    text = " ".join(text.split()) if "\n" in text or "\r" in text else text
    return text if len(text) <= length else text[: length - 3] + "..."
