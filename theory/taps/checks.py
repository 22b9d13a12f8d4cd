"""Checks of the numbers that describe a filter: which argument, its value, what is accepted."""

from __future__ import annotations

import math

import numpy as np


def whole(least: int, **sizes: object) -> None:
    """Raise ValueError naming the first of `sizes` that is no integer of at least `least`."""
    for name, size in sizes.items():
        integer = isinstance(size, (int, np.integer)) and not isinstance(size, bool)
        if not integer or size < least:  # pyright: ignore[reportOperatorIssue]
            raise ValueError(f"{name} is {size!r}; accepted is an integer of at least {least}")


def positive(**values: float) -> None:
    """Raise ValueError naming the first of `values` that is not positive and finite."""
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} is {value!r}; accepted is a positive number")


def nonnegative(**values: float) -> None:
    """Raise ValueError naming the first of `values` that is negative or not finite."""
    for name, value in values.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} is {value!r}; accepted is a number of at least 0")


def finite(**values: float) -> None:
    """Raise ValueError naming the first of `values` that is not finite."""
    for name, value in values.items():
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value!r}; accepted is a finite number")


def one_of(accepted: tuple[str, ...], **names: str) -> None:
    """Raise ValueError naming the first of `names` that is not `accepted`."""
    for name, value in names.items():
        if value not in accepted:
            raise ValueError(f"{name} is {value!r}; accepted are {', '.join(map(repr, accepted))}")
