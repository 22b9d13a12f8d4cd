"""Draws of both examples' activations together."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array

from theory.stax.block import Block
from theory.stax.mixing import flat_places


def batch_first(k: Block, value: Array) -> Array:
    """(p_1, q_1, p_2, q_2, .., *batch) as (*batch of k, p, q); batch axes may be 1."""
    flat = flat_places(value, range(k.rank), k.rank)
    flat = jnp.broadcast_to(flat, (*flat.shape[:2], *k.batch))
    return jnp.moveaxis(flat, (0, 1), (-2, -1))


def joint_roots(k: Block, left: Array, right: Array) -> tuple[Array, Array]:
    """F and F', (*batch, places, size): F F^T = K(x, x), F F'^T = K(x, x'), F' F'^T = K(x', x').

    With z of N(0, 1), (size,), F z and F' z are draws of a channel at both examples' places; in a
    self block they are the same. The root is the symmetric one: it is unique, also of a singular
    covariance, and that of (x', x) is that of (x, x') with the examples swapped.

    Args:
      k: a full block, K(x, x').
      left, right: K(x, x) and K(x', x') in its layout, batch axes that broadcast.
    """
    cross = batch_first(k, k.nngp)
    places = cross.shape[-1]
    joint = cross
    if not k.itself:
        rows = jnp.concatenate([batch_first(k, left), cross], -1)
        below = jnp.concatenate([cross.mT, batch_first(k, right)], -1)
        joint = jnp.concatenate([rows, below], -2)
    values, vectors = jnp.linalg.eigh(joint)
    root = (vectors * jnp.sqrt(jnp.maximum(values, 0.0))[..., None, :]) @ vectors.mT
    return root[..., :places, :], root[..., -places:, :]


def both_orders(k: Block, noise: Array, places: Sequence[int] | None = None) -> list[Array]:
    """The draws to average over: noise, and in a cross block noise with the examples swapped.

    With both, the mean for (x', x) is the transpose of that for (x, x'), to rounding.

    Args:
      k: the block.
      noise: axes `places` are the `size` of `joint_roots`.
      places: None for all axes.
    """
    if k.itself:
        return [noise]
    axes = tuple(range(noise.ndim)) if places is None else tuple(places)
    return [noise, jnp.roll(noise, [noise.shape[axis] // 2 for axis in axes], axes)]
