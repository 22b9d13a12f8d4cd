"""Sums and averages over all places."""

from __future__ import annotations

import math

import jax.numpy as jnp

from theory.stax.affine import check_axes
from theory.stax.layer import Layer, layer_of
from theory.stax.rule import Rule
from theory.stax.windows import need_pairs, scaled, total


def GlobalAvgPool(batch_axis: int = 0, channel_axis: int = -1) -> Layer:
    """The average over all places; where inputs are masked, over those that are not.

        y = mean_p x_p,   K' = mean_{p, q} K[p, q],   Theta' = mean_{p, q} Theta[p, q]

    Args:
      batch_axis, channel_axis: 0 and -1; others are refused.

    An example is masked where all of its places are; its average is then 0.

    Raises:
      ValueError: another axis.
    """
    return _global_pool("GlobalAvgPool()", True, batch_axis, channel_axis)


def GlobalSumPool(batch_axis: int = 0, channel_axis: int = -1) -> Layer:
    """The sum over all places that are not masked.

        y = sum_p x_p,   K' = sum_{p, q} K[p, q],   Theta' = sum_{p, q} Theta[p, q]

    Args:
      batch_axis, channel_axis: 0 and -1; others are refused.

    An example is masked where all of its places are.

    Raises:
      ValueError: another axis.
    """
    return _global_pool("GlobalSumPool()", False, batch_axis, channel_axis)


def _global_pool(name: str, average: bool, batch_axis: int, channel_axis: int) -> Layer:
    check_axes(batch_axis, channel_axis)

    def init(rng, shape):
        del rng
        return (shape[0], shape[-1]), ()

    def apply(params, x, context):
        space = tuple(range(1, x.ndim - 1))
        if not average:
            return x.sum(space)
        if context.mask is None:
            return x.mean(space)
        return x.sum(space) / _count(context.mask, space)[:, None]

    def infer(facts):
        return facts.replace(space=())

    def statistics(block, mask, pattern):
        """Places that are not masked, (N,); None where none is masked."""
        if mask is None or not average:
            return None
        return _count(mask, tuple(range(block.rank)))

    def block(k, left, right, facts):
        need_pairs(name, k)
        sums = total(k)
        if not average:
            return sums
        places1, places2 = (math.prod(k.space) if side is None else side for side in (left, right))
        return scaled(sums, 1 / (jnp.asarray(places1, sums.nngp.dtype) * places2))

    def mask(m, facts):
        return m.all(tuple(range(1, m.ndim)))

    return layer_of(
        Rule(
            name,
            init,
            apply,
            infer,
            block,
            statistics,
            full=lambda wanted: True,
            mask=mask,
            ops=1.0,
        )
    )


def _count(mask, axes):
    """Places that are not masked, at least 1."""
    return jnp.maximum(1, (~mask).sum(axes))
