"""The short convolution in plain JAX: shifted copies, added; differentiable in every mode.

A depthwise convolution of few taps moves bytes and computes little, so it is written as one fused
pass over a padded copy of the input. XLA's own grouped convolution is far slower on CPU, above all
its derivative with respect to the taps.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from kernels_pallas.validate import compute_dtype


@partial(jax.jit, static_argnames=("causal", "layout"))
def forward(u: Array, k: Array, bias: Array | None, *, causal: bool, layout: str) -> Array:
    """The short convolution; arguments as `short_conv`, already checked."""
    dtype = compute_dtype(u.dtype)
    axis = 2 if layout == "BCL" else 1
    weights = k.astype(dtype)
    taps, length = k.shape[1], u.shape[axis]
    ahead = 0 if causal else (taps - 1) // 2
    widths = [(0, 0)] * 3
    widths[axis] = (taps - 1 - ahead, ahead)
    padded = jnp.pad(u.astype(dtype), widths)
    shape = (-1, 1) if layout == "BCL" else (-1,)
    y = jnp.zeros(u.shape, dtype) if bias is None else bias.astype(dtype).reshape(shape)
    for s in range(taps):
        start = taps - 1 - s
        shifted = lax.slice_in_dim(padded, start, start + length, axis=axis)
        y = y + weights[:, s].reshape(shape) * shifted
    return y.astype(u.dtype)
