"""From arrays to blocks of their covariances, and from the layout of blocks to the public one."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from theory.stax.block import Block, make
from theory.stax.rule import Facts

Tree = Any

FEW_CHANNELS = 8  # up to here, full covariances are summed channel by channel in their own layout


def check(x: Array, name: str) -> Array:
    """x as a floating array with a batch and a channel axis; 16 bits become float32.

    Raises:
      TypeError: not an array of numbers.
      ValueError: fewer than two axes, or an empty one.
    """
    try:
        x = jnp.asarray(x)
    except TypeError as error:
        raise TypeError(f"{name} must be an array, got {type(x).__name__}") from error
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        raise TypeError(f"{name} must be real, got {x.dtype}")
    if x.ndim < 2 or 0 in x.shape:
        raise ValueError(
            f"{name} must have shape (batch, *space, channels) with no empty axis, got {x.shape}"
        )
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def facts_of(x: Array) -> Facts:
    """The facts of inputs."""
    return Facts(space=x.shape[1:-1], channels=x.shape[-1])


def as_tuples(x: Tree) -> Tree:
    """A tree of lists and tuples as one of tuples."""
    return tuple(as_tuples(part) for part in x) if isinstance(x, list | tuple) else x


def flattened(x: Array, mask: Array | None) -> tuple[Array, Array | None]:
    """Places made channels; an example is masked where all of its places are."""
    n = x.shape[0]
    return x.reshape(n, -1), None if mask is None else mask.reshape(n, -1).all(-1)


def batch_of(x: Tree) -> int:
    """Examples in a tree of inputs."""
    return jax.tree.leaves(x)[0].shape[0]


def agreed_facts(x1: Tree, x2: Tree) -> Tree:
    """The facts of both sides.

    Raises:
      ValueError: they differ in more than the number of examples.
    """
    for name, x in (("x1", x1), ("x2", x2)):
        sizes = {leaf.shape[0] for leaf in jax.tree.leaves(x)}
        if len(sizes) > 1:
            raise ValueError(f"all parts of {name} must have as many examples, got {sorted(sizes)}")
    facts = jax.tree.map(facts_of, x1)
    if x2 is not None and jax.tree.map(facts_of, x2) != facts:
        raise ValueError(
            f"x1 and x2 must have the same shape but for the number of examples, got {_shapes(x1)} "
            f"and {_shapes(x2)}"
        )
    return facts


def _shapes(x: Tree) -> Tree:
    return jax.tree.map(lambda leaf: leaf.shape, x)


def self_block(x: Array, *, diagonal: bool, both: bool) -> Block:
    """E over channels of x_p x_q, example by example: a block with batch (N,)."""
    rank = x.ndim - 2
    x = jnp.moveaxis(x, 0, -1)  # (*space, C, N)
    if diagonal:
        nngp = (x * x).mean(-2)
    else:
        left, right = _spread(x, rank, 1), _spread(x, rank, 0)
        few = x.shape[-2] <= FEW_CHANNELS
        nngp = _mean_by_channel(left, right, -2) if few else (left * right).mean(-2)
    return make(nngp, both=both, rank=rank, diagonal=diagonal, itself=True)


def cross_block(x1: Array, x2: Array, *, diagonal: bool, both: bool) -> Block:
    """E over channels of x1_p x2_q: a block with batch (N1, N2)."""
    rank, channels = x1.ndim - 2, x1.shape[-1]
    if rank == 0:
        nngp = jnp.matmul(x1, x2.T, precision="highest") / channels
    elif diagonal:
        a, b = jnp.moveaxis(x1, 0, -2), jnp.moveaxis(x2, 0, -2)  # (*space, N, C)
        nngp = jnp.matmul(a, jnp.swapaxes(b, -1, -2), precision="highest") / channels
    elif channels <= FEW_CHANNELS:
        a, b = jnp.moveaxis(x1, 0, -1), jnp.moveaxis(x2, 0, -1)  # (*space, C, N)
        left, right = _spread(a, rank, 1)[..., None], _spread(b, rank, 0)[..., None, :]
        nngp = _mean_by_channel(left, right, -3)
    else:
        nngp = jnp.tensordot(x1, x2, (-1, -1), precision="highest") / channels
        nngp = _interleave(jnp.moveaxis(nngp, (0, rank + 1), (-2, -1)), rank)
    return make(nngp, both=both, rank=rank, diagonal=diagonal, itself=False)


def _mean_by_channel(left: Array, right: Array, axis: int) -> Array:
    """The mean of left * right over an axis, term by term.

    Not only for speed: XLA of JAX 0.10.2 on a CPU gives garbage for (left * right).mean of float32
    where these broadcast over three spatial axes and there are 2 channels.
    """
    channels = left.shape[axis]
    terms = [
        lax.index_in_dim(left, c, axis, False) * lax.index_in_dim(right, c, axis, False)
        for c in range(channels)
    ]
    return jnp.asarray(sum(terms[1:], terms[0])) / channels


def _spread(x: Array, rank: int, offset: int) -> Array:
    return jnp.expand_dims(x, tuple(2 * axis + offset for axis in range(rank)))


def _interleave(value: Array, rank: int) -> Array:
    """(p_1, p_2, .., q_1, q_2, .., *batch) as (p_1, q_1, p_2, q_2, .., *batch)."""
    order = [axis for pair in zip(range(rank), range(rank, 2 * rank), strict=True) for axis in pair]
    return value.transpose(*order, *range(2 * rank, value.ndim))


def public(value: Array, batch_axes: int) -> Array:
    """(*spatial, *batch) as (*batch, *spatial)."""
    return jnp.moveaxis(value, range(-batch_axes, 0), range(batch_axes))


def private(value: Array, batch_axes: int) -> Array:
    """(*batch, *spatial) as (*spatial, *batch)."""
    return jnp.moveaxis(value, range(batch_axes), range(-batch_axes, 0))
