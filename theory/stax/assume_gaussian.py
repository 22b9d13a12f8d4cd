"""An assumption, as a layer: that activations are Gaussian where they are not."""

from __future__ import annotations

from dataclasses import replace

from theory.stax.layer import IDENTITY, Layer, layer_of


def AssumeGaussian() -> Layer:
    """The identity; layers behind it take its inputs for independent Gaussians of mean zero.

        y = x,   K' = K,   Theta' = Theta

    For layers whose inputs have no Gaussian limit, such as a nonlinearity behind a product of
    branches or behind a `LongConv`. What follows is then an approximation whose error no width
    makes smaller: compare with finite networks. `LongConvActivation` is exact for the second case.
    """
    rule = replace(
        IDENTITY, name="AssumeGaussian()", infer=lambda facts: facts.replace(gaussian=True)
    )
    return layer_of(rule)
