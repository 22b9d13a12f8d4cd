"""Convolution with random filters, and what it shares with the transposed one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from theory.stax.affine import Affine, check_size, written
from theory.stax.layer import Layer, layer_of
from theory.stax.padding import (
    Padding,
    Window,
    as_padding,
    as_sizes,
    center_mask,
    padded,
    reading,
    windows_of,
)
from theory.stax.rule import Rule
from theory.stax.windows import shared_means

DimensionNumbers = tuple[str, str, str]


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
    return convolution(
        "Conv",
        out_chan,
        filter_shape,
        strides,
        padding,
        W_std,
        b_std,
        dimension_numbers,
        parameterization,
        s,
        reading,
        center_mask,
    )


def convolution(
    name: str,
    out_chan: int,
    filter_shape: Sequence[int],
    strides: Sequence[int] | None,
    padding: str | Padding,
    W_std: float,
    b_std: float | None,
    dimension_numbers: DimensionNumbers | None,
    parameterization: str,
    s: tuple[int, int],
    window: Callable[..., Window],
    mask: Callable[..., Array],
) -> Layer:
    """The layer of windows that `window` makes (`reading` or `spreading`), masks by `mask`."""
    taps, strides, padding, affine, width = check_arguments(
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
    rank, size = len(taps), math.prod(taps)

    def windows(space):
        return windows_of(window, name, space, taps, strides, padding)

    def init(rng, shape):
        channels, space = shape[-1], tuple(w.size for w in windows(shape[1:-1]))
        biases = (1,) * (rank + 1) + (width,)
        params = affine.init(rng, (*taps, channels, width), biases, channels * size)
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

    written_name = layer_name(name, out_chan, taps, strides, padding, affine)
    return layer_of(
        Rule(
            written_name,
            init,
            apply,
            infer,
            block,
            ops=4.0 + 2.0 * sum(taps),
            mask=lambda m, facts: mask(m, windows(facts.space)),
        )
    )


def check_arguments(
    out_chan: int,
    filter_shape: Sequence[int],
    strides: Sequence[int] | None,
    padding: str | Padding,
    W_std: float,
    b_std: float | None,
    dimension_numbers: DimensionNumbers | None,
    parameterization: str,
    s: tuple[int, int],
) -> tuple[tuple[int, ...], tuple[int, ...], Padding, Affine, int]:
    """(taps, strides, padding, settings, channels of the outputs).

    Raises:
      ValueError: an argument is outside of what `Conv` describes.
    """
    affine = Affine(W_std, b_std, parameterization, s)
    taps = as_sizes(filter_shape, "filter_shape")
    check_dimension_numbers(dimension_numbers, len(taps))
    width = check_size(out_chan, "out_chan") * (s[1] if affine.standard else 1)
    return taps, as_sizes(strides, "strides", len(taps)), as_padding(padding), affine, width


def check_dimension_numbers(dimension_numbers: DimensionNumbers | None, rank: int) -> None:
    """The one layout: batch first, channels last, filters (*taps, in, out).

    Raises:
      ValueError: another was asked for.
    """
    if dimension_numbers is None:
        return
    specs = tuple(dimension_numbers)
    if len(specs) == 3 and all(isinstance(spec, str) and len(spec) == rank + 2 for spec in specs):
        inputs, filters, outputs = specs
        space = inputs[1:-1]
        if inputs == outputs == f"N{space}C" and filters == f"{space}IO":
            return
    space = "HWDABEFG"[:rank]
    raise ValueError(
        f"dimension_numbers must be None or like {(f'N{space}C', f'{space}IO', f'N{space}C')} "
        f"(transpose the inputs instead), got {dimension_numbers!r}"
    )


def layer_name(name: str, out_chan: int, taps, strides, padding: Padding, affine: Affine) -> str:
    """As a user would write it."""
    return written(
        name,
        out_chan,
        taps,
        strides=(strides, (1,) * len(taps)),
        padding=(padding.name, "VALID"),
        W_std=(affine.W_std, 1.0),
        b_std=(affine.b_std, None),
        parameterization=(affine.parameterization, "ntk"),
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
