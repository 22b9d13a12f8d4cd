"""The long convolution in plain JAX: the default everywhere, differentiable in every mode.

Three forms (config.py chooses): shift-and-add for few taps, a real FFT, the half-length FFT. The
two by transform are one operation (blocks.py) that JAX differentiates in every mode through rules
of our own (bilinear.py): plain jnp code everywhere, on CPU a walk over blocks of channels, forward
and backward, which keeps the complex temporaries in cache and saves nothing but its inputs. From 9
taps up shift-and-add is fast to evaluate and slow to differentiate, so it is a `custom_jvp` whose
rule is the JVP of the transform.

Bytes moved: the walk reads the inputs and writes the result once, plus what gates and skip cost as
passes of their own; plain code on an accelerator also writes and reads each complex temporary.

Numerics: 16-bit inputs are transformed in float32. One transform each way; relative L2 error about
2e-7 in float32. A NaN or Inf in a signal reaches all of that signal's outputs, the past included.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_derivatives import SymbolicZero

from kernels_pallas.long_conv import bilinear, blocks, config
from kernels_pallas.long_conv.bilinear import Bilinear
from kernels_pallas.long_conv.spectrum import Spectrum
from kernels_pallas.validate import compute_dtype


@partial(jax.jit, static_argnames=("mode", "layout", "precision"))
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
    """The long convolution; arguments as `long_conv`, already checked."""
    del precision  # an FFT has one
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
        return _apply(blocks.of_spectrum(k), axis, x, (k.values,))
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
    chosen = config.plan(
        x.shape[axis], k.shape[-1], 0 if k_future is None else k_future.shape[-1], mode
    )
    f = (k,) if k_future is None else (k, k_future)
    return _apply(blocks.of_taps(chosen.form, chosen.size), axis, x, f)


def _apply(operation: Bilinear, axis: int, x: Array, f: tuple[Array, ...]) -> Array:
    """The operation along `axis`."""
    if axis == 1:
        return _apply(operation, 2, x.swapaxes(1, 2), f).swapaxes(1, 2)
    if jax.sharding.get_abstract_mesh().explicit_axes:  # shardings in types: plain code has rules
        return operation.plain(operation.facts, x, *f)
    return bilinear.apply(operation, x, f)


_shifts_or_fft = jax.custom_jvp(shifts, nondiff_argnums=(0, 1))


def _shifts_or_fft_jvp(mode, axis, primals, tangents):
    return _jvp(partial(_by_fft, mode, axis), primals, tangents)


_shifts_or_fft.defjvp(_shifts_or_fft_jvp, symbolic_zeros=True)


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


__all__ = ["forward", "shifts"]
