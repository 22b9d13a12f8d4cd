"""Layer normalisation."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax

from theory.stax.affine import check_axes, written
from theory.stax.layer import Layer, layer_of
from theory.stax.rule import Rule, no_params


def LayerNorm(
    axis: int | Sequence[int] = -1,
    eps: float = 1e-12,
    batch_axis: int = 0,
    channel_axis: int = -1,
) -> Layer:
    """Subtracts the mean over `axis` and divides by the standard deviation, without parameters.

        y = (x - mean x) / sqrt(eps + var x)
        K'_pq = K_pq / sqrt((eps + v_p) (eps + v'_q)),     Theta' likewise

    with v_p the mean of the variances K(x, x)_pp over the spatial axes in `axis`. Places that are
    masked do not count in means.

    Args:
      axis: axes of (batch, *space, channels) to normalise over, the channels among them; negative
        from the end.
      eps: added to variances, >= 0.
      batch_axis, channel_axis: 0 and -1; others are refused.

    Raises:
      ValueError: an argument outside of what is described; the batch's axis in `axis`, since
        examples are never mixed. When used, a spatial axis that the inputs do not have.
      NotImplementedError: when used, on inputs that are not Gaussian.

    References:
      Ba et al. 2016, Layer Normalization.
    """
    check_axes(batch_axis, channel_axis)
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    if not axes or not all(isinstance(a, int) and not isinstance(a, bool) for a in axes):
        raise ValueError(f"axis must be an int or some ints, got {axis!r}")
    if not eps >= 0:
        raise ValueError(f"eps must be >= 0, got {eps!r}")
    name = written("LayerNorm", axis=(axis, -1), eps=(eps, 1e-12))

    def spatial(rank: int) -> tuple[int, ...]:
        """The spatial axes to normalise over, among (*space,)."""
        ndim = rank + 2
        if not all(-ndim <= a < ndim for a in axes):
            raise ValueError(f"axis {axis!r} of {name} is none of inputs with {ndim} axes")
        chosen = {a % ndim for a in axes}
        if 0 in chosen:
            raise ValueError(f"axis of {name} holds that of the batch: examples are never mixed")
        if ndim - 1 not in chosen:
            raise ValueError(
                f"axis of {name} must hold that of the channels, {ndim - 1}, or no limit exists"
            )
        return tuple(sorted(a - 1 for a in chosen - {ndim - 1}))

    def apply(params, x, context):
        over = (*(a + 1 for a in spatial(x.ndim - 2)), x.ndim - 1)
        where = (
            None if context.mask is None else jnp.broadcast_to(~context.mask[..., None], x.shape)
        )
        count = jnp.ones_like(x) if where is None else where.astype(x.dtype)
        count = jnp.maximum(count.sum(over, keepdims=True), 1)
        centred = x - jnp.sum(x, over, keepdims=True, where=where) / count
        var = jnp.sum(centred**2, over, keepdims=True, where=where) / count
        return centred * lax.rsqrt(eps + var)

    def infer(facts):
        spatial(len(facts.space))
        if not facts.gaussian:
            raise NotImplementedError(
                f"{name} needs Gaussian inputs: put a Dense or Conv layer before it, got {facts}"
            )
        return facts

    def statistics(block, mask, pattern):
        """(*space, N), 1 along the axes of the mean: 1 / sqrt(eps + v), 0 for 1 / 0."""
        variance, over = block.at_diagonal(), spatial(block.rank)
        if mask is None:
            mean = variance.mean(over, keepdims=True)
        else:  # variances are zero where masked
            count = (~mask).sum(over, keepdims=True)
            mean = variance.sum(over, keepdims=True) / jnp.maximum(count, 1)
        total = eps + mean
        positive = total > 0
        return jnp.where(positive, lax.rsqrt(jnp.where(positive, total, 1.0)), 0.0)

    def block(k, left, right, facts):
        scale = k.left(left) * k.right(right)
        return k.linear(lambda value: value * scale)

    return layer_of(Rule(name, no_params, apply, infer, block, statistics, ops=4.0))
