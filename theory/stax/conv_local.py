"""Locally connected layers: convolutions whose filters are not shared between places."""

from __future__ import annotations

from collections.abc import Sequence

from jax import lax

from theory.stax.block import spatial_embedding
from theory.stax.conv import letters, same_dtype
from theory.stax.filters import DimensionNumbers, Filters
from theory.stax.layer import Layer, layer_of
from theory.stax.padding import Padding, center_mask, padded, reading
from theory.stax.rule import Rule
from theory.stax.windows import shared_means


def ConvLocal(
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
    """Convolution with filters and biases of its own at every place.

        ntk parametrisation   y_p = W_std / sqrt(C F) sum_t x_{p s + t} W_{p, t} + b_std b_p
                              K'[p, p] = W_std² mean_t K[p s + t, p s + t] + b_std²
                              Theta'[p, p] = K'[p, p] + W_std² mean_t Theta[p s + t, p s + t]

    with t over the F taps of the filter; K' and Theta' are zero between different places.

    Args:
      out_chan: channels of the finite layer's outputs, times s[1] in the standard parametrisation.
      filter_shape: taps along each spatial axis.
      strides: along each spatial axis; None means 1.
      padding: "VALID", "SAME" (zeros) or "CIRCULAR" (as SAME, but periodic).
      W_std: standard deviation of the weights (before 1/sqrt(C F)).
      b_std: standard deviation of the biases, one for each place and channel; None means none.
      dimension_numbers: None, or batch first, channels last, filters (*taps, in, out); others are
        refused.
      parameterization: "ntk" or "standard" (theory/stax/affine.py has both formulas).
      s: width scalings of inputs and outputs in the standard parametrisation.

    An output is masked where the place under the middle of the filter is.

    Raises:
      ValueError: an argument outside of what is described, or inputs in which the filter does not
        fit.

    References:
      Novak et al. 2019, Bayesian deep CNNs with many channels are Gaussian processes, section 5.
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
    affine, width, size, rank = filters.affine, filters.width, filters.size, filters.rank

    def windows(space):
        return filters.windows(reading, "ConvLocal", space)

    def init(rng, shape):
        channels, space = shape[-1], tuple(w.size for w in windows(shape[1:-1]))
        weights, biases = (*space, channels * size, width), (1, *space, width)
        return (shape[0], *space, width), affine.init(rng, weights, biases, channels * size)

    def apply(params, x, context):
        w, b = params
        x, w = same_dtype(x, w)
        channels, own = x.shape[-1], windows(x.shape[1:-1])
        x = padded(x, {axis: window for axis, window in enumerate(own, 1) if window.wrap})
        edges = [(0, 0) if window.wrap else (window.low, window.high) for window in own]
        sums = lax.conv_general_dilated_local(
            x, w, filters.strides, edges, filters.taps, dimension_numbers=letters(rank)
        )
        return affine.finish(sums, b, channels * size)

    def infer(facts):
        space = tuple(w.size for w in windows(facts.space))
        return facts.replace(space=space, channels=width, gaussian=True, is_input=False)

    def block(k, left, right, facts):
        at_same = shared_means(k.to_diagonal(), windows(facts.space))
        out = affine.block(at_same, facts.channels * size)
        if k.diagonal:
            return out
        return out.linear(lambda value: spatial_embedding(value, rank), diagonal=False)

    return layer_of(
        Rule(
            filters.written("ConvLocal"),
            init,
            apply,
            infer,
            block,
            ops=filters.ops,
            mask=lambda m, facts: center_mask(m, windows(facts.space)),
        )
    )
