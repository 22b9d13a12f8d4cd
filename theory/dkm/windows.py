"""Windows of an image: convolutions and means of places."""

from __future__ import annotations

import operator

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

PADDINGS = ("SAME", "VALID")


def as_strides(stride: int | tuple[int, int]) -> tuple[int, int]:
    """One stride per axis.

    Raises:
      ValueError: not one or two whole numbers of at least 1.
    """
    made = tuple(stride) if isinstance(stride, tuple | list) else (stride, stride)
    if len(made) != 2 or any(not hasattr(s, "__index__") or s < 1 for s in made):
        raise ValueError(f"stride must be one or two whole numbers of at least 1, got {stride!r}")
    return operator.index(made[0]), operator.index(made[1])


def check_padding(padding: str) -> None:
    """Raise a ValueError where padding is neither "SAME" nor "VALID"."""
    if padding not in PADDINGS:
        raise ValueError(f"padding must be one of {PADDINGS}, got {padding!r}")


def convolved(x: Array, weights: Array, strides: tuple[int, int], padding: str) -> Array:
    """(N, H, W, C) with (F, F, C, D): sums over windows, (N, H', W', D)."""
    return lax.conv_general_dilated(
        x,
        weights,
        strides,
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=lax.Precision.HIGHEST,
    )


def window_mean(
    t: Array, size: int, strides: tuple[int, int], padding: str, count_padding: bool
) -> Array:
    """(N, H, W) averaged over windows of side `size`; without the padding unless it is counted."""

    def total(x: Array) -> Array:
        window, steps = (1, size, size), (1, *strides)
        return lax.reduce_window(x, np.zeros((), x.dtype), lax.add, window, steps, padding)

    if count_padding or padding == "VALID":
        return total(t) / size**2
    return total(t) / total(jnp.ones((1, *t.shape[1:]), t.dtype))
