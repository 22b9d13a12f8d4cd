"""The kernel form of a long convolution, shared by every hand-written backend.

A backend offers two pure functions of static facts and planar operands,

    convolve(static, u, s_re, s_im, skip, pre_gate, post_gate) -> y
    adjoint(static, u, s_re, s_im, skip, pre_gate, post_gate, g)
        -> (du, ds_re, ds_im, dskip, dpre, dpost)

with u, gates, g and y of shape (batch, channels, length) and one dtype, skip float32 (channels,) or
None, gates or None, and the spectrum float32 (channels, size) in natural order. With
D[n] = exp(-i pi n / 2 size) when twisted, else 1, and x = pre * u padded with zeros to size:

    X = FFT(x D);    c = Re(conj(D) IFFT(X S))[:length];    y = post * (c + skip * x)
    gc = post * g;   G = FFT(gc D);   dx = Re(conj(D) IFFT(G conj(S)))[:length] + skip * gc
    du = pre * dx;   dpre = u * dx;   dpost = g * (c + skip * x);   dskip = sum_{b,t} gc x
    W = (1 / size) sum_b X conj(G);   ds_re = Re W,   ds_im = -Im W

The batch is summed in float32. `run` brings the operands of the public call to this form and makes
the pair differentiable (vjp.py). The filter's own transform stays plain jnp code: it is one signal
a channel beside the batch's many, and JAX differentiates it.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.lax import Precision

from kernels_pallas.long_conv import spectrum as spectra
from kernels_pallas.long_conv import vjp
from kernels_pallas.long_conv.fourier import half_fft
from kernels_pallas.long_conv.partition import partitioned
from kernels_pallas.long_conv.spectrum import Spectrum

SMALLEST, LARGEST = 256, 1 << 22  # points of the transform


class Static(NamedTuple):
    """The static facts of a convolution in kernel form."""

    batch: int
    channels: int
    length: int
    size: int  # points of the transform: a power of two >= length
    twisted: bool  # True: the half-length form. False: circular, length == size
    dtype: str  # of u, gates, g and y: "float32" | "bfloat16" | "float16"
    kept: int = 1  # frequency-sparse: only frequencies q with q mod blocks < kept are nonzero;
    blocks: int = 1  # powers of two, kept <= blocks <= 16. (1, 1) is dense
    precision: str | None = None  # of float32 dots: None or "highest", "high", "default"
    interpret: bool = False


class Tile(NamedTuple):
    """How a backend cuts its work; every backend has a heuristic for one."""

    batch_tile: int  # signals a program loops over
    factors: tuple[int, ...]  # of the transform in one program, two or three
    warps: int = 4
    stages: int = 1


@partial(
    jax.jit,
    static_argnames=(
        "backend_convolve",
        "backend_adjoint",
        "mode",
        "layout",
        "precision",
        "interpret",
    ),
)
def run(
    backend_convolve,
    backend_adjoint,
    u: Array,
    k: Array | Spectrum,
    k_future: Array | None,
    skip: Array | None,
    pre_gate: Array | None,
    post_gate: Array | None,
    *,
    mode: str,
    layout: str,
    precision: str | Precision | None = None,
    interpret: bool = False,
) -> Array:
    """The long convolution by a backend's pair; operands as `long_conv`, already checked.

    Signals of different dtypes are computed in float32, so that no operand loses bits.
    """
    signals = [a for a in (u, pre_gate, post_gate) if a is not None]
    dtype = signals[0].dtype
    if any(a.dtype != dtype for a in signals):
        dtype = jnp.dtype("float32")

    def channels_first(a: Any) -> Any:
        if a is None:
            return None
        return (a if layout == "BCL" else a.swapaxes(1, 2)).astype(dtype)

    x, pre, post = channels_first(u), channels_first(pre_gate), channels_first(post_gate)
    batch, channels, length = x.shape
    s_re, s_im, kept, blocks = kernel_spectrum(k, k_future, length, mode)
    static = Static(
        batch=batch,
        channels=channels,
        length=length,
        size=s_re.shape[-1],
        twisted=mode != "circular",
        dtype=str(dtype),
        kept=kept,
        blocks=blocks,
        precision=_precision_name(precision),
        interpret=interpret,
    )
    weight = None if skip is None else skip.astype(jnp.float32)
    pair = backend_convolve, backend_adjoint
    # The interpreters call back in order, which custom_partitioning does not allow.
    backend = vjp.Backend(*(pair if interpret else partitioned(*pair)))
    y: Any = vjp.convolve(backend, static, x, s_re, s_im, weight, pre, post)
    y = y.astype(u.dtype)
    return y if layout == "BCL" else y.swapaxes(1, 2)


def _precision_name(precision: str | Precision | None) -> str | None:
    return precision.name.lower() if isinstance(precision, Precision) else precision


def kernel_spectrum(
    k: Array | Spectrum, k_future: Array | None, length: int, mode: str
) -> tuple[Array, Array, int, int]:
    """(s_re, s_im, kept, blocks): the filter's transform at the kernels' size, natural order."""
    size = transform_size(length)
    if isinstance(k, Spectrum):
        ready = _ready(k, size, mode)
        if ready is not None:
            ready = ready.astype(jnp.complex64)
            kept, blocks = (k.kept, k.blocks) if k.kept < k.blocks else (1, 1)
            return ready.real, ready.imag, kept, blocks
        past, k_future = spectra.taps_of(k)
    else:
        past = k
    past = past.astype(jnp.float32)
    if mode == "circular":
        values = jnp.fft.fft(past, size)
        return values.real, values.imag, 1, 1
    future = None if k_future is None else k_future.astype(jnp.float32)
    values = spectra.both_sides(lambda taps: half_fft(taps, size), past, future, length)
    return values.real, values.imag, 1, 1


def _ready(k: Spectrum, size: int, mode: str) -> Array | None:
    """A spectrum's values in natural order at `size`, None where they must be made from taps."""
    if k.size != size:
        return None
    if k.ordering in ("half", "lanes"):
        return spectra.natural(k)
    if mode == "circular":  # real: the upper half is the conjugate of the lower one
        return jnp.concatenate([k.values, k.values[:, -2:0:-1].conj()], axis=1)
    return None


def transform_size(length: int) -> int:
    """Points of the transform: the next power of two >= `length`, at least 256."""
    return max(SMALLEST, 1 << (length - 1).bit_length())


def unsupported(call: Any) -> str | None:
    """Why no backend in kernel form can serve a call (an `api.Call`), None when they can."""
    if call.dtype == "float64":
        return "u is float64; the kernels compute in float32 at most"
    if call.batch == 0 or call.channels == 0:
        return f"u has batch {call.batch} and {call.channels} channels; both must be >= 1"
    if call.length > LARGEST:
        return f"length {call.length} is above {LARGEST}"
    if call.mode == "circular" and transform_size(call.length) != call.length:
        return f"circular at length {call.length}; the kernels take powers of two >= {SMALLEST}"
    return None


__all__ = ["Static", "Tile", "kernel_spectrum", "run", "transform_size", "unsupported"]
