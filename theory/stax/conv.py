"""Convolution with random filters, and what it shares with the transposed one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from theory.stax.filters import DimensionNumbers, Filters
from theory.stax.layer import Layer, layer_of
from theory.stax.padding import (
    Padding,
    Window,
    center_mask,
    padded,
    reading,
)
from theory.stax.rule import Rule
from theory.stax.windows import shared_means


def Conv(
    out_chan: int,
    filter_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: str | Padding = "VALID",
    W_std: float = 1.0,
    b_std: float | None = None,
    dimension_numbers: DimensionNumbers | None = None,
    parameterization: str = "ntk",
    s: tuple[int, int] = (1, 1),
) -> Layer:
    """Convolution over any number of spatial axes, with Gaussian filters.

        ntk parametrisation   y_p = W_std / sqrt(C F) sum_t x_{p s + t} W_t + b_std b
                              K'[p, q] = W_std² mean_t K[p s + t, q s + t] + b_std²
                              Theta'[p, q] = K'[p, q] + W_std² mean_t Theta[p s + t, q s + t]

    with t over the F taps of the filter.

    Args:
      out_chan: channels of the finite layer's outputs, times s[1] in the standard parametrisation.
      filter_shape: taps along each spatial axis.
      strides: along each spatial axis; None means 1.
      padding: "VALID", "SAME" (zeros) or "CIRCULAR" (as SAME, but periodic).
      W_std: standard deviation of the weights (before 1/sqrt(C F)).
      b_std: standard deviation of the biases, one for each channel; None means none.
      dimension_numbers: None, or batch first, channels last, filters (*taps, in, out), such as
        ("NHWC", "HWIO", "NHWC"); others are refused.
      parameterization: "ntk" or "standard" (theory/stax/affine.py has both formulas).
      s: width scalings of inputs and outputs in the standard parametrisation.

    An output is masked where the place under the middle of the filter is.

    Raises:
      ValueError: an argument outside of what is described, or inputs in which the filter does not
        fit.

    References:
      Novak et al. 2019, Bayesian deep CNNs with many channels are Gaussian processes. Arora et al.
      2019, On exact computation with an infinitely wide neural net.
    """
    filters = Filters.of(
        out_chan,
        filter_shape,
        strides,
        padding,
        W_std,
        b_std,
        dimension_numbers,
        parameterization,
        s,
    )
    return convolution("Conv", filters, reading, center_mask)


def convolution(
    name: str, filters: Filters, window: Callable[..., Window], mask: Callable[..., Array]
) -> Layer:
    """The layer of windows that `window` makes (`reading` or `spreading`), masks by `mask`."""
    affine, width, size = filters.affine, filters.width, filters.size

    def windows(space):
        return filters.windows(window, name, space)

    def init(rng, shape):
        channels, space = shape[-1], tuple(w.size for w in windows(shape[1:-1]))
        biases = (1,) * (filters.rank + 1) + (width,)
        params = affine.init(rng, (*filters.taps, channels, width), biases, channels * size)
        return (shape[0], *space, width), params

    def apply(params, x, context):
        w, b = params
        x, w = same_dtype(x, w)
        sums = convolve(x, w, windows(x.shape[1:-1]))
        return affine.finish(sums, b, x.shape[-1] * size)

    def infer(facts):
        space = tuple(w.size for w in windows(facts.space))
        return facts.replace(space=space, channels=width, gaussian=True, is_input=False)

    def block(k, left, right, facts):
        return affine.block(shared_means(k, windows(facts.space)), facts.channels * size)

    return layer_of(
        Rule(
            filters.written(name),
            init,
            apply,
            infer,
            block,
            ops=filters.ops,
            mask=lambda m, facts: mask(m, windows(facts.space)),
        )
    )


def same_dtype(x: Array, w: Array) -> tuple[Array, Array]:
    """Both in the wider of their dtypes."""
    dtype = jnp.result_type(x, w)
    return x.astype(dtype), w.astype(dtype)


def letters(rank: int) -> Any:
    """The dimension numbers of the one layout, for lax."""
    space = "HWDABEFG"[:rank]
    return f"N{space}C", f"{space}IO", f"N{space}C"


def convolve(x: Array, w: Array, windows: Sequence[Window]) -> Array:
    """The finite sums: x (batch, *space, C) under filters (*taps, C, out)."""
    x = padded(x, {axis: window for axis, window in enumerate(windows, 1) if window.wrap})
    return lax.conv_general_dilated(
        x,
        w,
        window_strides=[window.stride for window in windows],
        padding=[
            (0, 0) if window.wrap else (window.low, window.high + window.dilation - 1)
            for window in windows
        ],
        lhs_dilation=[1 if window.wrap else window.dilation for window in windows],
        dimension_numbers=letters(len(windows)),
    )
