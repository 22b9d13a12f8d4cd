"""E f(u) g(v) by integration in polar coordinates, refined to a tolerance.

With t the angle of the pair (cos t its correlation), u = sqrt(k11) r cos(a) and
v = sqrt(k22) r cos(a + t), for a uniform on the circle and r of density r exp(-r²/2). The lines
u = 0 and v = 0 cut the circle into two sectors of width pi - t, where u and v have one sign, and
two of width t, where they differ:

    E f g = (pi - t)/2pi  E_r int_0^1 [f g](±R1 sin((pi-t) x), ±R2 sin((pi-t)(1-x))) dx
          +        t/2pi  E_r int_0^1 [f g](±R1 sin(t x), ∓R2 sin(t (1-x))) dx,      R = sqrt(k) r

summed over both signs. In a sector nothing is singular where f and g are smooth away from 0,
however close c is to ±1; features of small scale sit at the ends of x and of r, where the rules
are fine.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from theory import quadrature
from theory.stax.elementwise.expectations import Products
from theory.stax.elementwise.gaussian_pair import angle, safe_sqrt


class Estimate(NamedTuple):
    """Integrals, and the largest relative error: the last change, times its ratio to the former."""

    values: tuple[Array, ...]
    error: Array


class Grid(NamedTuple):
    """The nodes of every level in one table, and where each level's begin (one more at the end)."""

    x: np.ndarray
    complement: np.ndarray
    x_weights: np.ndarray
    x_starts: np.ndarray
    r: np.ndarray
    r_weights: np.ndarray
    r_starts: np.ndarray


def grid() -> Grid:
    """Levels, each finer than the last; the first two suffice for what is smooth away from 0."""
    angles = [
        quadrature.gauss_legendre(12),
        quadrature.gauss_legendre(20),
        quadrature.gauss_legendre(32),
        quadrature.gauss_legendre(48),
        quadrature.double_exponential(1 / 16),
        quadrature.double_exponential(1 / 24),
    ]
    radii = [quadrature.radial(step) for step in (1 / 6, 1 / 9, 1 / 12, 1 / 16, 1 / 28, 1 / 40)]

    def starts(rules):
        return np.cumsum([0] + [len(rule.nodes) for rule in rules]).astype(np.int32)

    x, complement, x_weights = (np.concatenate(parts) for parts in zip(*angles, strict=True))
    r, r_weights = (np.concatenate(parts) for parts in zip(*radii, strict=True))
    return Grid(x, complement, x_weights, starts(angles), r, r_weights, starts(radii))


def integrate(
    products: Products,
    k12: Array,
    k11: Array,
    k22: Array,
    norms: tuple[Array, ...],
    tolerance: float,
) -> Estimate:
    """The expectations.

    Args:
      products: (f, g) pairs.
      k12, k11, k22: covariance and variances, which broadcast.
      norms: sqrt(E f² E g²) of each product, against which errors are measured.
      tolerance: levels are refined until the error of the last, estimated as its change times the
        ratio of its change to the one before, is below.
    """
    table = grid()
    tables = [jnp.asarray(part, k12.dtype if part.dtype == np.float64 else None) for part in table]
    x, xc, x_weights, x_starts, r, r_weights, r_starts = tables
    k12 = k12 + jnp.zeros_like(k11 + k22)
    t = angle(k12, k11, k22)
    sigma1, sigma2 = safe_sqrt(k11), safe_sqrt(k22)
    zero = tuple(jnp.zeros_like(k12) for _ in products)

    def at_level(level):
        def over_x(i, sums):
            wide, narrow = (math.pi - t), t
            same1, same2 = jnp.sin(wide * x[i]), jnp.sin(wide * xc[i])
            other1, other2 = jnp.sin(narrow * x[i]), -jnp.sin(narrow * xc[i])

            def over_r(j, inner):
                one, two = r[j] * sigma1, r[j] * sigma2

                def both(f, g, left, right):
                    u, v = one * left, two * right
                    return f(u) * g(v) + f(-u) * g(-v)

                return tuple(
                    value
                    + r_weights[j]
                    * (wide * both(f, g, same1, same2) + narrow * both(f, g, other1, other2))
                    for value, (f, g) in zip(inner, products, strict=True)
                )

            inner = lax.fori_loop(r_starts[level], r_starts[level + 1], over_r, zero)
            return tuple(a + x_weights[i] * b for a, b in zip(sums, inner, strict=True))

        sums = lax.fori_loop(x_starts[level], x_starts[level + 1], over_x, zero)
        return tuple(value / (2 * math.pi) for value in sums)

    def unfinished(state):
        level, _, _, error = state
        return (level < len(table.x_starts) - 1) & (error > tolerance)

    def refine(state):
        level, before, change_before, _ = state
        now = at_level(level)
        changes = [
            jnp.max(jnp.where(norm > 0, jnp.abs(a - b) / jnp.where(norm > 0, norm, 1.0), 0.0))
            for a, b, norm in zip(now, before, norms, strict=True)
        ]
        change = jnp.stack(changes).max()
        ratio = jnp.where(change_before > 0, change / change_before, 1.0)
        return level + 1, now, change, change * jnp.minimum(ratio, 1.0)

    first = at_level(jnp.int32(0))
    one = jnp.ones((), k12.dtype)
    _, values, _, error = lax.while_loop(unfinished, refine, (jnp.int32(1), first, one, one))
    return Estimate(values, error)
