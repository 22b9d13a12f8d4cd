"""Sums and averages over windows of places."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jax import lax

from theory.stax.affine import check_axes, written
from theory.stax.layer import Layer, layer_of
from theory.stax.padding import (
    Padding,
    as_padding,
    as_sizes,
    center_mask,
    padded,
    reading,
    windows_of,
)
from theory.stax.rule import Rule
from theory.stax.windows import need_pairs, places_read, scaled, window_sums


def AvgPool(
    window_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: str | Padding = "VALID",
    normalize_edges: bool = False,
    batch_axis: int = 0,
    channel_axis: int = -1,
) -> Layer:
    """Averages over windows of places.

        y_p = 1/W sum_t x_{p s + t},   K'[p, q] = 1/W² sum_{t, t'} K[p s + t, q s + t']

    with t over the W places of the window, and Theta' as K'.

    Args:
      window_shape: places along each spatial axis.
      strides: along each spatial axis; None means 1.
      padding: "VALID", "SAME" (zeros) or "CIRCULAR" (as SAME, but periodic).
      normalize_edges: with "SAME", whether W is the number of places in the window that are no
        padding, which is smaller at the edges.
      batch_axis, channel_axis: 0 and -1; others are refused.

    Masked places count as zeros; an output is masked where the middle of its window is.

    Raises:
      ValueError: an argument outside of what is described, or inputs in which the window does not
        fit.
    """
    return _pool(
        "AvgPool", True, window_shape, strides, padding, normalize_edges, batch_axis, channel_axis
    )


def SumPool(
    window_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: str | Padding = "VALID",
    batch_axis: int = 0,
    channel_axis: int = -1,
) -> Layer:
    """Sums over windows of places: AvgPool without the division by W.

    Args:
      window_shape: places along each spatial axis.
      strides: along each spatial axis; None means 1.
      padding: "VALID", "SAME" (zeros) or "CIRCULAR" (as SAME, but periodic).
      batch_axis, channel_axis: 0 and -1; others are refused.

    Raises:
      ValueError: an argument outside of what is described, or inputs in which the window does not
        fit.
    """
    return _pool("SumPool", False, window_shape, strides, padding, False, batch_axis, channel_axis)


def _pool(
    name: str,
    average: bool,
    window_shape: Sequence[int],
    strides: Sequence[int] | None,
    padding: str | Padding,
    normalize_edges: bool,
    batch_axis: int,
    channel_axis: int,
) -> Layer:
    check_axes(batch_axis, channel_axis)
    taps = as_sizes(window_shape, "window_shape")
    strides = as_sizes(strides, "strides", len(taps))
    padding = as_padding(padding)
    by_places = average and normalize_edges and padding is Padding.SAME

    def windows(space):
        return windows_of(reading, name, space, taps, strides, padding)

    def weights(space):
        """1/W along each axis, at each output or one number."""
        if by_places:
            return [1.0 / counts for counts in places_read(space, windows(space))]
        return [1.0 / size if average else 1.0 for size in taps]

    def init(rng, shape):
        del rng
        return (shape[0], *(w.size for w in windows(shape[1:-1])), shape[-1]), ()

    def apply(params, x, context):
        space = x.shape[1:-1]
        own = windows(space)
        x = padded(x, {axis: window for axis, window in enumerate(own, 1) if window.wrap})
        edges = [(0, 0) if w.wrap else (w.low, w.high) for w in own]
        sums = lax.reduce_window(
            x,
            np.zeros((), x.dtype),
            lax.add,
            (1, *taps, 1),
            (1, *strides, 1),
            [(0, 0), *edges, (0, 0)],
        )
        for axis, weight in enumerate(weights(space)):
            sums = sums * _along(weight, axis + 1, sums.ndim, sums.dtype)
        return sums

    def infer(facts):
        return facts.replace(space=tuple(w.size for w in windows(facts.space)))

    def block(k, left, right, facts):
        need_pairs(name, k)
        sums = window_sums(k, windows(facts.space))
        if by_places:
            for axis, weight in enumerate(weights(facts.space)):
                for at in (2 * axis, 2 * axis + 1):
                    sums = scaled(sums, _along(weight, at, sums.values[0].ndim, sums.nngp.dtype))
            return sums
        return scaled(sums, math.prod(taps) ** -2.0) if average else sums

    options = {"normalize_edges": (normalize_edges, False)} if average else {}
    return layer_of(
        Rule(
            written(
                name,
                taps,
                strides=(strides, (1,) * len(taps)),
                padding=(padding.name, "VALID"),
                **options,
            ),
            init,
            apply,
            infer,
            block,
            full=lambda wanted: True,
            mask=lambda m, facts: center_mask(m, windows(facts.space)),
            ops=2.0 * math.prod(taps),
        )
    )


def _along(weight, axis: int, ndim: int, dtype) -> np.ndarray:
    """A number, or values along one axis, to broadcast against `ndim` axes."""
    weight = np.asarray(weight, dtype)
    return weight.reshape([-1 if a == axis else 1 for a in range(ndim)]) if weight.ndim else weight
