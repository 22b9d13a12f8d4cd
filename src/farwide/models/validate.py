"""Checks of sizes and probabilities that model settings share."""

from __future__ import annotations


def at_least(least: int, **sizes: int | None) -> None:
    """Raise ValueError naming the first of `sizes` that is no integer of at least `least`."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < least:
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
