"""Every nonlinearity with its function in NumPy float64, for the tests of this folder."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from theory.kernel import Kernel
from theory.stax import elementwise
from theory.stax.elementwise.expectations import derivative
from theory.stax.layer import Layer
from theory.stax.nonlinear import Dual


class Case(NamedTuple):
    """A layer, its function and derivative, and where its pieces meet.

    Attributes:
      layer: the layer.
      fn, slope: of NumPy float64 arrays; the slope without jumps' deltas.
      kinked: whether the function or its derivative jumps at 0.
      integrated: whether its expectations are integrated numerically.
    """

    layer: Layer
    fn: Any
    slope: Any
    kinked: bool = False
    integrated: bool = False


def _of(layer: Layer, fn, slope, **facts) -> Case:
    return Case(layer, fn, slope, **facts)


def _gauss(x):
    return np.exp(-(x**2))


CASES = {
    "Relu": _of(elementwise.Relu(), lambda x: x * (x > 0), lambda x: 1.0 * (x > 0), kinked=True),
    "LeakyRelu": _of(elementwise.LeakyRelu(0.2), lambda x: np.where(x > 0, x, 0.2 * x),
                     lambda x: np.where(x > 0, 1, 0.2), kinked=True),
    "ABRelu": _of(elementwise.ABRelu(-0.3, 1.2), lambda x: np.where(x > 0, 1.2 * x, -0.3 * x),
                  lambda x: np.where(x > 0, 1.2, -0.3), kinked=True),
    "Abs": _of(elementwise.Abs(), np.abs, np.sign, kinked=True),
    "Sign": _of(elementwise.Sign(), np.sign, np.zeros_like, kinked=True),
    "RectifiedMonomial0": _of(elementwise.RectifiedMonomial(0), lambda x: 1.0 * (x >= 0),
                              np.zeros_like, kinked=True),
    "RectifiedMonomial2": _of(elementwise.RectifiedMonomial(2), lambda x: x**2 * (x > 0),
                              lambda x: 2 * x * (x > 0), kinked=True),
    "RectifiedMonomial5": _of(elementwise.RectifiedMonomial(5), lambda x: x**5 * (x > 0),
                              lambda x: 5 * x**4 * (x > 0), kinked=True),
    "Erf": _of(elementwise.Erf(1.3, 0.7, 0.2), lambda x: 1.3 * special.erf(0.7 * x) + 0.2,
               lambda x: 1.3 * 0.7 * 2 / np.sqrt(np.pi) * _gauss(0.7 * x)),
    "Sigmoid_like": _of(elementwise.Sigmoid_like(),
                        lambda x: 0.5 * special.erf(x / 2.4020563531719796) + 0.5,
                        lambda x: _gauss(x / 2.4020563531719796) / 4.257534033271735),
    "Gelu": _of(elementwise.Gelu(), lambda x: x * special.ndtr(x),
                lambda x: special.ndtr(x) + x * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)),
    "Sin": _of(elementwise.Sin(1.2, 0.8, 0.3), lambda x: 1.2 * np.sin(0.8 * x + 0.3),
               lambda x: 1.2 * 0.8 * np.cos(0.8 * x + 0.3)),
    "Cos": _of(elementwise.Cos(1.1, 0.9, 0.4), lambda x: 1.1 * np.cos(0.9 * x + 0.4),
               lambda x: -1.1 * 0.9 * np.sin(0.9 * x + 0.4)),
    "Rbf": _of(elementwise.Rbf(0.7), lambda x: np.sqrt(2) * np.sin(np.sqrt(1.4) * x + np.pi / 4),
               lambda x: np.sqrt(2.8) * np.cos(np.sqrt(1.4) * x + np.pi / 4)),
    "Exp": _of(elementwise.Exp(1.2, 0.5), lambda x: 1.2 * np.exp(0.5 * x),
               lambda x: 0.6 * np.exp(0.5 * x)),
    "Gaussian": _of(elementwise.Gaussian(1.1, -0.6), lambda x: 1.1 * np.exp(-0.6 * x**2),
                    lambda x: -1.32 * x * np.exp(-0.6 * x**2)),
    "Gaussian growing": _of(elementwise.Gaussian(1.1, 0.05), lambda x: 1.1 * np.exp(0.05 * x**2),
                            lambda x: 0.11 * x * np.exp(0.05 * x**2)),
    "Gabor": _of(elementwise.Gabor(), lambda x: _gauss(x) * np.sin(x),
                 lambda x: _gauss(x) * (np.cos(x) - 2 * x * np.sin(x))),
    "Monomial0": _of(elementwise.Monomial(0), np.ones_like, np.zeros_like),
    "Monomial3": _of(elementwise.Monomial(3), lambda x: x**3, lambda x: 3 * x**2),
    "Monomial6": _of(elementwise.Monomial(6), lambda x: x**6, lambda x: 6 * x**5),
    "Polynomial": _of(elementwise.Polynomial([0.5, -1, 0.3, 0.2]),
                      lambda x: 0.5 - x + 0.3 * x**2 + 0.2 * x**3,
                      lambda x: -1 + 0.6 * x + 0.6 * x**2),
    "Tanh": _of(elementwise.Tanh(), np.tanh, lambda x: np.cosh(x) ** -2.0, integrated=True),
    "Softplus": _of(elementwise.Softplus(), lambda x: np.logaddexp(x, 0), special.expit,
                    integrated=True),
    "Silu": _of(elementwise.Silu(), lambda x: x * special.expit(x),
                lambda x: special.expit(x) * (1 + x * special.expit(-x)), integrated=True),
    "Elementwise": _of(elementwise.Elementwise(jax.nn.elu),
                       lambda x: np.where(x > 0, x, np.expm1(x)),
                       lambda x: np.where(x > 0, 1, np.exp(x)), kinked=True, integrated=True),
}  # fmt: skip


QUICK = [
    pytest.param(name, marks=pytest.mark.slow) if case.integrated else name
    for name, case in CASES.items()
]  # integration is slow to compile


def dual_of(layer: Layer) -> Dual:
    """The expectations that a layer's kernel_fn computes, between inputs and of one input.

    One example on either side, and as many places as there are entries: a diagonal kernel whose
    NTK is 1, so that the NTK after the layer is E[phi'(u) phi'(v)].
    """

    def run(k12, k11, k22):
        shape = jnp.broadcast_shapes(*(jnp.shape(k) for k in (k12, k11, k22)))
        row, column, other = (jnp.broadcast_to(k, shape).reshape(-1) for k in (k12, k11, k22))
        twin = k12 is k11
        before = Kernel(
            nngp=row[None, None], ntk=jnp.ones_like(row)[None, None], cov1=column[None],
            cov2=None if twin else other[None], x1_is_x2=twin, is_gaussian=True,
            diagonal_spatial=True, shape1=(1, len(row), 1), shape2=(1, len(row), 1),
        )  # fmt: skip
        after = layer.kernel_fn(before)
        return after.nngp.reshape(shape), after.ntk.reshape(shape)

    return Dual(run, lambda k: run(k, k, k))


def apply_of(layer: Layer):
    """The finite function of a nonlinearity, and its derivative, of arrays."""

    def fn(x):
        return layer.apply_fn((), jnp.asarray(x)[None])[0]

    return fn, derivative(fn)


def expectation(f, k12: float, k11: float, k22: float) -> float:
    """E f(u) f(v) in NumPy float64: panels of Gauss-Legendre that break where u or v is 0.

    The inner integral over v given u is cut at v = 0, so that kinks there cost nothing.
    """
    s1, s2 = np.sqrt(k11), np.sqrt(k22)
    c = k12 / (s1 * s2)
    x, w = np.polynomial.legendre.leggauss(40)

    def panels(edges):
        lengths = np.diff(edges)
        nodes = (edges[:-1, None] + lengths[:, None] * (1 + x) / 2).ravel()
        return nodes, (lengths[:, None] * w / 2).ravel()

    z, weights = panels(np.linspace(-12, 12, 49))
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    if 1 - abs(c) < 1e-14:
        return float((weights * density * f(s1 * z) * f(np.sign(c) * s2 * z)).sum())
    spread = np.sqrt((1 - c) * (1 + c))
    total = 0.0
    for node, weight in zip(z, weights * density, strict=True):
        if weight < 1e-25:
            continue
        cut = np.clip(-c * node / spread, -12, 12)
        inner, inner_weights = panels(
            np.concatenate([np.linspace(-12, cut, 8), np.linspace(cut, 12, 8)[1:]])
        )
        v = s2 * (c * node + spread * inner)
        part = inner_weights * np.exp(-(inner**2) / 2) / np.sqrt(2 * np.pi) * f(v)
        total += weight * f(np.array(s1 * node)) * part.sum()
    return float(total)
