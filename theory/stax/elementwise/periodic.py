"""Sines and cosines, whose kernels are exponentials of covariances.

For phi(x) = a sin(b x + c), Rahimi and Recht 2007 for the first term:

    E[phi(u) phi(v)] = a²/2 (e^- - cos(2c) e^+)
    E[phi'(u) phi'(v)] = a² b²/2 (e^- + cos(2c) e^+)
    e^∓ = exp(-b² (k11 + k22 ∓ 2 k12) / 2)
"""

from __future__ import annotations

import math

import jax.numpy as jnp

from theory.stax.affine import written
from theory.stax.layer import Layer
from theory.stax.nonlinear import Dual, nonlinearity


def Sin(a: float = 1.0, b: float = 1.0, c: float = 0.0) -> Layer:
    """a sin(b x + c).

    Args:
      a: output scale.
      b: frequency.
      c: phase, radians.
    """
    return _sine(written("Sin", a, b, c), a, b, c, math.cos(2 * c), math.sin(c) ** 2)


def Cos(a: float = 1.0, b: float = 1.0, c: float = 0.0) -> Layer:
    """a cos(b x + c).

    Args:
      a: output scale.
      b: frequency.
      c: phase, radians.
    """
    return _sine(written("Cos", a, b, c), a, b, c + math.pi / 2, -math.cos(2 * c), math.cos(c) ** 2)


def Rbf(gamma: float = 1.0) -> Layer:
    """sqrt(2) sin(sqrt(2 gamma) x + pi/4), whose NNGP is the Gaussian kernel.

        K' = exp(-gamma (k11 + k22 - 2 k12)),     of inputs, exp(-gamma |x - x'|² / channels)

    Args:
      gamma: inverse squared length scale, >= 0: gamma = 1 / (2 l²).

    Raises:
      ValueError: gamma is negative.

    References:
      Rahimi and Recht 2007, Random features for large-scale kernel machines.
    """
    if not gamma >= 0:
        raise ValueError(f"gamma must be >= 0, got {gamma!r}")
    a, b, c = math.sqrt(2), math.sqrt(2 * gamma), math.pi / 4
    return _sine(written("Rbf", gamma), a, b, c, 0.0, 0.5)


def _sine(name: str, a: float, b: float, c: float, cos_2c: float, sin_squared: float) -> Layer:
    """a sin(b x + c), given cos(2c) and sin(c)² to their last digits."""
    half = a**2 / 2

    def exponentials(k12, k11, k22):
        near = jnp.exp(-(b**2) / 2 * (k11 + k22 - 2 * k12))
        if cos_2c == 0:
            return near, jnp.zeros_like(near)
        return near, cos_2c * jnp.exp(-(b**2) / 2 * (k11 + k22 + 2 * k12))

    def pair(k12, k11, k22):
        near, far = exponentials(k12, k11, k22)
        return half * (near - far), half * b**2 * (near + far)

    def same(k):
        # 1 - cos(2c) e = 2 sin(c)² - cos(2c) (e - 1) keeps digits where k is small
        less = jnp.expm1(-2 * b**2 * k)
        slope = half * b**2 * (2 * (1 - sin_squared) + cos_2c * less)
        return half * (2 * sin_squared - cos_2c * less), slope

    return nonlinearity(name, lambda x: a * jnp.sin(b * x + c), Dual(pair, same, ops=30.0))
