"""Keys that every query attends beside its neighborhood: a small dense attention, merged."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from kernels_pallas.neighborhood_attention.merge import merge_attentions
from kernels_pallas.validate import compute_dtype


def with_additional(
    scale: float, q: Array, out: Array, lse: Array, keys: Array | None, values: Array | None
) -> tuple[Array, Array]:
    """(out, lse) over the neighbors and the additional keys, from (out, lse) over the neighbors.

    The scores of the additional keys are held at once, queries times additional keys.

    Args:
      scale: multiplies q.k.
      q: (batch, *space, heads, head_dim).
      out, lse: of the neighborhoods; out keeps its dtype.
      keys, values: (batch, additional, kv_heads, head_dim | value_dim), or None for none.
    """
    if keys is None or values is None:
        return out, lse
    wide = compute_dtype(q.dtype)
    batch, *space, heads, head_dim = q.shape
    precision = "highest" if q.dtype.itemsize > 2 else None
    rows = q.reshape(batch, -1, keys.shape[2], heads // keys.shape[2], head_dim)
    s = scale * jnp.einsum(
        "bqhgd,bshd->bqhgs", rows.astype(wide), keys.astype(wide), precision=precision
    )
    largest = s.max(-1, keepdims=True)
    p = jnp.exp(s - largest)
    total = p.sum(-1, keepdims=True)
    extra = jnp.einsum("bqhgs,bshv->bqhgv", p / total, values.astype(wide), precision=precision)
    extra = extra.reshape(batch, *space, heads, -1)
    extra_lse = (jnp.log(total) + largest).reshape(batch, *space, heads)
    merged, lse = merge_attentions([out, extra.astype(out.dtype)], [lse, extra_lse])
    return merged, lse


__all__ = ["with_additional"]
