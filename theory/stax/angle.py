"""The angle of a correlation, as fast on a CPU as a few multiplications.

XLA calls the C library's scalar atan2 (and asin, acos through it) once an element, about 20 ns;
this one is arithmetic that vectorises.

Algorithm: min/max of the two arguments give a ratio in [0, 1]; above tan(pi/8) it is reduced by
atan(q) = pi/4 + atan((q-1)/(q+1)), which costs no second division; then a polynomial in the square,
interpolated at the Chebyshev nodes of [0, tan²(pi/8)], to 3e-17 (11 terms) or 2e-8 (5).

Numerics: relative to the angle itself at both ends, near 0 and near pi, as d and k carry it.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import Array

# atan(sqrt t) / sqrt t on [0, tan²(pi/8)], constant term first.
COEFFICIENTS = {
    "float64": (
        1.0,
        -0.33333333333328435,
        0.19999999998854887,
        -0.14285714180962764,
        0.1111110618010041,
        -0.09090773070619615,
        0.07689953484047984,
        -0.0664023414679265,
        0.05688351683773467,
        -0.043480622815232794,
        0.02113552427926433,
    ),
    "float32": (
        1.0,
        -0.33332785964012146,
        0.19974082708358765,
        -0.1384848952293396,
        0.07976292073726654,
    ),
}


@jax.custom_jvp
def angle(d: Array, k: Array) -> Array:
    """atan2(d, k) for d >= 0: the angle in [0, pi] whose cosine is k / sqrt(d² + k²).

    angle(0, 0) is 0. Its derivative, (k dd - d dk) / (d² + k²), is 0 there.

    Args:
      d: sqrt(k11 k22 - k12²), at least 0. float32 or float64.
      k: k12, of the same dtype and a shape that broadcasts.
    """
    size = jnp.abs(k)
    low, high = jnp.minimum(size, d), jnp.maximum(size, d)
    steep = low > math.tan(math.pi / 8) * high
    top = jnp.where(steep, low - high, low)
    bottom = jnp.where(steep, low + high, jnp.where(high == 0, 1, high))
    q = top / bottom
    at = jnp.where(steep, math.pi / 4, 0.0) + q * _polynomial(q * q)
    at = jnp.where(d > size, math.pi / 2 - at, at)
    return jnp.where(k < 0, math.pi - at, at)


@angle.defjvp
def _angle_jvp(primals, tangents):
    (d, k), (dd, dk) = primals, tangents
    square = d * d + k * k
    return angle(d, k), (k * dd - d * dk) / jnp.where(square == 0, 1, square)


def _polynomial(t: Array) -> Array:
    *rest, value = COEFFICIENTS[str(t.dtype)]
    value = jnp.full_like(t, value)
    for coefficient in reversed(rest):
        value = value * t + coefficient
    return value
