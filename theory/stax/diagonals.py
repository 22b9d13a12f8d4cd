"""Convolutions along the diagonals of covariances.

A filter that is drawn once and moves over both inputs, with independent taps of variance v(s), maps

    K'(t, t') = sum_s v(s) K(t - s, t' - s),     zero outside

which is a convolution with v along every diagonal t' - t = d. Taps of covariance R(s, s') need all
of the plane: K'(t, t') = sum R(s, s') K(t - s, t' - s').

Diagonals are put into columns by a shear, and a triangular Toeplitz matrix multiplies them all at
once. On 2 CPU cores, float32, nanoseconds an entry at 64, 256 and 1024 places: this product 3, 11
and 24; a transform of every diagonal 21, 17 and 32; the sum over s of shifted planes 6, 87 and 468
(`python -m benchmarks.long_conv_kernel` has them). Places are few enough for a product wherever
their covariances fit in memory, until WHOLE.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

Operator = Callable[..., Any]

WHOLE = 2048  # up to here, all places are multiplied by one matrix; beyond, transformed


def sheared(value: Array, rank: int) -> Array:
    """(p_1, q_1, p_2, q_2, .., *batch) as (p_1, p_2, .., j_1, j_2, .., *batch).

    Column j of 2 L - 1 holds the diagonal q - p = L - 1 - j of an axis, zero beyond its ends.
    """
    for axis in range(rank):
        value = _shear(value, 2 * axis)
    order = [*range(0, 2 * rank, 2), *range(1, 2 * rank, 2)]
    return value.transpose(*order, *range(2 * rank, value.ndim))


def unsheared(value: Array, rank: int) -> Array:
    """The inverse of `sheared`."""
    order = [axis for pair in zip(range(rank), range(rank, 2 * rank), strict=True) for axis in pair]
    value = value.transpose(*order, *range(2 * rank, value.ndim))
    for axis in range(rank):
        value = _unshear(value, 2 * axis)
    return value


def _shear(value: Array, at: int) -> Array:
    """Axes (at, at + 1): rows of 2 L numbers are read as rows of 2 L - 1."""
    before, size, after = value.shape[:at], value.shape[at], value.shape[at + 2 :]
    pads = [(0, 0)] * value.ndim
    pads[at + 1] = (0, size)
    value = jnp.pad(lax.rev(value, (at + 1,)), pads).reshape(*before, 2 * size * size, *after)
    value = lax.slice_in_dim(value, 0, size * (2 * size - 1), axis=at)
    return value.reshape(*before, size, 2 * size - 1, *after)


def _unshear(value: Array, at: int) -> Array:
    before, size, after = value.shape[:at], value.shape[at], value.shape[at + 2 :]
    value = value.reshape(*before, size * (2 * size - 1), *after)
    pads = [(0, 0)] * value.ndim
    pads[at] = (0, size)
    value = jnp.pad(value, pads).reshape(*before, size, 2 * size, *after)
    return lax.rev(lax.slice_in_dim(value, 0, size, axis=at + 1), (at + 1,))


def along_diagonals(value: Array, v: np.ndarray, rank: int, operator: Operator | None) -> Array:
    """sum_s v(s) K(t - s, t' - s).

    Args:
      value: (p_1, q_1, .., *batch) of a full block.
      v: (2 L_1 - 1, ..), of every signed lag -(L - 1) .. L - 1.
      rank: spatial axes.
      operator: convolves (rows, 1, L) with a filter, as `kernels_pallas.long_conv`; rank 1 alone.
    """
    columns = sheared(lax.optimization_barrier(value), rank)
    return unsheared(convolved(columns, v, rank, operator), rank)


def convolved(value: Array, v: np.ndarray, rank: int, operator: Operator | None) -> Array:
    """sum_s v(s) x(t - s) along the first `rank` axes of x; arguments as `along_diagonals`."""
    space = value.shape[:rank]
    if operator is not None:
        (size,) = space
        rows = jnp.moveaxis(value, 0, -1)
        past, future = two_sided(jnp.asarray(v, value.dtype), size)
        out = operator(rows.reshape(-1, 1, size), past[None], k_future=_some(future, v, size))
        return jnp.moveaxis(out.reshape(rows.shape), -1, 0)
    if math.prod(space) > WHOLE:
        return _by_transforms(value, v, rank)
    matrix = jnp.asarray(toeplitz(v, space), value.dtype)
    flat = lax.optimization_barrier(value.reshape(len(matrix), -1))
    return jnp.matmul(matrix, flat, precision="highest").reshape(value.shape)


def two_sided(v: Array, size: int) -> tuple[Array, Array]:
    """Taps of lags 0 .. L - 1, and of -1 .. -(L - 1), from all on the last axis."""
    return v[..., size - 1 :], jnp.flip(v[..., : size - 1], -1)


def _some(future: Array, v: np.ndarray, size: int) -> Array | None:
    """Taps that look ahead, or None where all are zero."""
    return future[None] if np.any(v[: size - 1]) else None


def toeplitz(v: np.ndarray, space: tuple[int, ...]) -> np.ndarray:
    """(places, places): v of the lag from column to row."""
    lags = [np.subtract.outer(np.arange(n), np.arange(n)) + n - 1 for n in space]
    shaped = []
    for axis, lag in enumerate(lags):
        shape = [1] * (2 * len(space))
        shape[axis], shape[len(space) + axis] = lag.shape
        shaped.append(lag.reshape(shape))
    return v[tuple(shaped)].reshape(math.prod(space), math.prod(space))


def _by_transforms(value: Array, v: np.ndarray, rank: int) -> Array:
    """The same by Fourier transforms over the first `rank` axes."""
    space = value.shape[:rank]
    sizes, axes = tuple(fast_length(3 * n - 2) for n in space), tuple(range(-rank, 0))
    rows = jnp.moveaxis(value, range(rank), range(-rank, 0))
    taps = jnp.fft.rfftn(jnp.asarray(v, value.dtype), sizes, axes)
    out = jnp.fft.irfftn(jnp.fft.rfftn(rows, sizes, axes) * taps, sizes, axes)
    kept = tuple(slice(n - 1, 2 * n - 1) for n in space)
    return jnp.moveaxis(out[(..., *kept)], range(-rank, 0), range(rank))


def fast_length(size: int) -> int:
    """The next length 2^a or 3 2^a, whose transforms are fast."""
    power = 1 << (size - 1).bit_length()
    return 3 * power // 4 if 3 * power // 4 >= size else power


def over_planes(terms: list[tuple[Array, np.ndarray]]) -> Array:
    """The sum over terms (K, R) of sum_{s, s'} R(s, s') K(t - s, t' - s').

    Args:
      terms: K (p, q, *batch), and R (2 L - 1, 2 L - 1) of signed lags -(L - 1) .. L - 1.
    """
    size = terms[0][0].shape[0]
    causal = all(not r[: size - 1].any() and not r[:, : size - 1].any() for _, r in terms)
    low = size - 1 if causal else 0  # the first lag that is held
    long = fast_length(2 * size - 1 if causal else 3 * size - 2)
    total = None
    for value, r in terms:
        rows = jnp.fft.rfft2(jnp.moveaxis(value, (0, 1), (-2, -1)), (long, long))
        part = rows * jnp.fft.rfft2(jnp.asarray(r[low:, low:], value.dtype), (long, long))
        total = part if total is None else total + part
    assert total is not None
    start = 0 if causal else size - 1
    out = jnp.fft.irfft2(total, (long, long))[..., start : start + size, start : start + size]
    return jnp.moveaxis(out, (-2, -1), (0, 1))
