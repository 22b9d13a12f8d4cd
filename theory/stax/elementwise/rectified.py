"""Piecewise linear nonlinearities: ReLU and its kin (arc-cosine kernels of order 1).

phi(x) = a min(x, 0) + b max(x, 0). With t the angle and D the root of the determinant of the pair's
covariance, Cho and Saul 2009 for ReLU (a = 0, b = 1):

    E[phi'(u) phi'(v)] = (a² + b²) / 2 - (a - b)² t / 2 pi
    E[phi(u) phi(v)] = (a - b)² D / 2 pi + k12 E[phi'(u) phi'(v)]

Numerics: with c the correlation, D = s sqrt((1 - c)(1 + c)) keeps the digits that 1 - c² loses near
c = ±1, and nothing is squared that float32 could not hold. pi - t is arccos(-c), so ReLU's
expectations are small where they should be. Where a variance is 0, phi'(0) = (a + b) / 2.

Speed: this is the hot loop of most kernels. Roots are taken once a side and not once a pair, and
arccos is arithmetic (theory/stax/angles.py), not a call of the C library.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

from theory.stax.affine import written
from theory.stax.angles import arccos
from theory.stax.elementwise.gaussian_pair import area, safe_divide
from theory.stax.layer import Layer
from theory.stax.nonlinear import Dual, nonlinearity


def ABRelu(a: float, b: float, do_stabilize: bool = False) -> Layer:
    """a min(x, 0) + b max(x, 0).

    Args:
      a: slope where x < 0.
      b: slope where x > 0.
      do_stabilize: accepted for compatibility; the formula here is always stable.

    References:
      Cho and Saul 2009, Kernel methods for deep learning. Tsuchida et al. 2018, Invariance of
      weight distributions in rectified MLPs.
    """
    return _layer(written("ABRelu", a, b), float(a), float(b))


def Relu(do_stabilize: bool = False) -> Layer:
    """max(x, 0).

    Args:
      do_stabilize: accepted for compatibility; the formula here is always stable.

    References:
      Cho and Saul 2009, Kernel methods for deep learning, order 1.
    """
    return _layer("Relu()", 0.0, 1.0)


def LeakyRelu(alpha: float, do_stabilize: bool = False) -> Layer:
    """alpha min(x, 0) + max(x, 0).

    Args:
      alpha: slope where x < 0.
      do_stabilize: accepted for compatibility; the formula here is always stable.
    """
    return _layer(written("LeakyRelu", alpha), float(alpha), 1.0)


def Abs(do_stabilize: bool = False) -> Layer:
    """|x|.

    Args:
      do_stabilize: accepted for compatibility; the formula here is always stable.
    """
    return _layer("Abs()", -1.0, 1.0)


def _layer(name: str, a: float, b: float) -> Layer:
    def fn(x):
        if a == 0 and b == 1:
            return jnp.maximum(x, 0)
        return a * jnp.minimum(x, 0) + b * jnp.maximum(x, 0)

    return nonlinearity(name, fn, Dual(rectified_pair(a, b), rectified_same(a, b), ops=30.0))


def rectified_pair(a: float, b: float) -> Callable[..., tuple[Array, Array]]:
    """(k12, k11, k22) -> (E[phi phi], E[phi' phi']) of slopes a, b, in all of a dtype's range."""
    bend = (a - b) ** 2 / (2 * math.pi)

    @jax.custom_jvp
    def pair(k12, k11, k22):
        s1, s2, r1, r2 = _roots(k11, k22)
        c = k12 * r1 * r2
        e = jnp.sqrt(jnp.maximum((1 - c) * (1 + c), 0))
        dot = a * b + bend * arccos(-c)  # pi - t
        return bend * e * s1 * s2 + k12 * dot, dot

    @pair.defjvp
    def pair_jvp(primals, tangents):
        # From homogeneity: no terms in 1 / D, which would cancel near D = 0, in the first.
        k12, k11, k22 = primals
        d12, d11, d22 = tangents
        nngp, dot = pair(*primals)
        d = area(*primals)
        spread = (safe_divide(d11, k11) + safe_divide(d22, k22)) / 2
        return (nngp, dot), (dot * d12 + bend * d * spread,
                             bend * safe_divide(d12 - k12 * spread, d))  # fmt: skip

    return pair


def _roots(k11: Array, k22: Array) -> tuple[Array, ...]:
    """Roots of variances and their inverses; the barrier keeps them out of the loop over pairs."""
    s1, s2 = jnp.sqrt(k11), jnp.sqrt(k22)
    return lax.optimization_barrier((s1, s2, _inverse(s1), _inverse(s2)))


def _inverse(s: Array) -> Array:
    return safe_divide(jnp.ones_like(s), s)


def rectified_same(a: float, b: float) -> Callable[[Array], tuple[Array, Array]]:
    """k -> (E[phi²], E[phi'²])."""
    mean = (a**2 + b**2) / 2

    def same(k):
        return mean * k, jnp.where(k > 0, mean, ((a + b) / 2) ** 2).astype(k.dtype)

    return same
