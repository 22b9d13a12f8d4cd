"""The public short convolution: check the call, choose an implementation, run it."""

from __future__ import annotations

from typing import NamedTuple

from jax import Array
from jaxtyping import Float

from kernels_pallas import dispatch, validate

IMPLEMENTATIONS: dispatch.Table = {
    "xla": dispatch.Implementation(dispatch.always, "kernels_pallas.short_conv.xla"),
    "reference": dispatch.Implementation(dispatch.always, "kernels_pallas.short_conv.reference"),
}
LAYOUTS = ("BCL", "BLC")


class Call(NamedTuple):
    """The static facts of a call, from which an implementation is chosen."""

    batch: int
    channels: int
    length: int
    taps: int
    dtype: str
    causal: bool
    layout: str
    has_bias: bool


def short_conv(
    u: Float[Array, "batch channels length"] | Float[Array, "batch length channels"],
    k: Float[Array, "channels taps"],
    *,
    bias: Float[Array, "channels"] | None = None,
    causal: bool = True,
    layout: str = "BCL",
    implementation: str | None = None,
) -> Float[Array, "batch _ _"]:
    """Convolve every channel with a few taps of its own.

        y[b,c,t] = sum_{s<taps} k[c,s] u[b,c,t+o-s] + bias[c]

    with o = 0 when causal, and o = (taps-1)//2 otherwise: a window of the signal's own length
    ("same"), centred for an odd number of taps; for an even number it reaches one step further into
    the past than into the future. Inputs outside 0..length-1 are zero.

    Args:
      u: the signals, (batch, channels, length), or (batch, length, channels) with layout "BLC".
        Any length from 1. float16, bfloat16, float32 or float64.
      k: the taps (channels, taps), at least 1; more than `length` is allowed.
      bias: (channels,), added to the result.
      causal: True for past and present only, False for the centred window.
      layout: "BCL" or "BLC", the axes of u and the result.
      implementation: None for the best that supports the call, or "xla" or "reference".

    Returns:
      y, in the shape, layout and dtype of u; computed in float64 for float64, else in float32.
      k and bias may have any floating dtype that is no wider than that.

    Raises:
      TypeError: an operand is no array, is not floating, or is wider than u is computed in.
      ValueError: a shape or an option.

    Reference: Poli et al. 2023, "Hyena Hierarchy" (the short convolution of the
    projections).
    """
    validate.boolean("causal", causal)
    validate.one_of("layout", layout, LAYOUTS)
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
    k = validate.float_array("k", k, ("channels", "taps"))
    validate.shape_is("k", k, (channels, k.shape[1]), f"u has {channels} channels")
    validate.not_wider("k", k.dtype, u.dtype)
    if k.shape[1] < 1:
        raise ValueError(f"k has 0 taps (shape {k.shape}); accepted: 1 or more")
    if bias is not None:
        bias = validate.float_array("bias", bias, ("channels",))
        validate.shape_is("bias", bias, (channels,), "one number a channel of u")
        validate.not_wider("bias", bias.dtype, u.dtype)
    call = Call(batch, channels, length, k.shape[1], str(u.dtype), causal, layout, bias is not None)
    name = dispatch.choose("short_conv", IMPLEMENTATIONS, call, implementation)
    return dispatch.load(IMPLEMENTATIONS, name)(u, k, bias, causal=causal, layout=layout)
