"""What closed forms share: functions of a pair of Gaussians that stay accurate at correlation ±1.

For (u, v) ~ N(0, [[k11, k12], [k12, k22]]), with s = sqrt(k11 k22):

    determinant   k11 k22 - k12² = (s - k12)(s + k12)
    angle         t = arccos(k12 / s)

Differences of s and k12 keep the digits that the difference of their squares loses. Derivatives are
given by rules of their own, so that neither 1 / 0 nor a difference of large terms enters them.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import Array

from theory.stax.angles import arccos


def safe_sqrt(x: Array) -> Array:
    """sqrt where x > 0, else 0 with derivative 0."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1.0)), 0.0)


def safe_divide(x: Array, y: Array) -> Array:
    """x / y, and 0 with derivative 0 where y is 0."""
    zero = y == 0
    return jnp.where(zero, 0.0, x / jnp.where(zero, 1.0, y))


def scale(k11: Array, k22: Array) -> Array:
    """s = sqrt(k11 k22), which neither overflows nor underflows."""
    return safe_sqrt(k11) * safe_sqrt(k22)


def area(k12: Array, k11: Array, k22: Array) -> Array:
    """D = sqrt(k11 k22 - k12²), 0 where rounding makes it imaginary; in all of a dtype's range."""
    s = scale(k11, k22)
    return safe_sqrt(s - k12) * safe_sqrt(s + k12)


@jax.custom_jvp
def determinant(k12: Array, k11: Array, k22: Array) -> Array:
    """k11 k22 - k12² >= 0, with the derivative of that polynomial everywhere."""
    s = jnp.sqrt(k11) * jnp.sqrt(k22)
    return jnp.maximum((s - k12) * (s + k12), 0.0)


@determinant.defjvp
def _determinant_jvp(primals, tangents):
    k12, k11, k22 = primals
    d12, d11, d22 = tangents
    return determinant(*primals), k22 * d11 + k11 * d22 - 2 * k12 * d12


@jax.custom_jvp
def angle(k12: Array, k11: Array, k22: Array) -> Array:
    """t in [0, pi]; pi / 2 where a variance is 0.

    dt = -(dk12 - k12 (dk11/k11 + dk22/k22) / 2) / D, taken as 0 where D = 0: there t has a cusp.
    """
    return arccos(safe_divide(k12, scale(k11, k22)))


@angle.defjvp
def _angle_jvp(primals, tangents):
    k12, k11, k22 = primals
    d12, d11, d22 = tangents
    change = d12 - k12 / 2 * (safe_divide(d11, k11) + safe_divide(d22, k22))
    return angle(*primals), -safe_divide(change, area(*primals))


def double_factorial(n: int) -> int:
    """n (n - 2) (n - 4) ..; 1 for n <= 0."""
    return math.prod(range(n, 0, -2))
