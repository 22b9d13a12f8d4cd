"""Linear maps of places that differ from example to example: attention weights, graphs.

With y_P = sum_p A_Pp x_p for each example, A = A(x) given x, covariances become

    K'_PQ = sum_pq A_Pp K_pq A'_Qq

Places of an example are numbered as one axis here, in C order of its spatial axes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import jax.numpy as jnp
from jax import Array

from theory.stax.block import Block


def flat_places(value: Array, axes: Sequence[int], rank: int) -> Array:
    """(p_1, q_1, p_2, q_2, .., *batch) as (p, q, *others, *batch).

    Args:
      value: of a full block.
      axes: spatial axes that p and q run over, in this order; others stay as (p_i, q_i, ..).
      rank: spatial axes of the block.
    """
    others = [axis for axis in range(rank) if axis not in axes]
    order = [2 * a for a in axes] + [2 * a + 1 for a in axes]
    order += [2 * a + side for a in others for side in range(2)]
    size = prod(value.shape[2 * a] for a in axes)
    value = value.transpose(*order, *range(2 * rank, value.ndim))
    return value.reshape(size, size, *value.shape[2 * len(axes) :])


def paired_places(value: Array, axes: Sequence[int], space: Sequence[int]) -> Array:
    """The inverse of `flat_places`; space: sizes of all spatial axes."""
    rank, sizes = len(space), [space[a] for a in axes]
    others = [axis for axis in range(rank) if axis not in axes]
    value = value.reshape(*sizes, *sizes, *value.shape[2:])
    order = [2 * a for a in axes] + [2 * a + 1 for a in axes]
    order += [2 * a + side for a in others for side in range(2)]
    inverse = sorted(range(2 * rank), key=order.__getitem__)
    return value.transpose(*inverse, *range(2 * rank, value.ndim))


def mixed(
    k: Block,
    axes: Sequence[int],
    left: Callable[[Array], Array],
    right: Callable[[Array], Array],
) -> Block:
    """The block of y.

    Args:
      k: a full block.
      axes: the spatial axes whose places are mixed.
      left: (p, q, .., *batch) real -> the same with A of x applied to p.
      right: the same with A' of x' applied to q.
    """

    def of(value: Array) -> Array:
        flat = right(left(flat_places(value, axes, k.rank)))
        return paired_places(flat, axes, k.space)

    return k.with_values(of(k.nngp), None if k.ntk is None else of(k.ntk))


def by_weights(weights: Array, side: int) -> Callable[[Array], Array]:
    """The map of (p, q, .., *batch) that applies dense weights to p (side 0) or to q (side 1).

    Args:
      weights: (P, p, N) in a self block; (P, p, N1, 1) or (P, p, 1, N2) in a cross block.
      side: 0 or 1.
    """
    cross = weights.ndim == 4
    known = (weights[..., 0] if side == 0 else weights[:, :, 0]) if cross else weights
    batch = ("nm", "mn")[side] if cross else "n"  # weights have n; m is the other side's
    place = "pq"[side]

    def apply(value: Array) -> Array:
        others = "abcdefgh"[: value.ndim - 2 - len(batch)]
        before = f"pq{others}{batch}"
        after = before.replace(place, "P")
        return jnp.einsum(f"P{place}n,{before}->{after}", known, value, precision="highest")

    return apply


def full_always(_: bool) -> bool:
    """The `full` of rules that mix places."""
    return True
