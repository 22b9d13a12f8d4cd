"""Rectified powers and the sign: arc-cosine kernels of any order.

F_n(k12, k11, k22) = E[u^n v^n; u > 0, v > 0]. With t the angle, D the root of the determinant and
s² = k11 k22, Cho and Saul 2009:

    2 pi F_n = A_n (pi - t) + B_n D,     dF_n / dk12 = n² F_(n-1)

A_n and B_n are polynomials of k12 and s² with integer coefficients: A_n = E[u^n v^n], and B_n
follows from the second equation. They are found once, exactly, when a layer is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import jax
import jax.numpy as jnp
from jax import Array

from theory.stax.affine import written
from theory.stax.elementwise.gaussian_pair import angle, area, double_factorial, safe_divide
from theory.stax.elementwise.rectified import rectified_pair
from theory.stax.layer import Layer
from theory.stax.nonlinear import Dual, nonlinearity


def RectifiedMonomial(degree: int) -> Layer:
    """x^degree where x >= 0, else 0.

    Degree 0 is a step, whose derivative is 0 in the finite network and in the NTK. An input of
    variance 0 is taken as the limit of small ones.

    Args:
      degree: an int >= 0.

    Raises:
      ValueError: degree is none.

    References:
      Cho and Saul 2009, Kernel methods for deep learning, order `degree`.
    """
    degree = check_degree(degree)

    def pair(k12, k11, k22):
        value = half_moment(degree)(k12, k11, k22)
        if degree == 0:
            return value, jnp.zeros_like(value)
        return value, degree**2 * half_moment(degree - 1)(k12, k11, k22)

    def same(k):
        def at(n):
            return double_factorial(2 * n - 1) / 2 * (k**n if n else jnp.ones_like(k))

        return at(degree), degree**2 * at(degree - 1) if degree else jnp.zeros_like(k)

    def fn(x):
        return jnp.where(x >= 0, x**degree, 0.0)

    return nonlinearity(
        written("RectifiedMonomial", degree), fn, Dual(pair, same, ops=30.0 + 8 * degree)
    )


def Sign() -> Layer:
    """sign(x): E = 1 - 2 t / pi. Its derivative is 0 in the finite network and in the NTK."""

    def pair(k12, k11, k22):
        value = 1 - angle(k12, k11, k22) * (2 / math.pi)
        return value, jnp.zeros_like(value)

    def same(k):
        return (k > 0).astype(k.dtype), jnp.zeros_like(k)

    return nonlinearity("Sign()", jnp.sign, Dual(pair, same, ops=25.0))


def check_degree(degree: int) -> int:
    """An int >= 0.

    Raises:
      ValueError: it is none.
    """
    if isinstance(degree, bool) or not isinstance(degree, int) or degree < 0:
        raise ValueError(f"degree must be an int >= 0, got {degree!r}")
    return degree


@lru_cache
def half_moment(n: int) -> Callable[[Array, Array, Array], Array]:
    """F_n, with dF_n = n² F_(n-1) dk12 + (n F_n - n² k12 F_(n-1)) (dk11/k11 + dk22/k22) / 2."""
    if n == 0:
        return lambda k12, k11, k22: 0.5 - angle(k12, k11, k22) / (2 * math.pi)
    if n == 1:
        pair = rectified_pair(0.0, 1.0)
        return lambda k12, k11, k22: pair(k12, k11, k22)[0]
    a, b = coefficients(n)

    @jax.custom_jvp
    def moment(k12, k11, k22):
        rest = math.pi - angle(k12, k11, k22)
        d, squared = area(k12, k11, k22), k11 * k22
        return (_homogeneous(a, k12, squared) * rest + _homogeneous(b, k12, squared) * d) / (
            2 * math.pi
        )

    @moment.defjvp
    def moment_jvp(primals, tangents):
        k12, k11, k22 = primals
        d12, d11, d22 = tangents
        value = moment(*primals)
        slope = n**2 * half_moment(n - 1)(*primals)
        spread = safe_divide(d11, k11) + safe_divide(d22, k22)
        return value, slope * d12 + (n * value - k12 * slope) / 2 * spread

    return moment


def coefficients(n: int) -> tuple[list[int], list[int]]:
    """A_n and B_n at s = 1, by powers of k12.

    With a', b' those of n - 1, matching powers in dF_n/dk12 = n² F_(n-1) gives
    b_(n-1) = (a_n + n² b'_(n-2)) / n and j b_(j-1) = (j + 1) b_(j+1) - n² (b'_j - b'_(j-2)) + a_j.
    """
    a, b = [1], [0]
    for m in range(1, n + 1):
        before = dict(enumerate(b))
        a = [
            math.factorial(m) ** 2
            // (2 ** (m - j) * math.factorial((m - j) // 2) ** 2 * math.factorial(j))
            if (m - j) % 2 == 0
            else 0
            for j in range(m + 1)
        ]
        now: dict[int, int] = {}
        for j in range(m, 0, -1):
            total = (j + 1) * now.get(j + 1, 0) + a[j]
            total -= m**2 * (before.get(j, 0) - before.get(j - 2, 0))
            now[j - 1] = total // j
        b = [now[j] for j in range(m)]
    return a, b


def _homogeneous(coefficients: list[int], k12: Array, squared: Array) -> Array:
    """sum_j c_j k12^j squared^((d - j) / 2), d the degree, where c_j = 0 for odd d - j."""
    total: Array | float = 0.0
    for i, c in enumerate(coefficients[::-2]):
        total = total * k12**2 + c * squared**i
    odd = (len(coefficients) - 1) % 2
    return jnp.asarray(total * k12 if odd else total)
