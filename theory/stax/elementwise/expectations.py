"""E f(u) g(v) of any functions f and g, with derivatives that need no derivative of a quadrature.

For (u, v) ~ N(0, [[k11, k12], [k12, k22]]), Price 1958 and, for the second, Stein's lemma:

    d E[f g] / dk12 = E[f'(u) g'(v)]
    d E[f g] / dk11 = E[f''(u) g(v)] / 2 = (E[u f'(u) g(v)] - k12 E[f'(u) g'(v)]) / 2 k11

The last form holds where f' jumps, and loses no digits in what a derivative along inputs needs.
How an expectation is computed is the business of an `Engine`.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from theory.stax.elementwise.gaussian_pair import safe_divide

Function = Callable[[Array], Array]  # elementwise
Products = tuple[tuple[Function, Function], ...]
Engine = Callable[[Products, Array, Array, Array], tuple[Array, ...]]


def derivative(f: Function) -> Function:
    """f', elementwise."""

    def slope(x: Array) -> Array:
        return jax.jvp(f, (x,), (jnp.ones_like(x),))[1]

    return slope


def with_derivative(f: Function, slope: Function) -> Function:
    """f, whose derivative is computed by `slope`."""
    wrapped = jax.custom_jvp(lambda x: f(x))
    wrapped.defjvp(lambda primals, tangents: (f(*primals), slope(*primals) * tangents[0]))
    return wrapped


def expectations(engine: Engine, products: Products) -> Callable[..., tuple[Array, ...]]:
    """(k12, k11, k22) -> E f(u) g(v) of every product (f, g); differentiable in every mode."""

    @jax.custom_jvp
    def moments(k12, k11, k22):
        return engine(products, k12, k11, k22)

    @moments.defjvp
    def moments_jvp(primals, tangents):
        k12, k11, k22 = primals
        d12, d11, d22 = tangents
        inner = []
        for f, g in products:
            df, dg = derivative(f), derivative(g)
            inner += [(df, dg), (_times_x(df), g), (f, _times_x(dg))]
        out = expectations(engine, tuple(inner))(*primals)
        changes = tuple(
            slope * d12
            + safe_divide(left - k12 * slope, 2 * k11) * d11
            + safe_divide(right - k12 * slope, 2 * k22) * d22
            for slope, left, right in zip(out[::3], out[1::3], out[2::3], strict=True)
        )
        return moments(*primals), changes

    return moments


def _times_x(f: Function) -> Function:
    return lambda x: x * f(x)
