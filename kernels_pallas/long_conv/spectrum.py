"""The transform of a filter, computed once and used for many inputs.

Half-length form, size M >= length, D[n] = exp(-i pi n / 2M):

    F~k[q] = sum_n k[n] D[n] exp(-2 pi i n q / M),     S = F~k + conj(F~k'),  k'[s] = k_future[s-1]

Real form: the real FFT of k at size M, plus the conjugate of that of k'. Both are derived in
docs/long_conv.md. The taps can be read back from either, see `taps_of`.

Frequency-sparse: with R = blocks (a power of two that divides M), only the frequencies q with
q mod R < kept are kept; the others are zero by definition, and are neither stored nor computed:

    values[c, q1, q2] = S[q1 + R q2],   q1 < kept
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jax import Array

from kernels_pallas.long_conv.config import plan
from kernels_pallas.long_conv.fourier import half_fft, lanes, real_fft, split, twiddle


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Spectrum:
    """A filter's transform, accepted by `long_conv` as `k`: a pytree with one leaf.

    Attributes:
      values: complex (channels, frequencies); (channels, kept, size // blocks) in "lanes".
      length: points of the signals it serves.
      mode: "causal" or "circular".
      taps: taps on the present and past that it was made from.
      future_taps: taps on the future that it was made from, 0 for none.
      ordering: "half" or "real", which transform `values` belongs to; "lanes", the half-length one
        with only `kept` of `blocks` frequencies, in the order above.
      size: points of that transform.
      kept: frequencies kept in every run of `blocks`; 1 of 1 when all are.
      blocks: R above.
    """

    values: Array
    length: int = field(metadata={"static": True})
    mode: str = field(metadata={"static": True})
    taps: int = field(metadata={"static": True})
    future_taps: int = field(metadata={"static": True})
    ordering: str = field(metadata={"static": True})
    size: int = field(metadata={"static": True})
    kept: int = field(default=1, metadata={"static": True})
    blocks: int = field(default=1, metadata={"static": True})


def transform(k: Array, k_future: Array | None, length: int, mode: str) -> Spectrum:
    """The spectrum of checked taps of a compute dtype (float32 or float64)."""
    taps, future_taps = k.shape[-1], 0 if k_future is None else k_future.shape[-1]
    chosen = plan(length, taps, future_taps, mode)
    forward = half_fft if chosen.form == "half" else real_fft
    values = both_sides(lambda taps: forward(taps, chosen.size), k, k_future, length)
    return Spectrum(values, length, mode, taps, future_taps, chosen.form, chosen.size)


def sparse_transform(
    k: Array, k_future: Array | None, length: int, kept: int, blocks: int
) -> Spectrum:
    """The frequency-sparse spectrum of checked taps, at the next power of two.

    Leaving frequencies out spreads the filter over all lags, past and future, so that is what the
    result says of its taps.
    """
    size = max(1 << (length - 1).bit_length(), blocks)
    outer = lanes(size, blocks, k.dtype, kept)
    values = both_sides(lambda taps: jnp.stack(split(outer, taps), axis=1), k, k_future, length)
    return Spectrum(values, length, "causal", length, length, "lanes", size, kept, blocks)


def both_sides(
    forward: Callable[[Array], Array], k: Array, k_future: Array | None, length: int
) -> Array:
    """S = F(k) + conj(F(k')) for a transform F of taps."""
    values, delayed = forward(k), delay(k_future, length)
    return values if delayed is None else values + forward(delayed).conj()


def delay(k_future: Array | None, length: int) -> Array | None:
    """k'[s] = k_future[s-1], k'[0] = 0, without the taps that meet no input; None for no taps."""
    if k_future is None or length == 1:
        return None
    return jnp.pad(k_future[:, : length - 1], ((0, 0), (1, 0)))


def natural(spectrum: Spectrum) -> Array:
    """The values of a spectrum in the order of the frequencies, zeros included."""
    if spectrum.ordering != "lanes":
        return spectrum.values
    absent = spectrum.blocks - spectrum.kept
    rows = jnp.pad(spectrum.values, ((0, 0), (0, absent), (0, 0)))
    return rows.swapaxes(1, 2).reshape(rows.shape[0], spectrum.size)


def taps_of(spectrum: Spectrum) -> tuple[Array, Array | None]:
    """The taps (k, k_future) that a spectrum stands for; k_future is None when it has none.

    They are the taps it was made from, or for a frequency-sparse one those that it filters with.
    """
    if spectrum.ordering == "real":
        past = ahead = jnp.fft.irfft(spectrum.values, spectrum.size)
    else:
        cos, sin = twiddle(spectrum.size, spectrum.values.real.dtype)
        z = jnp.fft.ifft(natural(spectrum))
        past, ahead = cos * z.real - sin * z.imag, cos * z.imag + sin * z.real
    if spectrum.future_taps == 0:
        return past[:, : spectrum.taps], None
    reached = min(spectrum.future_taps, spectrum.length - 1)
    future = ahead[:, spectrum.size - reached :][:, ::-1]
    return past[:, : spectrum.taps], jnp.pad(future, ((0, 0), (0, spectrum.future_taps - reached)))


__all__ = ["Spectrum", "both_sides", "delay", "natural", "sparse_transform", "taps_of", "transform"]
