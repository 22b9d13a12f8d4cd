"""Angles of a cosine or a sine, as fast on a CPU as some multiplications and a root.

XLA calls the C library's scalar atan2 (and acos, asin through it) once an element, about 20 ns;
these are arithmetic that vectorises.

Algorithm: the square of arccos is analytic where arccos has its cusp. With x = 1 - cos t,

    t² = 2 x H(x),   H(x) = sum_n 2^n x^(n-1) / (n² binomial(2n, n)),  n = 1, 2, ..

and H is a polynomial of degree 18, interpolated at the Chebyshev nodes of [0, 1], to 5e-17 (8, to
7e-9, in float32). What ends it is a root, which XLA computes once: it repeats cheaper arithmetic in
every loop that reads it.

Numerics: relative to the angle itself wherever that is small, as 1 - |c| or the sine carries it.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import Array

# H on [0, 1], constant term first.
COEFFICIENTS = {
    "float64": (
        1.0,
        0.166666666666641,
        0.044444444447511985,
        0.014285714140573154,
        0.005079368696446147,
        0.001923947120512482,
        0.0007616931130445642,
        0.0003069501169743658,
        0.00014955931471298238,
        -1.8303190216597286e-05,
        0.00023367971388970295,
        -0.00044294458692931864,
        0.0007513086694988344,
        -0.0009282734750758167,
        0.0008648363137439754,
        -0.0005802364173596857,
        0.00026812327612288264,
        -7.633100401979769e-05,
        1.0347220098844965e-05,
    ),
    "float32": (
        1.0000000047988182,
        0.16666589139992682,
        0.044464829330426545,
        0.014081973972666887,
        0.0060830568116312135,
        -0.0007905127219343937,
        0.004917238419657892,
        -0.0031453168331718293,
        0.0014233762470063727,
    ),
}


@jax.custom_jvp
def arccos(c: Array) -> Array:
    """The angle in [0, pi] whose cosine is c; 0 above 1, and pi below -1.

    Its derivative, -1 / sqrt(1 - c²), is taken as 0 from ±1 on.

    Args:
      c: float32 or float64.
    """
    x = jnp.maximum(1 - jnp.abs(c), 0)
    t = _angle(x)
    return jnp.where(c < 0, math.pi - t, t)


@arccos.defjvp
def _arccos_jvp(primals, tangents):
    (c,), (dc,) = primals, tangents
    square = (1 - c) * (1 + c)
    inside = square > 0
    return arccos(c), jnp.where(inside, -dc / jnp.sqrt(jnp.where(inside, square, 1)), 0)


@jax.custom_jvp
def arcsin(k: Array, d: Array, h: Array) -> Array:
    """The angle in [-pi/2, pi/2] of the sine k / h and the cosine d / h; arctan2(k, d).

    Args:
      k: float32 or float64.
      d: sqrt(h² - k²), at least 0; its digits are those of the angle near ±pi/2.
      h: sqrt(k² + d²), above 0. What a derivative of it would add is in those of k and d.
    """
    sine = k / h
    t = _angle(sine * sine / (1 + d / h))  # 1 - cos t = sin² t / (1 + cos t)
    return jnp.where(k < 0, -t, t)


@arcsin.defjvp
def _arcsin_jvp(primals, tangents):
    (k, d, h), (dk, dd, _) = primals, tangents
    return arcsin(k, d, h), (d / h * dk - k / h * dd) / h


def _angle(x: Array) -> Array:
    """The angle in [0, pi/2] whose cosine is 1 - x: even and odd powers of H apart."""
    coefficients = COEFFICIENTS[str(x.dtype)]
    even, odd = (_horner(x * x, coefficients[i::2]) for i in (0, 1))
    return jnp.sqrt(2 * x * (even + x * odd))


def _horner(t: Array, coefficients: tuple[float, ...]) -> Array:
    *rest, value = coefficients
    value = jnp.full_like(t, value)
    for coefficient in reversed(rest):
        value = value * t + coefficient
    return value
