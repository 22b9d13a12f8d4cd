"""Polynomials, by Hermite expansion: exact, with no roots and no quotients.

With He_l the Hermite polynomials of unit norm under N(0, 1), p(sigma z) = sum_l R_l(k) sigma^l
He_l(z), sigma² = k, so that

    E[p(u) p(v)] = sum_l R_l(k11) R_l(k22) k12^l
    R_l(k) = sum_i c_(l+2i) (l + 2i)! / (2^i i! sqrt(l!)) k^i,     p(x) = sum_m c_m x^m

and the same for p'. Everything is a polynomial of the covariances, right at correlation ±1 as well.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array

from theory.stax.affine import written
from theory.stax.elementwise.rectified_power import check_degree
from theory.stax.layer import Layer
from theory.stax.nonlinear import Dual, nonlinearity


def Polynomial(coef: Sequence[float]) -> Layer:
    """coef[0] + coef[1] x + .. + coef[n] x^n.

    Args:
      coef: the coefficients, lowest first; () is 0.

    Raises:
      ValueError: coef is no sequence of finite numbers.
    """
    c = np.asarray(coef, dtype=np.float64)
    if c.ndim != 1 or not np.isfinite(c).all():
        raise ValueError(f"coef must be a sequence of finite numbers, got {coef!r}")
    numbers = [float(x) for x in c]
    return _layer(written("Polynomial", numbers), numbers)


def Monomial(degree: int) -> Layer:
    """x^degree.

    Args:
      degree: an int >= 0.

    Raises:
      ValueError: degree is none.
    """
    degree = check_degree(degree)
    return _layer(written("Monomial", degree), [0.0] * degree + [1.0])


def Hermite(degree: int) -> Layer:
    """The Hermite polynomial of a degree, of unit norm under N(0, 1), for inputs of unit variance.

        K' = K^degree,     Theta' = degree K^(degree - 1) Theta

    This holds where the variance of every input to the layer is 1, and is what the kernel computes
    for any variance; Polynomial with the same coefficients is right for any variance.

    Args:
      degree: an int >= 0.

    Raises:
      ValueError: degree is none.
    """
    degree = check_degree(degree)
    warnings.warn(
        "Hermite is right for inputs of unit variance alone; Polynomial is right for any variance",
        stacklevel=2,
    )
    coef = np.polynomial.hermite_e.herme2poly([0.0] * degree + [1.0]) / math.sqrt(
        math.factorial(degree)
    )

    def pair(k12, k11, k22):
        k12 = k12 + jnp.zeros_like(k11 + k22)
        if degree == 0:
            return jnp.ones_like(k12), jnp.zeros_like(k12)
        return k12**degree, degree * k12 ** (degree - 1)

    def same(k):
        return pair(k, k, k)

    return nonlinearity(
        written("Hermite", degree), lambda x: _horner(list(coef), x), Dual(pair, same, ops=4.0)
    )


def _layer(name: str, coef: list[float]) -> Layer:
    slopes = [m * c for m, c in enumerate(coef)][1:]
    values, dots = radial_parts(coef), radial_parts(slopes)

    def pair(k12, k11, k22):
        return _pair_sum(values, k12, k11, k22), _pair_sum(dots, k12, k11, k22)

    def same(k):
        return pair(k, k, k)

    dual = Dual(pair, same, ops=6.0 * max(1, len(coef)))
    return nonlinearity(name, lambda x: _horner(coef, x), dual)


def radial_parts(coef: Sequence[float]) -> list[list[float]]:
    """Of each l, the coefficients of R_l by powers of k."""
    n = len(coef)
    return [
        [
            coef[l + 2 * i]
            * (math.factorial(l + 2 * i) / (2**i * math.factorial(i)))
            / math.sqrt(math.factorial(l))
            for i in range((n - 1 - l) // 2 + 1)
        ]
        for l in range(n)  # noqa: E741
    ]


def _pair_sum(parts: list[list[float]], k12: Array, k11: Array, k22: Array) -> Array:
    total = jnp.zeros_like(k12 + k11 + k22)
    for part in reversed(parts):
        total = total * k12
        if any(part):
            total = total + _horner(part, k11) * _horner(part, k22)
    return total


def _horner(coef: Sequence[float], x: Array) -> Array:
    total = jnp.zeros_like(x)
    for c in reversed(coef):
        total = total * x + c
    return total
