"""The long convolution in plain JAX: the default everywhere, differentiable in every mode.

Three forms (see config.py): shift-and-add for few taps, a real FFT, the half-length FFT. All are
plain jnp code, so jvp, vjp, vmap and their compositions need no rule of their own. The one
exception is an evaluation on CPU that nobody differentiates: there `_filtered` walks over blocks of
channels, which keeps the complex temporaries in cache; its JVP rule is that of the plain form, so
every derivative is still derived by JAX from plain code.

Numerics: 16-bit inputs are transformed in float32. One transform each way; relative L2 error about
2e-7 in float32. A NaN or Inf in a signal reaches all of that signal's outputs, the past included.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from kernels_pallas.long_conv import config
from kernels_pallas.long_conv.spectrum import (
    Spectrum,
    half_fft,
    half_ifft,
    real_fft,
    real_ifft,
    transform,
)
from kernels_pallas.validate import compute_dtype


@partial(jax.jit, static_argnames=("mode", "layout"))
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
) -> Array:
    """The long convolution; arguments as `long_conv`, already checked."""
    dtype = compute_dtype(u.dtype)
    x = u.astype(dtype) if pre_gate is None else u.astype(dtype) * pre_gate.astype(dtype)
    y = _convolve(x, k, k_future, mode, layout)
    if skip is not None:
        weight = skip.astype(dtype)
        y = y + (weight[:, None] if layout == "BCL" else weight) * x
    return (y if post_gate is None else y * post_gate.astype(dtype)).astype(u.dtype)


def _convolve(
    x: Array, k: Array | Spectrum, k_future: Array | None, mode: str, layout: str
) -> Array:
    """conv(k, x) in x's layout and dtype, by the form that config chooses."""
    if x.size == 0:
        return jnp.zeros_like(x)
    if isinstance(k, Spectrum):
        spectrum = k
    else:
        k = k.astype(x.dtype)
        k_future = None if k_future is None else k_future.astype(x.dtype)
        if config.use_shifts(k.shape[-1], 0 if k_future is None else k_future.shape[-1]):
            return shifts(x, k, k_future, mode, axis=2 if layout == "BCL" else 1)
        length = x.shape[2 if layout == "BCL" else 1]
        spectrum = transform(k, k_future, length, mode)
    values = spectrum.values.astype(jnp.promote_types(spectrum.values.dtype, x.dtype))
    x = x if layout == "BCL" else x.swapaxes(1, 2)
    y = _filtered(spectrum.ordering, spectrum.size, x, values)
    return y if layout == "BCL" else y.swapaxes(1, 2)


def shifts(x: Array, k: Array, k_future: Array | None, mode: str, axis: int) -> Array:
    """The convolution as a sum of shifted copies of x along `axis`, one a tap."""
    length = x.shape[axis]
    past = k.shape[-1] - 1
    ahead = 0 if k_future is None else min(k_future.shape[-1], length - 1)
    taps = [k[:, s] for s in range(past, -1, -1)]
    if k_future is not None:
        taps += [k_future[:, s] for s in range(ahead)]
    if mode == "circular":
        tail = lax.slice_in_dim(x, length - past, length, axis=axis)
        padded = lax.concatenate([tail, x], axis)
    else:
        widths = [(0, 0)] * x.ndim
        widths[axis] = (past, ahead)
        padded = jnp.pad(x, widths)
    shape = (-1, 1) if axis == 2 else (-1,)
    terms = [
        tap.reshape(shape) * lax.slice_in_dim(padded, start, start + length, axis=axis)
        for start, tap in enumerate(taps)
    ]
    return sum(terms[1:], terms[0])


def _plain(ordering: str, size: int, x: Array, values: Array) -> Array:
    """x (batch, channels, length) filtered by a spectrum (channels, frequencies): the whole maths."""
    if ordering == "half":
        return half_ifft(half_fft(x, size) * values, size, x.shape[-1])
    return real_ifft(real_fft(x, size) * values, size, x.shape[-1])


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _filtered(ordering: str, size: int, x: Array, values: Array) -> Array:
    """`_plain`, block by block over channels when run on CPU and not differentiated."""
    batch, channels, _ = x.shape
    block = config.channel_block(batch, channels, size, values.dtype.itemsize)
    plain = partial(_plain, ordering, size)
    if block == channels:
        return plain(x, values)
    return lax.platform_dependent(x, values, cpu=partial(_blocked, plain, block), default=plain)


@_filtered.defjvp
def _filtered_jvp(ordering, size, primals, tangents):  # pyright: ignore
    return jax.jvp(partial(_plain, ordering, size), primals, tangents)


def _blocked(plain, block: int, x: Array, values: Array) -> Array:
    """`plain` over one block of channels after another, written into one result."""

    def body(i: Array, y: Array) -> Array:
        x_i = lax.dynamic_slice_in_dim(x, i * block, block, axis=1)
        values_i = lax.dynamic_slice_in_dim(values, i * block, block, axis=0)
        return lax.dynamic_update_slice_in_dim(y, plain(x_i, values_i), i * block, axis=1)

    return lax.fori_loop(0, x.shape[1] // block, body, jnp.zeros_like(x))


__all__ = ["forward", "shifts"]
