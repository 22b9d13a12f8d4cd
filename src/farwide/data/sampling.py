"""Draws without replacement, many rows at once."""

from __future__ import annotations

import numpy as np


def distinct(rng: np.random.Generator, rows: int, population: int, count: int) -> np.ndarray:
    """`count` different whole numbers below `population` in each row, in random order.

    Floyd's algorithm on all rows at once: step j draws t <= j and takes it, or j where the row has
    t already, for j from population - count on. Every subset is equally likely; a shuffle of each
    row makes every order so.

    Args:
      rng: source of the draws.
      rows: draws that are independent of each other.
      population: numbers to draw from, 0 to population - 1.
      count: how many a row, at most `population`.

    Returns:
      (rows, count) int64.

    References:
      Bentley and Floyd 1987, Programming pearls: a sample of brilliance.
    """
    chosen = np.full((rows, count), -1, np.int64)
    for step in range(count):
        last = population - count + step
        draw = rng.integers(0, last + 1, rows)
        taken = (chosen[:, :step] == draw[:, None]).any(axis=1)
        chosen[:, step] = np.where(taken, last, draw)
    return rng.permuted(chosen, axis=1)


def weighted(rng: np.random.Generator, rows: int, weights: np.ndarray, count: int) -> np.ndarray:
    """`count` different indices in each row, drawn one after the other in proportion to weights.

    An exponential race: index i arrives at E_i / w_i with E_i standard exponential; the first to
    arrive, the second, ... are the successive draws.

    Args:
      rng: source of the draws.
      rows: draws that are independent of each other.
      weights: (population,) positive.
      count: how many a row, at most `population`.

    Returns:
      (rows, count) int64, in the order drawn.
    """
    arrivals = rng.standard_exponential((rows, len(weights))) / weights
    if count < len(weights):
        first = np.argpartition(arrivals, count - 1, axis=1)[:, :count]
    else:
        first = np.tile(np.arange(len(weights)), (rows, 1))
    order = np.argsort(np.take_along_axis(arrivals, first, axis=1), axis=1, kind="stable")
    return np.take_along_axis(first, order, axis=1)
