"""Conditions on rows: NAME=VALUE, NAME!=VALUE, NAME>=VALUE and the like.

    dataset=c4_original      state=finished,running     val_loss!=      step>=0.1*max_steps

The left side is a name of ours, a column of the file or a formula. On the right of = and != stands
a text, or several apart by commas, or nothing: `val_loss=` holds where the cell is empty, null or
not there. On the right of < <= > >= stands a number or a formula.
"""

from __future__ import annotations

import math
import operator
import re
from typing import NamedTuple

from farwide.runlog.record import shown
from farwide.tables.cells import lenient_number
from farwide.tables.formula import parse_formula
from farwide.tables.mapping import STEP, Columns, MissingCell
from farwide.tables.source import Row, missing

_ORDER = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
_SPLIT = re.compile(r"(.+?)(>=|<=|!=|==|=|>|<)(.*)", re.DOTALL)


class Condition(NamedTuple):
    """A condition; `option` is how messages call it."""

    left: str
    sign: str  # = != > >= < <=
    right: str
    option: str

    def bind(self, columns: Columns) -> list[str]:
        """Make both sides readable in a file; returns the names that they read."""
        if self.left == STEP:
            columns.order()  # finds it under the names that others use
        names = [columns.bind_extra(self.left)]
        if self.sign in _ORDER and lenient_number(self.right) is None:
            names.append(columns.bind_extra(self.right))
        return names

    def failure(self, row: Row, columns: Columns) -> str | None:
        """None where the condition holds, else what was found; ValueError for an unusable cell."""
        if self.sign not in _ORDER:
            return self._unlike(row, columns)
        if missing(_raw(row, columns, self.left)):
            return f"{self.left} is missing"
        value = columns.number(row, self.left, positive=False)
        bound = lenient_number(self.right)
        if bound is None:
            bound = columns.number(row, self.right, positive=False)
        if _ORDER[self.sign](value, bound):
            return None
        computed = "" if lenient_number(self.right) is not None else f", {self.right} is {bound:g}"
        return f"{self.left} is {value:g}{computed}"

    def _unlike(self, row: Row, columns: Columns) -> str | None:
        value = _raw(row, columns, self.left)
        if missing(value):
            same = not self.right
        else:
            text = value.strip() if isinstance(value, str) else None
            same = any(_equal(value, text, one) for one in (self.right, *self.right.split(",")))
        if same == (self.sign == "="):
            return None
        if missing(value):
            return f"{self.left} is missing"
        found = shown(value) if isinstance(value, str | bool | int | float) else "no single value"
        return f"{self.left} is {found}"


def parse_condition(text: str, option: str | None = None) -> Condition:
    """Parse a condition; ValueError says what is expected."""
    text = " ".join(text.split())
    match = _SPLIT.fullmatch(text)
    if match is None or not match[1].strip():
        raise ValueError(f"{text!r}: expected NAME=VALUE, NAME!=VALUE, NAME>VALUE or the like")
    left, sign, right = match[1].strip(), match[2].replace("==", "="), match[3].strip()
    if sign in _ORDER:
        bound = lenient_number(right)
        if bound is None:
            try:
                parse_formula(right)
            except ValueError:
                reason = f"expected a number or a formula after {sign}"
                raise ValueError(f"{text!r}: {reason}, not {right[:40]!r}") from None
        elif math.isnan(bound):
            raise ValueError(f"{text!r}: nothing is {sign} nan")
    return Condition(left, sign, right, option or f"--where {text}")


def _raw(row: Row, columns: Columns, name: str) -> object:
    try:
        return columns.raw(row, name)
    except MissingCell:  # in a formula
        return None


def _equal(value: object, text: str | None, wanted: str) -> bool:
    wanted = wanted.strip()
    if isinstance(value, bool):
        return wanted.lower() == str(value).lower()
    number, other = lenient_number(value), lenient_number(wanted)
    if number is not None and other is not None:
        return number == other
    return text is not None and bool(wanted) and text == wanted
