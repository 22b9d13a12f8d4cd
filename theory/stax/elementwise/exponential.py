"""Exponentials: of x, of x², of x² times a sine, and of a normalised kernel."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax

from theory.stax.affine import written
from theory.stax.elementwise.gaussian_pair import determinant, safe_divide, scale
from theory.stax.layer import Layer
from theory.stax.nonlinear import Dual, nonlinearity


def Exp(a: float = 1, b: float = 1) -> Layer:
    """a exp(b x): K' = a² exp(b² (k11 + k22 + 2 k12) / 2), Theta' = b² K' Theta.

    Args:
      a: output scale.
      b: input scale.
    """

    def pair(k12, k11, k22):
        value = a**2 * jnp.exp(b**2 * ((k11 + k22) / 2 + k12))
        return value, b**2 * value

    def same(k):
        value = a**2 * jnp.exp(2 * b**2 * k)
        return value, b**2 * value

    return nonlinearity(
        written("Exp", a, b), lambda x: a * jnp.exp(b * x), Dual(pair, same, ops=15.0)
    )


def Gaussian(a: float = 1, b: float = -1) -> Layer:
    """a exp(b x²).

        K' = a² / d,     Theta' = 4 a² b² k12 / d³ Theta,
        d² = 1 - 2b (k11 + k22) + 4b² (k11 k22 - k12²)

    Args:
      a: output scale.
      b: input scale. Where b > 0 the expectations exist for variances below 1 / 4b alone (below
        1 / 2b (1 + c) at correlation c), and are infinite beyond.
    """

    def from_terms(k12, squared):
        # one factor 1 / d at a time: d³ and its derivative overflow before d does
        inverse = 1 / jnp.sqrt(jnp.where(squared > 0, squared, 1.0))
        value = jnp.where(squared > 0, a**2 * inverse, jnp.inf)
        slope = 4 * a**2 * b**2 * (k12 * inverse) * inverse * inverse
        return value, jnp.where(squared > 0, slope, jnp.inf)

    def pair(k12, k11, k22):
        squared = 1 - 2 * b * (k11 + k22) + 4 * b**2 * determinant(k12, k11, k22)
        exists = (1 - 2 * b * k11 > 0) & (1 - 2 * b * k22 > 0)
        return from_terms(k12, jnp.where(exists, squared, 0.0))

    def same(k):
        return from_terms(k, 1 - 4 * b * k)

    return nonlinearity(
        written("Gaussian", a, b), lambda x: a * jnp.exp(b * x**2), Dual(pair, same, ops=25.0)
    )


def Gabor() -> Layer:
    """exp(-x²) sin(x).

    With m = k11 + k22, D² = k11 k22 - k12², d = 1 + 2m + 4D², h = k12 / d and
    g = exp(-(m + 4D²) / 2d):

        K' = g sinh(h) / sqrt(d),     Theta' = Theta g (A cosh(h) + B sinh(h)) / d^(5/2)
        A = 1 + 2m + 4 (k12² + k11 k22),     B = 4 k12 (4D² + 3m + 2)
    """

    def parts(k12, total, area, product):
        d = 1 + 2 * total + 4 * area
        inverse = 1 / d
        h = k12 * inverse
        g = jnp.exp(-(total + 4 * area) * inverse / 2) / jnp.sqrt(d)
        even = (1 + 2 * total + 4 * (k12**2 + product)) * inverse
        odd = 4 * k12 * ((4 * area + 3 * total + 2) * inverse)
        return g * jnp.sinh(h), g * inverse * (even * jnp.cosh(h) + odd * jnp.sinh(h))

    def pair(k12, k11, k22):
        return parts(k12, k11 + k22, determinant(k12, k11, k22), k11 * k22)

    def same(k):
        return parts(k, 2 * k, jnp.zeros_like(k), k**2)

    return nonlinearity("Gabor()", lambda x: jnp.exp(-(x**2)) * jnp.sin(x), Dual(pair, same, 45.0))


def ExpNormalized(gamma: float = 1, shift: float = -1, do_clip: bool = False) -> Layer:
    """The Gaussian kernel of normalised inputs; it has no finite network.

        K' = s exp(gamma (c + shift)),  Theta' = gamma exp(gamma (c + shift)) Theta,
        s = sqrt(k11 k22), c = k12 / s

    Args:
      gamma: scale of the exponent.
      shift: what is added to the correlation.
      do_clip: whether correlations are clipped to [-1, 1], which rounding may leave.

    Raises:
      NotImplementedError: when its apply_fn is called.

    References:
      Shankar et al. 2020, Neural kernels without tangents, section 4.
    """

    def correlation(k12: Array, s: Array) -> Array:
        c = safe_divide(k12, s)
        # the value is clipped, not the derivative, which is right on both sides of 1
        return c + lax.stop_gradient(jnp.clip(c, -1, 1) - c) if do_clip else c

    def pair(k12, k11, k22):
        s = scale(k11, k22)
        e = jnp.exp(gamma * (correlation(k12, s) + shift))
        return s * e, gamma * e

    def same(k):
        e = jnp.exp(jnp.full_like(k, gamma * (1 + shift)))
        return k * e, gamma * e

    def fn(x):
        raise NotImplementedError("ExpNormalized has no finite network: only its kernel_fn exists")

    name = written("ExpNormalized", gamma=(gamma, 1), shift=(shift, -1), do_clip=(do_clip, False))
    return nonlinearity(name, fn, Dual(pair, same, ops=25.0))
