"""E f(u) g(v) as a power series in the correlation, with a bound on what is left out.

With h_n the Hermite polynomials of unit norm and c the correlation, Mehler's formula gives

    E[f(u) g(v)] = sum_n a_n b_n c^n
    a_n = E[f(sqrt(k11) z) h_n(z)],     b_n = E[g(sqrt(k22) z) h_n(z)]

The integrals belong to one side of the pair: between N and N' examples there are N + N' of them,
and a pair costs one multiplication and addition a term. By Parseval and Cauchy-Schwarz the terms
from n on are at most

    |c|^n sqrt((E f² - sum_(m<n) a_m²) (E g² - sum_(m<n) b_m²)),

a bound that needs no more integrals; terms are added until it is small. It stays large where c is
near ±1 and f has a kink, or poles within half a standard deviation; `polar` is for that.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from theory import quadrature
from theory.quadrature import Rule
from theory.stax.elementwise.expectations import Function, Products
from theory.stax.elementwise.gaussian_pair import safe_divide, safe_sqrt, scale

STEP = 32  # terms that are computed together


class Series(NamedTuple):
    """A series, and what is known of its error.

    Attributes:
      values: its sum, of each product.
      bound: of each pair, on the error relative to sqrt(E f² E g²) of the worst product; infinite
        where two rules disagree on some E f².
      norms: sqrt(E f² E g²) of each product.
    """

    values: tuple[Array, ...]
    bound: Array
    norms: tuple[Array, ...]


def series(
    products: Products, k12: Array, k11: Array, k22: Array, tolerance: float, terms: int = 320
) -> Series:
    """The sums, of as many terms as the worst pair needs, at most `terms`."""
    rule, check = quadrature.normal(20, 1.0, 8), quadrature.normal(16, 0.8, 7)
    table = weighted_hermite(rule, terms, k12.dtype)
    one, left = _side([f for f, _ in products], rule, check, k11)
    two, right = _side([g for _, g in products], rule, check, k22)
    c = _correlation(k12, k11, k22)
    largest = jnp.max(jnp.abs(c))

    def share(taken):
        a, b = (
            jnp.maximum(safe_divide(side.squares - part, side.squares), 0.0)
            for side, part in zip((one, two), taken, strict=True)
        )
        a, b = (v.reshape(len(v), -1).max(1) for v in (a, b))
        return jnp.sqrt(a[left] * b[right]).max()

    def more(state):
        n, _, _, rest = state
        return (n < terms) & (largest**n * rest > tolerance)

    def extend(state):
        n, coefficients, taken, _ = state
        rows = lax.dynamic_slice_in_dim(table, n, STEP)
        new = [_dot(rows, side.values) for side in (one, two)]
        coefficients = [
            lax.dynamic_update_slice_in_dim(old, part, n, 0)
            for old, part in zip(coefficients, new, strict=True)
        ]
        taken = [old + (part**2).sum(0) for old, part in zip(taken, new, strict=True)]
        return n + STEP, coefficients, taken, share(taken)

    sides = (one, two)
    start = [jnp.zeros((terms, *side.squares.shape), k12.dtype) for side in sides]
    state = jnp.int32(0), start, [jnp.zeros_like(s.squares) for s in sides], jnp.ones((), k12.dtype)
    count, (a, b), _, rest = lax.while_loop(more, extend, state)
    pairs = list(zip(left, right, strict=True))
    values = power_sums(c, [(a[:, i], b[:, j]) for i, j in pairs], count // STEP)
    wrong = ~(jnp.maximum(one.error, two.error) <= 10 * tolerance)
    norms = tuple(safe_sqrt(one.squares[i]) * safe_sqrt(two.squares[j]) for i, j in pairs)
    return Series(values, jnp.where(wrong, jnp.inf, jnp.abs(c) ** count * rest), norms)


def truncated(
    products: Products, k12: Array, k11: Array, k22: Array, rule: Rule, terms: int
) -> tuple[Array, ...]:
    """The first terms alone, integrals by a given rule: positive semi-definite where f is g."""
    padded = -(-terms // STEP) * STEP
    table = weighted_hermite(rule, terms, k12.dtype)
    table = jnp.concatenate([table, jnp.zeros((padded - terms, table.shape[1]), table.dtype)])
    pairs = [
        (_dot(table, _values(f, rule, k11)), _dot(table, _values(g, rule, k22)))
        for f, g in products
    ]
    return power_sums(_correlation(k12, k11, k22), pairs, padded // STEP)


def coincident(products: Products, k: Array) -> tuple[Array, ...]:
    """E f(u) g(u) of one variance."""
    rule = quadrature.normal(20, 1.0, 8)
    weights = jnp.asarray(rule.weights, k.dtype)
    return tuple(_dot(weights, _values(f, rule, k) * _values(g, rule, k)) for f, g in products)


def weighted_hermite(rule: Rule, terms: int, dtype) -> Array:
    """(terms, nodes): h_n(z) times the rule's weights, by the recurrence of h_n."""
    z = jnp.asarray(rule.nodes, dtype)

    def step(rows, n):
        before, now = rows
        return (now, (z * now - jnp.sqrt(n) * before) / jnp.sqrt(n + 1)), now

    first = jnp.asarray(rule.weights, dtype)
    return lax.scan(step, (jnp.zeros_like(z), first), jnp.arange(terms, dtype=dtype))[1]


def power_sums(c: Array, pairs: list, steps: Array | int) -> tuple[Array, ...]:
    """sum_n a_n b_n c^n over the first STEP * steps terms, of each (a, b), by Horner's rule."""
    start = tuple(jnp.zeros_like(c) + 0 * a[0] * b[0] for a, b in pairs)
    unroll = 8

    def step(i, sums):
        n = STEP * steps - unroll * (i + 1)
        out = []
        for value, (a, b) in zip(sums, pairs, strict=True):
            one = lax.dynamic_slice_in_dim(a, n, unroll)
            two = lax.dynamic_slice_in_dim(b, n, unroll)
            for m in reversed(range(unroll)):
                value = value * c + one[m] * two[m]
            out.append(value)
        return tuple(out)

    return lax.fori_loop(0, STEP // unroll * steps, step, start)


def _correlation(k12: Array, k11: Array, k22: Array) -> Array:
    return jnp.clip(safe_divide(k12, scale(k11, k22)), -1.0, 1.0)


class _Side(NamedTuple):
    """values (nodes, functions, *side), E f² (functions, *side), and its error by another rule."""

    values: Array
    squares: Array
    error: Array


def _side(functions: list[Function], rule: Rule, check: Rule, k: Array) -> tuple[_Side, np.ndarray]:
    """Every distinct function of one side, and which of them each is."""
    distinct = list(dict.fromkeys(functions))

    def at(rule: Rule) -> tuple[Array, Array]:
        values = jnp.stack([_values(f, rule, k) for f in distinct], 1)
        return values, _dot(jnp.asarray(rule.weights, k.dtype), values**2)

    (values, squares), (_, again) = at(rule), at(check)
    error = jnp.max(jnp.abs(safe_divide(again - squares, squares)))
    return _Side(values, squares, error), np.array([distinct.index(f) for f in functions])


def _values(f: Function, rule: Rule, k: Array) -> Array:
    """(nodes, *side)."""
    nodes = jnp.asarray(rule.nodes, k.dtype).reshape(-1, *(1,) * k.ndim)
    return f(nodes * safe_sqrt(k))


def _dot(a: Array, b: Array) -> Array:
    return jnp.tensordot(a, b, 1, precision="highest")
