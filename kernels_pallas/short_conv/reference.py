"""The definition of the short convolution: gather the window of every position, weigh, add.

    y[b,c,t] = sum_s k[c,s] u[b,c,t+o-s] + bias[c],   o = 0 (causal) or (taps-1)//2 (centred)

Inputs outside 0..length-1 are zero. Computed in float32 (float64 for float64 input).
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax

from kernels_pallas.validate import compute_dtype


def forward(u: Array, k: Array, bias: Array | None, *, causal: bool, layout: str) -> Array:
    """The short convolution by its definition; arguments as `short_conv`, already checked."""
    dtype = compute_dtype(u.dtype)
    x = (u if layout == "BCL" else u.swapaxes(1, 2)).astype(dtype)
    taps, length = k.shape[1], x.shape[2]
    ahead = 0 if causal else (taps - 1) // 2
    index = jnp.arange(length)[:, None] + ahead - jnp.arange(taps)[None, :]  # (length, taps)
    inside = (index >= 0) & (index < length)
    window = jnp.where(inside, x[:, :, jnp.clip(index, 0, length - 1)], 0)
    y = jnp.einsum("bcts,cs->bct", window, k.astype(dtype), precision=lax.Precision.HIGHEST)
    if bias is not None:
        y = y + bias.astype(dtype)[:, None]
    return (y if layout == "BCL" else y.swapaxes(1, 2)).astype(u.dtype)
