"""Places become channels."""

from __future__ import annotations

import math

from theory.stax.layer import Layer, layer_of
from theory.stax.rule import Rule
from theory.stax.windows import scaled, total


def Flatten(batch_axis: int = 0, batch_axis_out: int = 0) -> Layer:
    """(batch, *space, C) as (batch, P C), P places.

        K' = mean_p K[p, p],     Theta' = mean_p Theta[p, p]

    Args:
      batch_axis, batch_axis_out: 0; others are refused.

    Channels of different places have different variances, so a nonlinearity cannot follow at once.
    Masked places count as zeros; an example is masked where all of its places are.

    Raises:
      ValueError: another axis.
    """
    for name, axis in (("batch_axis", batch_axis), ("batch_axis_out", batch_axis_out)):
        if axis != 0:
            raise ValueError(f"{name} must be 0 (transpose the inputs instead), got {axis}")

    def init(rng, shape):
        del rng
        return (shape[0], math.prod(shape[1:])), ()

    def apply(params, x, context):
        return x.reshape(x.shape[0], -1)

    def infer(facts):
        channels = math.prod(facts.space) * facts.channels
        return facts.replace(space=(), channels=channels, gaussian=False)

    def block(k, left, right, facts):
        k = k.to_diagonal()
        return scaled(total(k), 1 / math.prod(k.space))

    def mask(m, facts):
        return m.all(tuple(range(1, m.ndim)))

    return layer_of(
        Rule(
            "Flatten()",
            init,
            apply,
            infer,
            block,
            full=lambda wanted: False,
            mask=mask,
            flattens=True,
        )
    )
