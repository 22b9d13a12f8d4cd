"""Any function, by integration: to a tolerance, or by a fixed number of nodes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from theory import quadrature
from theory.stax.affine import check_size, written
from theory.stax.elementwise import mehler, polar
from theory.stax.elementwise.expectations import (
    Engine,
    Function,
    Products,
    derivative,
    expectations,
    with_derivative,
)
from theory.stax.elementwise.gaussian_pair import safe_sqrt
from theory.stax.layer import Layer
from theory.stax.nonlinear import Dual, nonlinearity

# Relative to sqrt(E f² E g²): the error that is aimed at, and that which is reported.
TOLERANCE = {"float32": 3e-6, "float64": 2e-13}
REPORTED = {"float32": 3e-4, "float64": 1e-9}
CHUNK = 512  # pairs that are integrated together in polar coordinates


def Elementwise(
    fn: Callable[[Any], Any] | None = None,
    nngp_fn: Callable[[Any, Any, Any], Any] | None = None,
    d_nngp_fn: Callable[[Any, Any, Any], Any] | None = None,
) -> Layer:
    """A function of one's own.

    Without `nngp_fn` both expectations are integrated numerically, to an estimated error of 2e-13
    (3e-6 in float32) relative to sqrt(E fn(u)² E fn(v)²). A RuntimeWarning says so where it is
    above 1e-9 (3e-4). fn or its derivative may jump at 0; jumps elsewhere cost accuracy. Where the
    derivative jumps, derivatives of the NTK (not of the NNGP) are those of the smooth part of fn'.

    Args:
      fn: the function, of an array, elementwise. None: there is no finite network.
      nngp_fn: (k12, k11, k22) -> E[fn(u) fn(v)], of scalars; None: by integration of fn.
      d_nngp_fn: (k12, k11, k22) -> E[fn'(u) fn'(v)]; None: the derivative of nngp_fn along k12, by
        Price's theorem. It must be finite at k12 = ±sqrt(k11 k22), where an arccos is not.

    Raises:
      ValueError: neither fn nor nngp_fn is given, or d_nngp_fn is and nngp_fn is not.
      NotImplementedError: when apply_fn is called, and fn is None.

    References:
      Price 1958, A useful theorem for nonlinear devices having Gaussian inputs. Han et al. 2022,
      Fast neural kernel embeddings for general activations.
    """
    if fn is None and nngp_fn is None:
        raise ValueError("fn and nngp_fn are both None: at least one must be given")
    if nngp_fn is None and d_nngp_fn is not None:
        raise ValueError("d_nngp_fn is given without nngp_fn, which it is the derivative of")
    name = written("Elementwise", getattr(fn or nngp_fn, "__name__", repr(fn or nngp_fn)))
    if nngp_fn is None:
        assert fn is not None
        return integrated(name, fn)

    def apply(x):
        if fn is None:
            raise NotImplementedError(f"{name} has no finite network: fn is None")
        return fn(x)

    closed = jnp.vectorize(nngp_fn)

    def pair(k12, k11, k22):
        k12 = k12 + jnp.zeros_like(k11 + k22)
        if d_nngp_fn is not None:
            return closed(k12, k11, k22), jnp.vectorize(d_nngp_fn)(k12, k11, k22)
        return jax.jvp(lambda k: closed(k, k11, k22), (k12,), (jnp.ones_like(k12),))

    return nonlinearity(name, apply, Dual(pair, lambda k: pair(k, k, k)))


def ElementwiseNumerical(
    fn: Callable[[Any], Any], deg: int, df: Callable[[Any], Any] | None = None
) -> Layer:
    """A function of one's own, by Gauss-Hermite quadrature with deg nodes z_i and weights w_i.

        E[fn(u) fn(v)] = sum_(n < deg) a_n(k11) a_n(k22) c^n,     c the correlation,
        a_n(k) = sum_i w_i fn(sqrt(k) z_i) h_n(z_i)

    with h_n the Hermite polynomials of unit norm (Mehler's formula, as many terms as a rule of deg
    nodes can tell apart). It is symmetric and positive semi-definite, at c = 1 it is the quadrature
    of fn², and a pair costs deg operations, not deg².
    Elementwise(fn) has error control, and is to be preferred unless the cost must be fixed.

    Args:
      fn: the function, of an array, elementwise; smooth: at a kink the error falls as 1 / deg only.
      deg: nodes, >= 1.
      df: its derivative; None: by automatic differentiation.

    Raises:
      ValueError: deg is no positive int.

    References:
      Han et al. 2022, Fast neural kernel embeddings for general activations.
    """
    rule = quadrature.gauss_hermite(check_size(deg, "deg"))
    function = fn if df is None else with_derivative(fn, df)
    name = written("ElementwiseNumerical", getattr(fn, "__name__", repr(fn)), deg)

    def engine(products, k12, k11, k22):
        k12 = k12 + jnp.zeros_like(k11 + k22)
        return mehler.truncated(products, k12, k11, k22, rule, deg)

    return nonlinearity(name, fn, _dual(function, engine, rule, 4.0 * deg))


def integrated(name: str, fn: Function) -> Layer:
    """The layer of a function, by integration to the tolerance of the dtype."""
    return nonlinearity(name, fn, _dual(fn, adaptive, quadrature.normal(20, 1.0, 8), 600.0))


def _dual(fn: Function, engine: Engine, rule: quadrature.Rule, ops: float) -> Dual:
    slope = derivative(fn)
    moments = expectations(engine, ((fn, fn), (slope, slope)))

    def pair(k12, k11, k22):
        nngp, dot = moments(k12, k11, k22)
        return nngp, dot

    def same(k):
        nodes = jnp.asarray(rule.nodes.reshape(-1, *(1,) * k.ndim), k.dtype)
        weights = jnp.asarray(rule.weights, k.dtype)
        at = nodes * safe_sqrt(k)

        def square(f):
            return jnp.tensordot(weights, f(at) ** 2, 1, precision="highest")

        return square(fn), square(slope)

    return Dual(pair, same, ops)


def adaptive(products: Products, k12: Array, k11: Array, k22: Array) -> tuple[Array, ...]:
    """Expectations by Mehler's series, in polar coordinates for pairs whose bound is too large."""
    k12 = k12 + jnp.zeros_like(k11 + k22)
    tolerance = TOLERANCE[k12.dtype.name]
    series = mehler.series(products, k12, k11, k22, tolerance)
    # x beside itself, up to rounding: one integral, not two
    slack = 8 * jnp.finfo(k12.dtype).eps
    twin = (jnp.abs(k12 - k11) <= slack * k11) & (jnp.abs(k12 - k22) <= slack * k22)
    at_twins = mehler.coincident(products, k11)
    mixed = [jnp.where(twin, a, b) for a, b in zip(at_twins, series.values, strict=True)]
    hard = ((series.bound > tolerance) & ~twin).ravel()
    arrays = [jnp.broadcast_to(a, k12.shape).ravel() for a in (k12, k11, k22, *series.norms)]

    def mend(values):
        size = min(CHUNK, hard.size)
        order = jnp.argsort(~hard)  # stable: the hard ones first
        count = hard.sum()
        chunks = (count + size - 1) // size

        def step(i, state):
            flat, worst = state
            at = lax.dynamic_slice_in_dim(order, i * size, size)  # the last chunk may start earlier
            own12, own11, own22, *own_norms = (a[at] for a in arrays)
            out = polar.integrate(products, own12, own11, own22, tuple(own_norms), tolerance)
            flat = tuple(a.at[at].set(b) for a, b in zip(flat, out.values, strict=True))
            return flat, jnp.maximum(worst, out.error)

        start = tuple(value.ravel() for value in values), jnp.zeros((), k12.dtype)
        flat, worst = lax.fori_loop(0, chunks, step, start)
        jax.debug.callback(_report, worst, REPORTED[k12.dtype.name])
        return tuple(a.reshape(k12.shape) for a in flat)

    return lax.cond(hard.any(), mend, lambda values: values, tuple(mixed))


def _report(error: np.ndarray, allowed: float) -> None:
    if not np.all(error <= allowed):
        warnings.warn(
            f"numerical integration of a nonlinearity has a relative error of {np.max(error):.1e}; "
            f"up to {float(allowed):.0e} is silent",
            RuntimeWarning,
            stacklevel=2,
        )
