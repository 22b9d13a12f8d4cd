"""Rotary position embedding over the axes of a sequence, an image or a volume."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def axial_rotary(
    x: Float[Array, "batch *space heads head_dim"],
    *,
    base: float = 10000.0,
    start: int | Int[Array, ""] = 0,
) -> Float[Array, "batch *space heads head_dim"]:
    """Turn pairs of features by angles that are proportional to the coordinates.

    The head dim falls into one part of m = head_dim / r features for each of the r axes. In the
    part of axis a, features j and j + m/2, j < m/2, at coordinate i_a turn by the angle

        i_a base^(-2j / m)

    so that the product of a turned query and a turned key depends on the difference of their
    coordinates alone. Angles are computed in float32 (float64 for float64 x).

    Args:
      x: queries or keys (batch, *space, heads, head_dim), at least one space axis.
      base: of the wavelengths, which run from 2 pi to 2 pi base (coordinates); positive.
      start: coordinate of the first position on every axis.

    Returns:
      The turned x, in its shape and dtype.

    Raises:
      ValueError: x has no space axis, head_dim is no multiple of 2 r, or base is not positive.

    Reference: Su et al. 2021, "RoFormer: Enhanced Transformer with Rotary Position Embedding",
    Eq. 34; Heo et al. 2024, "Rotary Position Embedding for Vision Transformer" (axial form).
    """
    space, head_dim = x.shape[1:-2], x.shape[-1]
    rank = len(space)
    if rank < 1:
        raise ValueError(f"x has shape {x.shape}; expected (batch, *space, heads, head_dim)")
    if head_dim % (2 * rank):
        raise ValueError(
            f"x has head_dim {head_dim} (shape {x.shape}); accepted with {rank} space axes: a "
            f"multiple of {2 * rank}, a pair of features for each axis"
        )
    if not (math.isfinite(base) and base > 0):
        raise ValueError(f"base is {base!r}; accepted: a positive number")
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    part = head_dim // rank
    frequencies = jnp.asarray(base, dtype) ** (-jnp.arange(0, part, 2, dtype=dtype) / part)
    turned = []
    for axis, length in enumerate(space):
        angles = (start + jnp.arange(length, dtype=dtype))[
            :, None
        ] * frequencies  # (length, part / 2)
        angles = jnp.expand_dims(angles, range(1, rank - axis + 1))  # space after it, and heads
        features = x[..., axis * part : (axis + 1) * part].astype(dtype)
        first, second = jnp.split(features, 2, axis=-1)
        cos, sin = jnp.cos(angles), jnp.sin(angles)
        turned += [first * cos - second * sin, first * sin + second * cos]
    return jnp.concatenate(turned, axis=-1).astype(x.dtype)
