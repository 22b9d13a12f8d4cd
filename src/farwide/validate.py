"""Checks of sizes, choices and probabilities that settings of models and of data share."""

from __future__ import annotations

import numpy as np


def at_least(least: int, **sizes: int | None) -> None:
    """Raise ValueError naming the first of `sizes` that is no integer of at least `least`."""
    for name, size in sizes.items():
        whole = isinstance(size, (int, np.integer)) and not isinstance(size, bool)
        if size is None or not whole or size < least:
            raise ValueError(f"{name} is {size!r}; accepted is an integer of at least {least}")


def one_of(accepted: tuple[str, ...], **names: str) -> None:
    """Raise ValueError naming the first of `names` that is not `accepted`."""
    for name, value in names.items():
        if value not in accepted:
            raise ValueError(f"{name} is {value!r}; accepted are {', '.join(map(repr, accepted))}")


def probability(**values: float) -> None:
    """Raise ValueError naming the first of `values` that is not in 0 <= p < 1."""
    for name, value in values.items():
        if not 0 <= value < 1:
            raise ValueError(f"{name} is {value!r}; accepted is 0 <= {name} < 1")
