"""The polar Heaviside kernel: step functions of the angle, with the lengths kept."""

from __future__ import annotations

import math

from theory.stax.elementwise.gaussian_pair import angle, scale
from theory.stax.layer import Layer
from theory.stax.nonlinear import Dual, nonlinearity


def PolarHeaviside() -> Layer:
    """The arc-cosine kernel of order 0 times the lengths; it has no elementwise finite network.

        K' = sqrt(k11 k22) (1 - t / pi),  t = arccos(k12 / sqrt(k11 k22))

    Its variances are those of its inputs, K'_ii = K_ii. It stands in `stax.serial` like any
    nonlinearity; its NTK is not defined, and is given as 0.

    Raises:
      NotImplementedError: when its apply_fn is called.

    References:
      Cho and Saul 2009, Kernel methods for deep learning, order 0.
    """

    def pair(k12, k11, k22):
        value = scale(k11, k22) * (1 - angle(k12, k11, k22) / math.pi)
        return value, 0 * value

    def same(k):
        return k, 0 * k

    def fn(x):
        raise NotImplementedError("PolarHeaviside has no finite network: only its kernel_fn exists")

    return nonlinearity("PolarHeaviside()", fn, Dual(pair, same, ops=40.0))
