"""Resampled weights: runs or rows drawn with replacement, degenerate draws drawn again.

Reference: Efron and Tibshirani (1993), chapter 6; for clustered rows, Davison and Hinkley (1997),
section 3.8. Checkpoints of one run are not independent, so with a `run` column whole runs are
drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

ATTEMPTS = 100  # times that a degenerate replicate is drawn again before it is kept


class Draws(NamedTuple):
    """Row weights of every replicate."""

    weights: Float[np.ndarray, "replicates points"]
    degenerate: Bool[np.ndarray, "replicates"]  # still, after ATTEMPTS draws
    redrawn: int  # degenerate draws that were replaced


def draw(
    rng: np.random.Generator,
    replicates: int,
    weights: Float[np.ndarray, "points"],
    groups: Int[np.ndarray, "points"],
    degenerate: Callable[[np.ndarray], np.ndarray],
) -> Draws:
    """Resample groups with replacement; a row's weight is its own times its group's count.

    Args:
      rng: the only source of randomness.
      replicates: how many.
      weights: of the rows.
      groups: 0..G-1 for every row; rows of a group are drawn together. Groups of weight zero are
        left out of the draw.
      degenerate: (replicates, points) row weights -> which of them cannot determine the law. Such
        a replicate has no fit of its own, so the bootstrap conditions on drawing another.
    """
    alive = np.bincount(groups, weights=weights) > 0
    chance = alive / np.sum(alive)

    def sample(count: int) -> np.ndarray:
        counts = rng.multinomial(int(np.sum(alive)), chance, size=count)
        return counts[:, groups] * weights

    out = sample(replicates)
    bad = degenerate(out)
    redrawn = 0
    for _ in range(ATTEMPTS):
        if not np.any(bad):
            break
        index = np.flatnonzero(bad)
        out[index] = sample(len(index))
        bad[index] = degenerate(out[index])
        redrawn += len(index)
    return Draws(out, bad, redrawn)
