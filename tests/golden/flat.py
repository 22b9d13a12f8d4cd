"""Architectures on vectors: every nonlinearity, the parametrisations, the combinators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from .architecture import Architecture, residual


def between(layer: Callable[[Any], tuple], scale: float = 1.1) -> Callable[[Any], tuple]:
    """Two hidden layers of a nonlinearity between fully connected ones."""

    def build(s):
        return s.serial(
            s.Dense(5, scale, 0.3), layer(s), s.Dense(4, 1.2, 0.2), layer(s), s.Dense(2, 0.9, 0.1)
        )

    return build


def after_unit_norm(layer: Callable[[Any], tuple]) -> Callable[[Any], tuple]:
    """A nonlinearity that needs inputs of variance 1."""
    return lambda s: s.serial(s.Dense(5), s.LayerNorm(), layer(s), s.Dense(2, 1.3, 0.2))


def arcsine(cov12, var1, var2):
    """E[erf(u) erf(v)] (Williams 1997)."""
    return jnp.arcsin(2 * cov12 / jnp.sqrt((1 + 2 * var1) * (1 + 2 * var2))) * 2 / np.pi


NONLINEARITIES = {
    "relu": Architecture(between(lambda s: s.Relu(), 1.4)),
    "relu_stabilised": Architecture(between(lambda s: s.Relu(do_stabilize=True), 1.4)),
    "leaky_relu": Architecture(between(lambda s: s.LeakyRelu(0.3), 1.3)),
    "ab_relu": Architecture(between(lambda s: s.ABRelu(-0.5, 1.5))),
    "abs": Architecture(between(lambda s: s.Abs())),
    "erf": Architecture(between(lambda s: s.Erf(1.3, 0.8, 0.4))),
    "sigmoid_like": Architecture(between(lambda s: s.Sigmoid_like(), 2.0)),
    "sin": Architecture(between(lambda s: s.Sin(1.3, 0.7, 0.4))),
    "cos": Architecture(between(lambda s: s.Cos(1.2, 0.6, -0.3))),
    "rbf": Architecture(between(lambda s: s.Rbf(0.3))),
    "gelu": Architecture(between(lambda s: s.Gelu(), 1.5)),
    "gelu_approximate": Architecture(between(lambda s: s.Gelu(approximate=True), 1.5)),
    "sign": Architecture(between(lambda s: s.Sign())),
    "exp": Architecture(between(lambda s: s.Exp(0.7, 0.4), 0.8)),
    "gaussian": Architecture(between(lambda s: s.Gaussian(1.1, -0.6))),
    "gabor": Architecture(between(lambda s: s.Gabor())),
    "exp_normalized": Architecture(between(lambda s: s.ExpNormalized(0.8, -0.5)), finite=False),
    "exp_normalized_clipped": Architecture(
        between(lambda s: s.ExpNormalized(1.1, -1.0, True)), finite=False
    ),
    "hermite": Architecture(after_unit_norm(lambda s: s.Hermite(3))),
    "monomial": Architecture(between(lambda s: s.Monomial(3), 0.7)),
    # one hidden layer: of two, the oracle gives NaN (arccos at correlation 1)
    "rectified_monomial": Architecture(
        lambda s: s.serial(s.Dense(5, 1.1, 0.3), s.RectifiedMonomial(2), s.Dense(2, 0.9, 0.1))
    ),
    "polynomial": Architecture(between(lambda s: s.Polynomial([0.3, -0.5, 0.2, 0.1]), 0.8)),
    "elementwise_nngp_fn": Architecture(
        between(lambda s: s.Elementwise(None, arcsine)), finite=False
    ),
    "elementwise_d_nngp_fn": Architecture(
        between(
            lambda s: s.Elementwise(
                lambda x: x**2,
                lambda cov12, var1, var2: var1 * var2 + 2 * cov12**2,
                lambda cov12, var1, var2: 4 * cov12,
            ),
            0.6,
        )
    ),
    "elementwise_numerical": Architecture(
        between(lambda s: s.ElementwiseNumerical(jnp.tanh, deg=25), 0.8), numerical=True
    ),
}


COMBINED = {
    "linear": Architecture(lambda s: s.Dense(3, 1.3, 0.4)),
    "no_bias": Architecture(lambda s: s.serial(s.Dense(5, 1.5), s.Relu(), s.Dense(2, 0.8))),
    "nested": Architecture(
        lambda s: s.serial(
            s.serial(s.Dense(5, 1.3, 0.1), s.Erf()), s.Identity(), s.serial(s.Dense(2))
        )
    ),
    "standard": Architecture(
        lambda s: s.serial(
            s.Dense(5, 1.4, 0.3, parameterization="standard", s=(1, 2)),
            s.Relu(),
            s.Dense(4, 1.1, None, parameterization="standard", s=(2, 3)),
            s.Relu(),
            s.Dense(2, 0.9, 0.2, parameterization="standard", s=(3, 1)),
        )
    ),
    "repeat": Architecture(
        lambda s: s.serial(
            s.Dense(5, 1.3, 0.1), s.repeat(s.serial(s.Relu(), s.Dense(5, 1.3, 0.1)), 3)
        ),
        finite=False,  # the peer's parameters are a list, ours have a leading axis
    ),
    "residual": Architecture(
        lambda s: s.serial(
            s.Dense(5, 1.2, 0.1),
            residual(lambda s: s.serial(s.Relu(), s.Dense(5, 1.3, 0.2)))(s),
            s.Relu(),
            s.Dense(2),
        )
    ),
    "fan_in_prod": Architecture(
        lambda s: s.serial(
            s.FanOut(2),
            s.parallel(
                s.serial(s.Dense(5, 1.2, 0.3), s.Relu(), s.Dense(4, 1.1, 0.2)),
                s.serial(s.Dense(5, 0.9, 0.4), s.Erf(), s.Dense(4, 1.3, 0.1)),
            ),
            s.FanInProd(),
            s.Dense(2, 1.2, 0.2),
        )
    ),
    "fan_in_concat": Architecture(
        lambda s: s.serial(
            s.FanOut(3),
            s.parallel(
                s.serial(s.Dense(5, 1.2, 0.3), s.Relu(), s.Dense(4, 1.1, 0.2)),
                s.serial(s.Dense(5, 0.9, 0.4), s.Erf(), s.Dense(6, 1.3, 0.1)),
                s.Dense(2, 0.8),
            ),
            s.FanInConcat(-1),
            s.Dense(4, 1.2, 0.2),
            s.Relu(),
            s.Dense(2),
        )
    ),
    "two_inputs": Architecture(
        lambda s: s.serial(
            s.parallel(s.Dense(4, 1.2, 0.3), s.serial(s.Dense(5, 1.5), s.Relu(), s.Dense(4))),
            s.FanInSum(),
            s.Relu(),
            s.Dense(2, 1.1, 0.2),
        ),
        "pair",
    ),
    "layer_norm": Architecture(
        lambda s: s.serial(s.Dense(5, 1.5, 0.2), s.LayerNorm(), s.Erf(), s.Dense(2, 1.2, 0.1))
    ),
    "dropout": Architecture(
        lambda s: s.serial(
            s.Dense(5, 1.5, 0.2),
            s.Relu(),
            s.Dropout(0.8),
            s.Dense(4, 1.3, 0.1),
            s.Relu(),
            s.Dropout(0.6),
            s.Dense(2),
        ),
        finite=False,  # random
    ),
    "dropout_test": Architecture(
        lambda s: s.serial(s.Dense(5, 1.5, 0.2), s.Relu(), s.Dropout(0.8, "test"), s.Dense(2))
    ),
}
