"""The definition of the long convolution: a matrix product with the Toeplitz matrix of the taps.

    x = pre * u
    y[b,c,t] = post[b,c,t] * ( sum_s T[c,t,s] x[b,c,s] + skip[c] x[b,c,t] )

    causal    T[t,s] = k[t-s] for 0 <= t-s < taps,  k_future[s-t-1] for 0 < s-t <= future taps
    circular  T[t,s] = k[(t-s) mod length], k padded with zeros to length

Taps outside their range are zero. Products and sums are in float32 (float64 for float64 input) at
the highest matmul precision, and the result has the dtype of u. One channel's matrix is held at a
time: length^2 numbers, so this is for small problems and for tests.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from kernels_pallas.long_conv.spectrum import Spectrum, taps_of
from kernels_pallas.validate import compute_dtype


def forward(
    u: Array,
    k: Array | Spectrum,
    k_future: Array | None,
    skip: Array | None,
    pre_gate: Array | None,
    post_gate: Array | None,
    *,
    mode: str,
    layout: str,
    precision: str | lax.Precision | None = None,
) -> Array:
    """The long convolution by its definition; arguments as `long_conv`, already checked."""
    del precision  # always the highest
    dtype = compute_dtype(u.dtype)
    past, future = taps_of(k) if isinstance(k, Spectrum) else (k, k_future)
    x = u.astype(dtype) if pre_gate is None else u.astype(dtype) * pre_gate.astype(dtype)
    x = x if layout == "BCL" else x.swapaxes(1, 2)
    ahead = jnp.zeros((past.shape[0], 0), dtype) if future is None else future.astype(dtype)

    def one_channel(channel: tuple[Array, Array, Array]) -> Array:
        x_c, past_c, ahead_c = channel
        matrix = toeplitz(past_c, ahead_c, x_c.shape[-1], mode)
        return jnp.matmul(x_c, matrix.T, precision=lax.Precision.HIGHEST)

    y = lax.map(one_channel, (x.swapaxes(0, 1), past.astype(dtype), ahead)).swapaxes(0, 1)
    if skip is not None:
        y = y + skip.astype(dtype)[:, None] * x
    y = y if layout == "BCL" else y.swapaxes(1, 2)
    return (y if post_gate is None else y * post_gate.astype(dtype)).astype(u.dtype)


def toeplitz(
    k: Float[Array, "taps"], k_future: Float[Array, "future"], length: int, mode: str
) -> Float[Array, "length length"]:
    """The matrix T of one channel, row t and column s."""
    time = jnp.arange(length)
    lag = time[:, None] - time[None, :]
    if mode == "circular":
        return jnp.pad(k, (0, length - k.shape[0]))[lag % length]
    return _gather(k, lag) + _gather(k_future, -lag - 1)


def _gather(values: Array, index: Array) -> Array:
    """`values[index]`, zero where the index is out of range."""
    inside = (index >= 0) & (index < values.shape[0])
    padded = jnp.append(values, jnp.zeros((1,), values.dtype))
    return padded[jnp.where(inside, index, values.shape[0])]


__all__ = ["forward", "toeplitz"]
