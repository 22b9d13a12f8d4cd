"""Limits that hold draws of their own: their mean over seeds, and the standard error of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from theory.stax.affine import check_size
from theory.stax.layer import Layer


class Estimate(NamedTuple):
    """A mean over seeds.

    Attributes:
      mean: what `kernel_fn` gives, averaged.
      error: of the same shape(s), the standard error of the mean.
    """

    mean: Any
    error: Any


def seed_average(
    network: Callable[[int], Layer],
    x1: Any,
    x2: Any = None,
    get: str | tuple[str, ...] = "nngp",
    *,
    seeds: int = 8,
    **options: Any,
) -> Estimate:
    """The kernel of a network whose layers draw, over several seeds, with its error.

    error = s / sqrt(seeds), s the standard deviation over seeds, entry by entry: the error that
    draws make in every layer, as later layers pass it on. What the draws of one kernel make of a
    curved layer behind (a bias of order 1/samples) is in every seed, and not in the error.

    Args:
      network: seed -> a network; layers that draw take the seed, such as `NeighborhoodAttention`
        without linear scaling, or `LongConvActivation`. Several in one network want different ones.
      x1, x2, get, options: as of `kernel_fn`.
      seeds: networks, at least 2.

    Raises:
      ValueError: seeds below 2.
    """
    if check_size(seeds, "seeds") < 2:
        raise ValueError(f"seeds must be at least 2, got {seeds}")
    drawn = [network(seed).kernel_fn(x1, x2, get, **options) for seed in range(seeds)]
    stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *drawn)
    mean = jax.tree.map(lambda part: part.mean(0), stacked)
    error = jax.tree.map(lambda part: part.std(0, ddof=1) / seeds**0.5, stacked)
    return Estimate(mean, error)
