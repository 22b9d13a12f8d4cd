"""Piecewise linear nonlinearities: ReLU and its kin (arc-cosine kernels of order 1).

With c the correlation, t = arccos c and D = sqrt(k11 k22 - k12²), for ReLU, Cho and Saul 2009:

    E[relu(u) relu(v)] = (D + k12 (pi - t)) / 2 pi,     E[step(u) step(v)] = (pi - t) / 2 pi

Numerics: t comes from arctan2(D, k12) and D from (s - k12)(s + k12), s = sqrt(k11 k22), which keeps
the digits that arccos of a ratio loses near c = ±1.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import Array

from theory.stax.layer import Layer
from theory.stax.nonlinear import Dual, nonlinearity


def safe_sqrt(x: Array) -> Array:
    """sqrt where x > 0, else 0 with derivative 0."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1.0)), 0.0)


def Relu(do_stabilize: bool = False) -> Layer:
    """max(x, 0).

    Args:
      do_stabilize: accepted for compatibility; the formula here is always stable.
    """

    def pair(k12, k11, k22):
        s = safe_sqrt(k11) * safe_sqrt(k22)
        d = safe_sqrt((s - k12) * (s + k12))
        zero = (d == 0) & (k12 == 0)
        angle = jnp.arctan2(d, jnp.where(zero, 1.0, k12))
        dot = 0.5 - angle / (2 * math.pi)
        return d / (2 * math.pi) + k12 * dot, dot

    def same(k):
        return k / 2, jnp.full_like(k, 0.5)

    return nonlinearity("Relu()", lambda x: jnp.maximum(x, 0), Dual(pair, same, ops=30.0))
