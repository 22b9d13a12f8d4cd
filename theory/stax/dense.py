"""The fully connected layer."""

from __future__ import annotations

import jax.numpy as jnp

from theory.stax.affine import Affine, check_axes, check_size, written
from theory.stax.layer import Layer, layer_of
from theory.stax.rule import Rule


def Dense(
    out_dim: int,
    W_std: float = 1.0,
    b_std: float | None = None,
    batch_axis: int = 0,
    channel_axis: int = -1,
    parameterization: str = "ntk",
    s: tuple[int, int] = (1, 1),
) -> Layer:
    """A fully connected layer on the channels of every place.

        ntk parametrisation   y = W_std / sqrt(C) x W + b_std b,   K' = W_std² K + b_std²,
                              Theta' = K' + W_std² Theta

    Args:
      out_dim: channels of the finite layer's outputs, times s[1].
      W_std: standard deviation of the weights (before 1/sqrt(C)).
      b_std: standard deviation of the biases; None means none.
      batch_axis, channel_axis: 0 and -1; others are refused.
      parameterization: "ntk" or "standard" (theory/stax/affine.py has both formulas).
      s: width scalings of inputs and outputs in the standard parametrisation.

    Raises:
      ValueError: an argument outside of what is described.

    References:
      Jacot et al. 2018, Neural Tangent Kernel. Sohl-Dickstein et al. 2020, On the infinite width
      limit of neural networks with a standard parameterization.
    """
    check_axes(batch_axis, channel_axis)
    affine = Affine(W_std, b_std, parameterization, s)
    width = check_size(out_dim, "out_dim") * (s[1] if affine.standard else 1)

    def init(rng, shape):
        biases = (1,) * (len(shape) - 1) + (width,)
        return (*shape[:-1], width), affine.init(rng, (shape[-1], width), biases, shape[-1])

    def apply(params, x, context):
        w, b = params
        return affine.finish(jnp.matmul(x, w), b, x.shape[-1])

    def infer(facts):
        return facts.replace(channels=width, gaussian=True, is_input=False)

    def block(k, left, right, facts):
        return affine.block(k, facts.channels)

    name = written(
        "Dense",
        out_dim,
        W_std=(W_std, 1.0),
        b_std=(b_std, None),
        parameterization=(affine.parameterization, "ntk"),
    )
    return layer_of(Rule(name, init, apply, infer, block, ops=4.0))
