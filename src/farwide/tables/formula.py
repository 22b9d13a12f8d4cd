"""Arithmetic over columns: numbers, columns, + - * / ** and brackets, and nothing else.

    6*N*D        D/N        flops/1e18        config.batch*_step        'val/loss'*0.6931

A column whose name is no plain word stands in quotes; dots reach into nested JSON as they are.
The text is parsed, never evaluated as a program.
"""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable
from typing import NamedTuple

_BINARY = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
           ast.Div: operator.truediv, ast.Pow: operator.pow}  # fmt: skip
_LONGEST = 1000  # characters
_DEEPEST = 100  # brackets and operators, one within the other


class Formula(NamedTuple):
    """A formula, checked; `names` are the columns that it reads, in order of first use."""

    text: str
    names: tuple[str, ...]
    tree: ast.expr

    def value(self, column: Callable[[str], float]) -> float:
        """The value of the formula; ValueError when it has none."""
        try:
            value = _value(self.tree, column)
        except ZeroDivisionError:
            raise ValueError(f"{self.text} divides by zero") from None
        except OverflowError:
            raise ValueError(f"{self.text} is too large for a 64-bit float") from None
        if isinstance(value, complex) or math.isnan(value):
            raise ValueError(f"{self.text} is not a real number")
        if math.isinf(value):
            raise ValueError(f"{self.text} is too large for a 64-bit float")
        return value


def parse_formula(text: str) -> Formula:
    """Parse a formula; ValueError says what it may hold."""
    said = " ".join(text.split())  # on one line
    reason = f"{said[:60]!r} is no formula of numbers, columns, + - * / ** and brackets"
    if len(text) > _LONGEST:
        raise ValueError(f"{reason}: it has more than {_LONGEST} characters")
    try:
        with warnings.catch_warnings(action="ignore"):  # of Python about odd literals
            tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(reason) from None
    names: dict[str, None] = {}
    try:
        _check(tree, names, 0)
    except RecursionError:
        raise ValueError(reason) from None
    except ValueError as error:
        raise ValueError(f"{reason}: {error}") from None
    return Formula(said, tuple(names), tree)


def _check(node: ast.expr, names: dict[str, None], depth: int) -> None:
    if depth > _DEEPEST:
        raise ValueError(f"more than {_DEEPEST} levels")
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        _check(node.left, names, depth + 1)
        _check(node.right, names, depth + 1)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        _check(node.operand, names, depth + 1)
    elif (name := _name(node)) is not None:
        names[name] = None
    elif not _is_number(node):
        raise ValueError(f"{ast.unparse(node)[:40]} is none of them")


def _name(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
        return node.value
    if isinstance(node, ast.Attribute):
        parts = [node.attr]
        while isinstance(node.value, ast.Attribute) and len(parts) < _DEEPEST:
            node = node.value
            parts.append(node.attr)
        if isinstance(node.value, ast.Name):
            return ".".join([node.value.id, *reversed(parts)])
    return None


def _is_number(node: ast.expr) -> bool:
    if not isinstance(node, ast.Constant) or isinstance(node.value, bool):
        return False
    try:
        return isinstance(node.value, int | float) and math.isfinite(float(node.value))
    except OverflowError:
        return False


def _value(node: ast.expr, column: Callable[[str], float]) -> float:
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left, column), _value(node.right, column)
        return _BINARY[type(node.op)](left, right)
    if isinstance(node, ast.UnaryOp):
        value = _value(node.operand, column)
        return -value if isinstance(node.op, ast.USub) else value
    name = _name(node)
    if name is not None:
        return column(name)
    assert isinstance(node, ast.Constant)
    return float(node.value)  # pyright: ignore[reportArgumentType]
