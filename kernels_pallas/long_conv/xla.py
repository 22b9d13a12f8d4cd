"""The long convolution in plain JAX: the default everywhere, differentiable in every mode.

Three forms (config.py chooses): shift-and-add for few taps, a real FFT, the half-length FFT, all in
plain jnp code. Two faster ways to the same value are slow to differentiate: on CPU, a walk over
blocks of channels, which keeps the complex temporaries in cache; and shift-and-add from 9 taps up.
Each of the two is a `custom_jvp` whose rule is the JVP of the plain transform, so JAX derives every
derivative (jvp, vjp, vmap, of any order) from plain code.

Numerics: 16-bit inputs are transformed in float32. One transform each way; relative L2 error about
2e-7 in float32. A NaN or Inf in a signal reaches all of that signal's outputs, the past included.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_derivatives import SymbolicZero

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
    axis = 2 if layout == "BCL" else 1
    if isinstance(k, Spectrum):
        return _by_spectrum(x, k, axis)
    k = k.astype(x.dtype)
    k_future = None if k_future is None else k_future.astype(x.dtype)
    counts = k.shape[-1], 0 if k_future is None else k_future.shape[-1]
    if config.use_shifts(*counts, differentiated=True):
        return shifts(mode, axis, x, k, k_future)
    if config.use_shifts(*counts, differentiated=False):
        return _shifts_or_fft(mode, axis, x, k, k_future)
    return _by_fft(mode, axis, x, k, k_future)


def shifts(mode: str, axis: int, x: Array, k: Array, k_future: Array | None) -> Array:
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


def _by_fft(mode: str, axis: int, x: Array, k: Array, k_future: Array | None) -> Array:
    """The convolution along `axis` by the transform that config chooses."""
    return _by_spectrum(x, transform(k, k_future, x.shape[axis], mode), axis)


def _by_spectrum(x: Array, spectrum: Spectrum, axis: int) -> Array:
    """x filtered along `axis` by a spectrum of its own precision or less."""
    values = spectrum.values.astype(jnp.promote_types(spectrum.values.dtype, x.dtype))
    filtered = partial(_filtered, spectrum.ordering, spectrum.size)
    if axis == 2:
        return filtered(x, values)
    return filtered(x.swapaxes(1, 2), values).swapaxes(1, 2)


_shifts_or_fft = jax.custom_jvp(shifts, nondiff_argnums=(0, 1))


def _shifts_or_fft_jvp(mode, axis, primals, tangents):
    return _jvp(partial(_by_fft, mode, axis), primals, tangents)


_shifts_or_fft.defjvp(_shifts_or_fft_jvp, symbolic_zeros=True)


def _plain(ordering: str, size: int, x: Array, values: Array) -> Array:
    """x (batch, channels, length) filtered by a spectrum (channels, frequencies)."""
    if ordering == "half":
        return half_ifft(half_fft(x, size) * values, size, x.shape[-1])
    return real_ifft(real_fft(x, size) * values, size, x.shape[-1])


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _filtered(ordering: str, size: int, x: Array, values: Array) -> Array:
    """`_plain`, block by block over channels when run on CPU and not differentiated."""
    batch, channels, _ = x.shape
    block = config.channel_block(ordering, batch, channels, size, values.dtype.itemsize)
    plain = partial(_plain, ordering, size)
    if block == channels:
        return plain(x, values)
    return lax.platform_dependent(x, values, cpu=partial(_blocked, plain, block), default=plain)


def _filtered_jvp(ordering, size, primals, tangents):
    return _jvp(partial(_plain, ordering, size), primals, tangents)


_filtered.defjvp(_filtered_jvp, symbolic_zeros=True)


def _jvp(f, primals, tangents):
    """`jax.jvp(f, primals, tangents)`, with no work for arguments that do not move."""
    moving = [
        i
        for i, tangent in enumerate(tangents)
        if tangent is not None and not isinstance(tangent, SymbolicZero)
    ]

    def of_moving(*values):
        arguments = list(primals)
        for i, value in zip(moving, values, strict=True):
            arguments[i] = value
        return f(*arguments)

    return jax.jvp(of_moving, [primals[i] for i in moving], [tangents[i] for i in moving])


def _blocked(plain, block: int, x: Array, values: Array) -> Array:
    """`plain` over one block of channels after another, written into one result."""

    def body(i: Array, y: Array) -> Array:
        x_i = lax.dynamic_slice_in_dim(x, i * block, block, axis=1)
        values_i = lax.dynamic_slice_in_dim(values, i * block, block, axis=0)
        return lax.dynamic_update_slice_in_dim(y, plain(x_i, values_i), i * block, axis=1)

    return lax.fori_loop(0, x.shape[1] // block, body, jnp.zeros_like(x))


__all__ = ["forward", "shifts"]
