"""Merge attentions over disjoint sets of keys into the attention over all of them."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kernels_pallas import validate


def merge_attentions(
    outputs: Sequence[Float[Array, "... value_dim"]], lses: Sequence[Float[Array, "..."]]
) -> tuple[Float[Array, "... value_dim"], Float[Array, "..."]]:
    """One attention from several over disjoint keys, by their log-sum-exps.

        lse = log sum_i exp(lse_i),    output = sum_i exp(lse_i - lse) output_i

    Computed in float32 (float64 when any operand is), differentiable in the outputs and in the
    log-sum-exps, so that the gradient of a merged result reaches every part as if one softmax had
    run over all the keys. Where a part has lse_i = -inf (no key), it counts for nothing; where all
    have, the result is 0 with lse = -inf and its gradient is 0.

    Args:
      outputs: at least one array (..., value_dim), all of one shape.
      lses: as many arrays, each of the shape of its output without value_dim, natural logarithm.

    Returns:
      (output, lse): output in the dtype of outputs[0], lse in float32 or float64.

    Raises:
      TypeError: an operand is no floating array, or outputs or lses is no sequence.
      ValueError: none given, a different number of outputs and lses, or a shape.

    Reference: Milakov and Gimelshein 2018, "Online normalizer calculation for softmax".
    """
    for name, given in (("outputs", outputs), ("lses", lses)):
        if not isinstance(given, Sequence):
            raise TypeError(f"{name} must be a list or tuple of arrays, got {type(given).__name__}")
    if not outputs or len(outputs) != len(lses):
        raise ValueError(
            f"outputs has {len(outputs)} arrays and lses has {len(lses)}; "
            "accepted: the same number, at least 1"
        )
    outs = [
        validate.float_array(f"outputs[{i}]", o, _axes(o, "value_dim"))
        for i, o in enumerate(outputs)
    ]
    logs = [validate.float_array(f"lses[{i}]", one, _axes(one)) for i, one in enumerate(lses)]
    if outs[0].ndim < 1:
        raise ValueError("outputs[0] has shape (); expected (..., value_dim)")
    for i, (out, log) in enumerate(zip(outs, logs, strict=True)):
        validate.shape_is(f"outputs[{i}]", out, outs[0].shape, "the shape of outputs[0]")
        validate.shape_is(f"lses[{i}]", log, outs[0].shape[:-1], "outputs[0] without value_dim")
    wide = jnp.result_type(*(validate.compute_dtype(a.dtype) for a in (*outs, *logs)))
    stacked = jnp.stack([log.astype(wide) for log in logs])
    largest = stacked.max(0)
    some = largest > -jnp.inf
    weights = jnp.exp(jnp.where(some, stacked - jnp.where(some, largest, 0), -jnp.inf))
    total = jnp.where(some, weights.sum(0), 1)
    weights = (weights / total)[..., None]
    merged = sum(
        jnp.where(weight > 0, weight * out.astype(wide), 0)
        for weight, out in zip(weights, outs, strict=True)
    )
    lse = jnp.where(some, jnp.log(total) + largest, -jnp.inf)
    return jnp.asarray(merged).astype(outs[0].dtype), lse


def _axes(value, *last: str) -> tuple[str, ...]:
    """As many axis names as the array has, so that only its dtype is checked here."""
    rank = len(getattr(value, "shape", ()))
    return (*("_" for _ in range(rank - len(last))), *last) if rank >= len(last) else last


__all__ = ["merge_attentions"]
