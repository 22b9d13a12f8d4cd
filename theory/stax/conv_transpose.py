"""Transposed convolution with random filters."""

from __future__ import annotations

from collections.abc import Sequence

from jax import Array

from theory.stax.conv import convolution
from theory.stax.filters import DimensionNumbers, Filters
from theory.stax.layer import Layer
from theory.stax.padding import Padding, Window, padded, spreading, tap


def ConvTranspose(
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
    """Transposed convolution: strides make outputs larger.

    With z the inputs spread out, s - 1 zeros after each place, and padded,

        ntk parametrisation   y_p = W_std / sqrt(C F) sum_t z_{p + t} W_t + b_std b
                              K'[p, q] = W_std² 1/F sum_t K_z[p + t, q + t] + b_std²

    with t over the F taps of the filter, and Theta' as for Conv.

    Args:
      out_chan: channels of the finite layer's outputs, times s[1] in the standard parametrisation.
      filter_shape: taps along each spatial axis.
      strides: along each spatial axis; None means 1.
      padding: "VALID" (n s + max(taps - s, 0) outputs), "SAME" or "CIRCULAR" (n s outputs;
        CIRCULAR adds what lies beyond an edge at the other one).
      W_std: standard deviation of the weights (before 1/sqrt(C F)).
      b_std: standard deviation of the biases, one for each channel; None means none.
      dimension_numbers: None, or batch first, channels last, filters (*taps, in, out); others are
        refused.
      parameterization: "ntk" or "standard" (theory/stax/affine.py has both formulas).
      s: width scalings of inputs and outputs in the standard parametrisation.

    An output is masked where any input that feeds it is (not counting beyond a periodic edge).

    Raises:
      ValueError: an argument outside of what is described.
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
    return convolution("ConvTranspose", filters, spreading, _any_mask)


def _any_mask(mask: Array, windows: Sequence[Window]) -> Array:
    """(batch, *space) mask of outputs: whether any tap reads a masked input."""
    for axis, window in enumerate(windows, 1):
        value = padded(mask, {axis: window._replace(wrap=False)})
        mask = tap(value, 0, (axis,), window)
        for t in range(1, window.taps):
            mask = mask | tap(value, t, (axis,), window)
    return mask
