"""The public long convolution: check the call, choose an implementation, run it."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.lax import Precision
from jaxtyping import Float

from kernels_pallas import dispatch, validate
from kernels_pallas.long_conv import spectrum as spectra
from kernels_pallas.long_conv.spectrum import Spectrum


def _backend(name: str) -> dispatch.Implementation:
    module = f"kernels_pallas.long_conv.{name}"
    return dispatch.Implementation(dispatch.refused_by(module), module)


# Best first, as far as measured: no device has timed the Pallas kernels yet, so they run when they
# are named, and "xla" is the choice for everything else.
IMPLEMENTATIONS: dispatch.Table = {
    "xla": dispatch.Implementation(dispatch.always, "kernels_pallas.long_conv.xla"),
    "mosaic_gpu": _backend("mosaic_gpu"),
    "triton": _backend("triton"),
    "mosaic_tpu": _backend("mosaic_tpu"),
    "reference": dispatch.Implementation(dispatch.always, "kernels_pallas.long_conv.reference"),
}
MODES = ("causal", "circular")
LAYOUTS = ("BCL", "BLC")


class Call(NamedTuple):
    """The static facts of a call, from which an implementation is chosen."""

    batch: int
    channels: int
    length: int
    taps: int
    future_taps: int
    dtype: str
    mode: str
    layout: str
    has_spectrum: bool
    has_skip: bool
    has_pre_gate: bool
    has_post_gate: bool
    one_dtype: bool = True  # u and the gates have the same
    kept: int = 1  # frequencies kept of every run of `blocks`, of a frequency-sparse Spectrum
    blocks: int = 1


def long_conv(
    u: Float[Array, "batch channels length"] | Float[Array, "batch length channels"],
    k: Float[Array, "channels taps"] | Spectrum,
    *,
    k_future: Float[Array, "channels future"] | None = None,
    skip: Float[Array, "channels"] | None = None,
    pre_gate: Float[Array, "batch _ _"] | None = None,
    post_gate: Float[Array, "batch _ _"] | None = None,
    mode: str = "causal",
    layout: str = "BCL",
    implementation: str | None = None,
    precision: str | Precision | None = None,
) -> Float[Array, "batch _ _"]:
    """Convolve every channel with its own long filter, with optional gates and skip.

        x = pre_gate * u
        y[b,c,t] = post_gate[b,c,t] * ( sum_{s>=0} k[c,s] x[b,c,t-s]
                                        + sum_{s>=1} k_future[c,s-1] x[b,c,t+s]
                                        + skip[c] x[b,c,t] )

    Causal: x is zero outside 0..length-1. Circular: t-s is taken modulo length, and k is padded
    with zeros to length. The default implementation computes by FFT: causality holds to rounding
    (1e-6 of max|y| in float32), and a NaN or Inf in a signal reaches all of that signal's outputs,
    earlier ones too. "xla" and "reference" are differentiable in every mode; the Pallas kernels in
    reverse mode, to any order.

    Args:
      u: the signals, (batch, channels, length), or (batch, length, channels) with layout "BLC".
        Any length from 1, no batch is allowed. float16, bfloat16, float32 or float64.
      k: the taps (channels, taps), 1 <= taps <= length; or a `Spectrum` from `long_conv_spectrum`
        or `long_conv_sparse_spectrum`.
      k_future: taps on the future (channels, 1 to length); column s-1 weighs the input s steps
        ahead. With mode "causal" only; None with a `Spectrum`, which holds its own.
      skip: (channels,), the weight of the input itself.
      pre_gate: shape of u, multiplies u before the convolution.
      post_gate: shape of u, multiplies the result.
      mode: "causal" or "circular".
      layout: "BCL" or "BLC", the axes of u, the gates and the result; k, k_future and skip keep
        their shape.
      implementation: None for the best that supports the call (by what has been measured so far
        that is "xla"), or by name: "xla" (any platform), "reference" (the definition), "mosaic_gpu"
        (NVIDIA Hopper, 16-bit), "triton" (NVIDIA GPUs), "mosaic_tpu" (TPUs).
      precision: None, "default", "high", "highest" or a `jax.lax.Precision`, of float32 products on
        matrix units, so of "triton" and "mosaic_tpu"; None means the highest. The other
        implementations have one precision.

    Returns:
      y, in the shape, layout and dtype of u. float64 is computed in float64, everything narrower in
      float32. The other operands may have any floating dtype that is no wider than that; a float64
      operand beside a narrower u raises.

    Raises:
      TypeError: an operand is no array, is not floating, or is wider than u is computed in.
      ValueError: a shape, an option, a `Spectrum` made for another length or mode, or a named
        implementation that cannot serve the call; the message says why. A Pallas kernel lowered for
        a platform that is not its own is refused by JAX ("Only interpret mode is supported on CPU
        backend").

    Reference: Fu et al. 2023, "FlashFFTConv"; Fu et al. 2023, "Simple Hardware-Efficient Long
    Convolutions", Eq. 1; Poli et al. 2023, "Hyena Hierarchy", Eq. 4 (gates).
    """
    validate.one_of("mode", mode, MODES)
    validate.one_of("layout", layout, LAYOUTS)
    validate.precision_accepted(precision)
    u = validate.float_array(
        "u",
        u,
        ("batch", "channels", "length") if layout == "BCL" else ("batch", "length", "channels"),
    )
    batch, channels, length = u.shape if layout == "BCL" else (u.shape[0], u.shape[2], u.shape[1])
    if length < 1:
        raise ValueError(
            f"u has length 0 (shape {u.shape}, layout {layout!r}); length must be >= 1"
        )
    future: Array | None = None
    if isinstance(k, Spectrum):
        _check_spectrum(k, u, channels, length, mode)
        if k_future is not None:
            raise ValueError(
                "k_future must be None when k is a Spectrum; give k_future to long_conv_spectrum"
            )
        taps, future_taps = k.taps, k.future_taps
    else:
        k, future = _check_taps(k, k_future, channels, length, mode)
        validate.not_wider("k", k.dtype, u.dtype)
        if future is not None:
            validate.not_wider("k_future", future.dtype, u.dtype)
        taps, future_taps = k.shape[1], 0 if future is None else future.shape[1]
    if skip is not None:
        skip = validate.float_array("skip", skip, ("channels",))
        validate.shape_is("skip", skip, (channels,), "one weight a channel of u")
        validate.not_wider("skip", skip.dtype, u.dtype)
    pre_gate = _check_gate("pre_gate", pre_gate, u)
    post_gate = _check_gate("post_gate", post_gate, u)
    call = Call(
        batch=batch,
        channels=channels,
        length=length,
        taps=taps,
        future_taps=future_taps,
        dtype=str(u.dtype),
        mode=mode,
        layout=layout,
        has_spectrum=isinstance(k, Spectrum),
        has_skip=skip is not None,
        has_pre_gate=pre_gate is not None,
        has_post_gate=post_gate is not None,
        one_dtype=all(gate is None or gate.dtype == u.dtype for gate in (pre_gate, post_gate)),
        kept=k.kept if isinstance(k, Spectrum) else 1,
        blocks=k.blocks if isinstance(k, Spectrum) else 1,
    )
    name = dispatch.choose("long_conv", IMPLEMENTATIONS, call, implementation)
    forward = dispatch.load(IMPLEMENTATIONS, name)
    return forward(
        u, k, future, skip, pre_gate, post_gate, mode=mode, layout=layout, precision=precision
    )


def long_conv_spectrum(
    k: Float[Array, "channels taps"],
    length: int,
    *,
    mode: str = "causal",
    k_future: Float[Array, "channels future"] | None = None,
) -> Spectrum:
    """Transform a filter once, to be given to `long_conv` as `k` for many inputs.

    Causal: S = F~k + conj(F~k'), k'[s] = k_future[s-1], or the real FFT when the taps are few
    enough for that to be shorter. Circular: the real FFT at `length`. See docs/long_conv.md.

    Args:
      k: the taps (channels, taps), 1 <= taps <= length, floating.
      length: points of the signals it will serve, at least 1.
      mode: "causal" or "circular".
      k_future: taps on the future (channels, 1 to length), with mode "causal" only.

    Returns:
      A `Spectrum`: complex64 values, complex128 when a tap array is float64. Differentiable.

    Raises:
      TypeError: k or k_future is no floating array, or length is no int.
      ValueError: a shape or an option.
    """
    taps, future = _filter_to_transform(k, k_future, length, mode)
    return spectra.transform(taps, future, length, mode)


def long_conv_sparse_spectrum(
    k: Float[Array, "channels taps"],
    length: int,
    *,
    kept: int,
    blocks: int = 16,
    k_future: Float[Array, "channels future"] | None = None,
) -> Spectrum:
    """Transform a filter and keep only a pattern of its frequencies, for a cheaper convolution.

    With M the next power of two >= length and S the causal half-length spectrum of M frequencies
    (see `long_conv_spectrum`), `long_conv` with the result filters by

        S'[q] = S[q] where q mod blocks < kept, else 0.

    What is zero is left out of transforms and products, not multiplied: the work falls as
    kept / blocks, and so does the memory of the spectrum. The filter that remains reaches into the
    future (a spectrum with holes belongs to no causal filter).

    Args:
      k: the taps (channels, taps), 1 <= taps <= length, floating.
      length: points of the signals it will serve, at least 1.
      kept: 1 to `blocks`.
      blocks: a power of two, 1 to 16.
      k_future: taps on the future (channels, 1 to length).

    Returns:
      A `Spectrum` for mode "causal", of ordering "lanes". Differentiable.

    Raises:
      TypeError: k or k_future is no floating array, or length, kept or blocks is no int.
      ValueError: a shape or an option.

    Reference: Fu et al. 2023, "FlashFFTConv" (frequency-sparse convolutions, there a pattern of the
    decomposed spectrum of a transform twice as long).
    """
    taps, future = _filter_to_transform(k, k_future, length, "causal")
    for name, value in (("kept", kept), ("blocks", blocks)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be an int, got {value!r}")
    validate.one_of("blocks", blocks, (1, 2, 4, 8, 16))
    if not 1 <= kept <= blocks:
        raise ValueError(f"kept is {kept}; accepted: 1 to blocks, which is {blocks}")
    return spectra.sparse_transform(taps, future, length, kept, blocks)


def _filter_to_transform(
    k: Any, k_future: Any, length: Any, mode: str
) -> tuple[Array, Array | None]:
    """The taps of a spectrum to be made, checked, both in the dtype it is computed in."""
    validate.one_of("mode", mode, MODES)
    if isinstance(length, bool) or not isinstance(length, int):
        raise TypeError(f"length must be an int, got {length!r}")
    if length < 1:
        raise ValueError(f"length is {length}; it must be >= 1")
    if isinstance(k, Spectrum):
        raise TypeError("k is already a Spectrum; it must be an array of taps (channels, taps)")
    channels = validate.float_array("k", k, ("channels", "taps")).shape[0]
    taps, future = _check_taps(k, k_future, channels, length, mode)
    dtype = validate.compute_dtype(taps.dtype)
    if future is not None:
        dtype = jnp.promote_types(dtype, validate.compute_dtype(future.dtype))
        future = future.astype(dtype)
    return taps.astype(dtype), future


def _check_taps(
    k: Any, k_future: Any, channels: int, length: int, mode: str
) -> tuple[Array, Array | None]:
    """The taps as arrays, their shapes and mode checked."""
    k = validate.float_array("k", k, ("channels", "taps"))
    validate.shape_is("k", k, (channels, k.shape[1]), f"u has {channels} channels")
    if not 1 <= k.shape[1] <= length:
        raise ValueError(f"k has {k.shape[1]} taps; accepted: 1 to the length {length}")
    if k_future is None:
        return k, None
    if mode != "causal":
        raise ValueError(f"k_future is accepted with mode 'causal' only, mode is {mode!r}")
    k_future = validate.float_array("k_future", k_future, ("channels", "future"))
    validate.shape_is(
        "k_future", k_future, (channels, k_future.shape[1]), f"there are {channels} channels"
    )
    if not 1 <= k_future.shape[1] <= length:
        raise ValueError(
            f"k_future has {k_future.shape[1]} taps; accepted: 1 to the length {length}, or None"
        )
    return k, k_future


def _check_gate(name: str, gate: Any, u: Array) -> Array | None:
    """A gate as an array of u's shape, or None."""
    if gate is None:
        return None
    gate = validate.float_array(name, gate, ("batch", "_", "_"))
    validate.shape_is(name, gate, u.shape, "the shape of u")
    validate.not_wider(name, gate.dtype, u.dtype)
    return gate


def _check_spectrum(k: Spectrum, u: Array, channels: int, length: int, mode: str) -> None:
    """Raise unless the spectrum was made for such a call."""
    if k.length != length:
        raise ValueError(f"k is a Spectrum for length {k.length}; u has length {length}")
    if k.mode != mode:
        raise ValueError(f"k is a Spectrum for mode {k.mode!r}; mode is {mode!r}")
    frequencies = {
        "half": (k.size,),
        "real": (k.size // 2 + 1,),
        "lanes": (k.kept, k.size // k.blocks),
    }[k.ordering]
    validate.shape_is(
        "k (a Spectrum)",
        k.values,
        (channels, *frequencies),
        f"u has {channels} channels, ordering {k.ordering!r} of size {k.size}",
    )
    validate.not_wider("k (a Spectrum)", k.values.real.dtype, u.dtype)
