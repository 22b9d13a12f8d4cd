"""The transform of a filter, computed once and used for many inputs.

Half-length form, size M >= length, D[n] = exp(-i pi n / 2M):

    F~k[q] = sum_n k[n] D[n] exp(-2 pi i n q / M),     S = F~k + conj(F~k'),  k'[s] = k_future[s-1]

Real form: the real FFT of k at size M, plus the conjugate of that of k'. Both are derived in
docs/long_conv.md. The taps can be read back from either, see `taps_of`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from kernels_pallas.long_conv.config import plan

TABLE_LIMIT = 4096  # longer twiddles are built in the program from two short tables


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Spectrum:
    """A filter's transform, accepted by `long_conv` as `k`: a pytree with one leaf.

    Attributes:
      values: complex (channels, frequencies).
      length: points of the signals it serves.
      mode: "causal" or "circular".
      taps: taps on the present and past that it was made from.
      future_taps: taps on the future that it was made from, 0 for none.
      ordering: "half" or "real", which transform `values` belongs to.
      size: points of that transform.
    """

    values: Array
    length: int = field(metadata={"static": True})
    mode: str = field(metadata={"static": True})
    taps: int = field(metadata={"static": True})
    future_taps: int = field(metadata={"static": True})
    ordering: str = field(metadata={"static": True})
    size: int = field(metadata={"static": True})


def transform(k: Array, k_future: Array | None, length: int, mode: str) -> Spectrum:
    """The spectrum of checked taps of a compute dtype (float32 or float64)."""
    taps, future_taps = k.shape[-1], 0 if k_future is None else k_future.shape[-1]
    chosen = plan(length, taps, future_taps, mode)
    forward = half_fft if chosen.form == "half" else real_fft
    values = forward(k, chosen.size)
    if k_future is not None and length > 1:
        reached = k_future[:, : length - 1]  # a tap `length` steps ahead meets no input
        values = values + forward(jnp.pad(reached, ((0, 0), (1, 0))), chosen.size).conj()
    return Spectrum(values, length, mode, taps, future_taps, chosen.form, chosen.size)


def taps_of(spectrum: Spectrum) -> tuple[Array, Array | None]:
    """The taps (k, k_future) that a spectrum was made from; k_future is None when it had none."""
    if spectrum.ordering == "half":
        cos, sin = twiddle(spectrum.size, spectrum.values.real.dtype)
        z = jnp.fft.ifft(spectrum.values)
        past, ahead = cos * z.real - sin * z.imag, cos * z.imag + sin * z.real
    else:
        past = ahead = jnp.fft.irfft(spectrum.values, spectrum.size)
    if spectrum.future_taps == 0:
        return past[:, : spectrum.taps], None
    reached = min(spectrum.future_taps, spectrum.length - 1)
    future = ahead[:, spectrum.size - reached :][:, ::-1]
    return past[:, : spectrum.taps], jnp.pad(future, ((0, 0), (0, spectrum.future_taps - reached)))


def half_fft(x: Array, size: int) -> Array:
    """F~x: the complex FFT of `size` points of x * D, for real x of at most `size` points."""
    cos, sin = twiddle(size, x.dtype)
    n = x.shape[-1]
    z = lax.complex(x * cos[:n], -x * sin[:n])
    return _rows(lambda rows: jnp.fft.fft(rows, size), z)


def half_ifft(z: Array, size: int, length: int) -> Array:
    """Re(conj(D) IFFT(z)), the first `length` of `size` points."""
    cos, sin = twiddle(size, z.real.dtype)
    w = _rows(jnp.fft.ifft, z)[..., :length]
    return cos[:length] * w.real - sin[:length] * w.imag


def real_fft(x: Array, size: int) -> Array:
    """The real FFT of `size` points, for x of at most `size` points."""
    return _rows(lambda rows: jnp.fft.rfft(rows, size), x)


def real_ifft(z: Array, size: int, length: int) -> Array:
    """The first `length` points of the real inverse FFT of `size` points."""
    return _rows(lambda rows: jnp.fft.irfft(rows, size), z)[..., :length]


def _rows(fft: Callable[[Array], Array], z: Array) -> Array:
    """`fft` over the last axis; before JAX 0.12, of z flattened to a matrix.

    There, a jit over sharded arrays gathers the operand of an FFT, and on CPU the gathered array
    may have a memory layout that the FFT rejects (an internal RET_CHECK failure; a bare
    jnp.fft.rfft meets it too). A matrix keeps its layout. From 0.12 on an FFT is partitioned over
    its other axes, which flattening would prevent.
    """
    if jax.__version_info__ >= (0, 12):
        return fft(z)
    rows = fft(z.reshape(math.prod(z.shape[:-1]), z.shape[-1]))
    return rows.reshape(*z.shape[:-1], rows.shape[-1])


def twiddle(size: int, dtype: jnp.dtype) -> tuple[Array, Array]:
    """cos(pi n / 2 size) and sin(pi n / 2 size), n < size, accurate to rounding in `dtype`.

    Short tables are float64 cosines rounded once. A long one is the product of two tables of about
    sqrt(size) entries, exp(i a (p R + r)) = exp(i a p R) exp(i a r), so that a program carries no
    large constant; its error is that of one complex product.
    """
    step = np.pi / (2 * size)
    if size <= TABLE_LIMIT:
        angle = step * np.arange(size)
        return jnp.asarray(np.cos(angle), dtype), jnp.asarray(np.sin(angle), dtype)
    inner = 1 << ((size - 1).bit_length() // 2)
    outer = -(-size // inner)
    coarse, fine = step * inner * np.arange(outer)[:, None], step * np.arange(inner)
    cos_p, sin_p = jnp.asarray(np.cos(coarse), dtype), jnp.asarray(np.sin(coarse), dtype)
    cos_r, sin_r = jnp.asarray(np.cos(fine), dtype), jnp.asarray(np.sin(fine), dtype)
    cos = (cos_p * cos_r - sin_p * sin_r).reshape(-1)[:size]
    sin = (sin_p * cos_r + cos_p * sin_r).reshape(-1)[:size]
    return cos, sin


__all__ = ["Spectrum", "taps_of", "transform"]
