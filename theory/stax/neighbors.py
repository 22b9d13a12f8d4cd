"""Which places a query of neighborhood attention sees.

Along an axis with dilation d, place i attends to places of its own group i mod d. Within the group,
of n places, query p sees `window` places from clip(p - window // 2, 0, n - window) on, so that
windows at the ends are as large as elsewhere; where causal, the places from max(p - window + 1, 0)
to p. Over several axes a neighborhood is the product.

References:
  Hassani et al. 2023, Neighborhood Attention Transformer; Hassani and Shi 2022, Dilated
  Neighborhood Attention Transformer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

PerAxis = int | Sequence[int]


class Neighbors(NamedTuple):
    """Places that each place sees.

    Attributes:
      index: (places, size) int, flat places in C order; any place where not `valid`.
      valid: (places, size) bool.
      seen: (places, places) bool, query by key.
    """

    index: np.ndarray
    valid: np.ndarray
    seen: np.ndarray


def per_axis(value: PerAxis | bool | Sequence[bool], rank: int, name: str) -> tuple:
    """One value for each spatial axis.

    Raises:
      ValueError: a sequence with another number of them.
    """
    if isinstance(value, int | bool | np.integer):
        return (value,) * rank
    values = tuple(value)
    if len(values) != rank:
        raise ValueError(f"{name} must be one value or one for each of {rank} axes, got {value!r}")
    return values


def neighbors(
    space: tuple[int, ...], window: PerAxis, dilation: PerAxis, causal: bool | Sequence[bool]
) -> Neighbors:
    """The neighborhoods of all places.

    Raises:
      ValueError: a window below 1 or, where not causal, that does not fit in the places of a
        dilation group; a dilation below 1.
    """
    rank = len(space)
    seen = np.ones((1, 1), bool)
    settings = (
        per_axis(value, rank, name)
        for value, name in ((window, "window"), (dilation, "dilation"), (causal, "causal"))
    )
    for size, w, d, c in zip(space, *settings, strict=True):
        seen = np.kron(seen, _axis(size, w, d, bool(c))).astype(bool)
    counts = seen.sum(1)
    index = np.argsort(~seen, axis=1, kind="stable")[:, : counts.max()]
    return Neighbors(index, np.arange(counts.max()) < counts[:, None], seen)


def _axis(size: int, window: int, dilation: int, causal: bool) -> np.ndarray:
    """(size, size) bool, query by key."""
    for name, value in (("window", window), ("dilation", dilation)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(f"{name} must be a positive int or one for each axis, got {value!r}")
    if not causal and window > size // dilation:
        raise ValueError(
            f"window is {window}; accepted with {size} places and dilation {dilation} is at most "
            f"{size // dilation}"
        )
    i = np.arange(size)
    place, group = i // dilation, i % dilation
    if causal:
        start, stop = np.maximum(place - window + 1, 0), place + 1
    else:
        n = -(-(size - group) // dilation)
        start = np.clip(place - window // 2, 0, n - window)
        stop = start + window
    own = group[:, None] == group
    return own & (start[:, None] <= place) & (place < stop[:, None])
