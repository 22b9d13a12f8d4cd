"""The error function and what is made of it: arcsine kernels.

With d² = 1 + 2 k11 + 2 k22 + 4 (k11 k22 - k12²) = (1 + 2 k11) (1 + 2 k22) - 4 k12², Williams 1997:

    E[erf(u) erf(v)] = (2/pi) arctan2(2 k12, d),     E[erf'(u) erf'(v)] = 4 / (pi d)

With e² = 1 + k11 + k22 + (k11 k22 - k12²), q = sqrt((1 + k11) (1 + k22)), r = k11 k22 / q²,
t = arctan2(k12, e), Tsuchida et al. 2021, for phi(x) = x P(z < x):

    E[phi(u) phi(v)] = k12/4 + (k12²/(q² e) + r e + k12 t) / 2 pi
    E[phi'(u) phi'(v)] = 1/4 + (t + (k12/e) (1/e² + 1/(1 + k11) + 1/(1 + k22))) / 2 pi

d and e are sums of terms >= 0: no digits are lost near correlation ±1.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from theory.stax.affine import written
from theory.stax.angles import arcsin
from theory.stax.elementwise.gaussian_pair import determinant
from theory.stax.layer import Layer
from theory.stax.nonlinear import Dual, nonlinearity

SIGMOID_SCALE = (
    2.4020563531719796  # erf(x / scale) / 2 + 1/2 fits the logistic function best on [-5, 5]
)


def Erf(a: float = 1.0, b: float = 1.0, c: float = 0.0) -> Layer:
    """a erf(b x) + c.

    Args:
      a: output scale.
      b: input scale.
      c: output shift.

    References:
      Williams 1997, Computing with infinite networks, eq. 11.
    """
    return _erf(written("Erf", a, b, c), a, b, c)


def Sigmoid_like() -> Layer:
    """erf(x / 2.402) / 2 + 1/2, the closest of its kind to the logistic function on [-5, 5]."""
    return _erf("Sigmoid_like()", 0.5, 1 / SIGMOID_SCALE, 0.5)


def _erf(name: str, a: float, b: float, c: float) -> Layer:
    squared = b**2

    def parts(k12, root, scale):
        value = a**2 * (2 / math.pi) * arcsin(2 * squared * k12, root, scale) + c**2
        return value, a**2 * squared * (4 / math.pi) / root

    def pair(k12, k11, k22):
        terms = 1 + 2 * squared * (k11 + k22) + (2 * squared) ** 2 * determinant(k12, k11, k22)
        scale = jnp.sqrt(1 + 2 * squared * k11) * jnp.sqrt(1 + 2 * squared * k22)
        return parts(k12, jnp.sqrt(terms), scale)

    def same(k):
        return parts(k, jnp.sqrt(1 + 4 * squared * k), 1 + 2 * squared * k)

    def fn(x):
        return a * jax.lax.erf(b * x) + c

    return nonlinearity(name, fn, Dual(pair, same, ops=30.0))


def Gelu(approximate: bool = False) -> Layer:
    """x P(z < x), z ~ N(0, 1).

    Args:
      approximate: whether the finite network uses the approximation by tanh. The kernel is that of
        the exact function in both cases; Elementwise(partial(jax.nn.gelu, approximate=True)) has
        the kernel of the approximation.

    References:
      Hendrycks and Gimpel 2016, Gaussian error linear units. Tsuchida et al. 2021, Avoiding kernel
      fixed points.
    """

    def parts(k12, root, scale, one, other):
        # one, other: 1 / (1 + k11) and 1 / (1 + k22)
        t, inverse = arcsin(k12, root, scale), 1 / root
        sides = (k12 * one) * (k12 * other) * inverse + (1 - one) * (1 - other) * root
        value = k12 / 4 + (sides + k12 * t) / (2 * math.pi)
        slope = 0.25 + (t + k12 * inverse * (inverse * inverse + one + other)) / (2 * math.pi)
        return value, slope

    def pair(k12, k11, k22):
        root = jnp.sqrt(1 + k11 + k22 + determinant(k12, k11, k22))
        scale = jnp.sqrt(1 + k11) * jnp.sqrt(1 + k22)
        return parts(k12, root, scale, 1 / (1 + k11), 1 / (1 + k22))

    def same(k):
        inverse = 1 / (1 + k)
        return parts(k, jnp.sqrt(1 + 2 * k), 1 + k, inverse, inverse)

    def fn(x):
        return jax.nn.gelu(x, approximate=approximate)

    return nonlinearity(
        written("Gelu", approximate=(approximate, False)), fn, Dual(pair, same, ops=40.0)
    )
