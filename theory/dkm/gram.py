"""The one value that layers of a deep kernel machine pass on, and what a Gram layer does to it."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import solve_triangular
from jaxtyping import Float


class Gram(NamedTuple):
    """Covariances among Pi inducing points, and between them and other points.

    Attributes:
      ii: (Pi, Pi) of the inducing points, symmetric.
      ti: (*batch, Pi) of each other point with the inducing ones. For images `batch` is (N, height,
        width): every place of every image is a point.
      t: (*batch,) variances of the other points. Their covariances are never needed.
    """

    ii: Float[Array, "pi pi"]
    ti: Float[Array, "*batch pi"]
    t: Float[Array, "*batch"]


MANY = 16  # points for each inducing point, from which products beat triangular solves


def through(gram: Gram, left: Float[Array, "pi pi"], root: Float[Array, "pi pi"]) -> Gram:
    """The other points' covariances once the inducing points' K_ii = L L^T has become G = V V^T.

        X = L^-1 K_it,  Y = L^-1 V
        G_ti = (X^T Y) V^T = K_ti K_ii^-1 G
        G_t = K_t - sum X² + sum (X^T Y)²

    Many points (places of images) take the same through two products and no solve, with
    G_ti = K_ti [L^-T Y V^T] and G_t = K_t + diag(K_ti [L^-T (Y Y^T - I) L^-1] K_it): less than half
    the time of the three products of X, and rounding is relative to K_t cond(K_ii)^(1/2) more.

    Args:
      gram: K; `gram.ii` is not read.
      left: L, the lower Cholesky factor of K_ii.
      root: V, any square root of G.
    """
    Y = solve_triangular(left, root, lower=True)
    G = _product(root, root.T)
    if not _many(gram.ti, left):
        X = half_solved(gram.ti, left)
        Z = _product(X, Y)
        return Gram(G, _product(Z, root.T), gram.t - (X**2).sum(-1) + (Z**2).sum(-1))
    inverse = solve_triangular(left, jnp.eye(len(left), dtype=left.dtype), lower=True)
    moved = _product(Y, Y.T) - jnp.eye(len(left), dtype=left.dtype)
    rows = gram.ti.reshape(-1, gram.ti.shape[-1])
    ti = _product(rows, _product(inverse.T, _product(Y, root.T)))
    change = (_product(rows, _product(inverse.T, _product(moved, inverse))) * rows).sum(-1)
    return Gram(G, ti.reshape(gram.ti.shape), gram.t + change.reshape(gram.t.shape))


def half_solved(
    ti: Float[Array, "*batch pi"], left: Float[Array, "pi pi"]
) -> Float[Array, "*batch pi"]:
    """K_ti L^-T: rows whose products are K_ti K_ii^-1 K_it."""
    rows = ti.reshape(-1, ti.shape[-1])
    if _many(ti, left):
        inverse = solve_triangular(left, jnp.eye(len(left), dtype=left.dtype), lower=True)
        return _product(rows, inverse.T).reshape(ti.shape)
    return solve_triangular(left, rows.T, lower=True).T.reshape(ti.shape)


def _many(ti: Array, left: Array) -> bool:
    return ti.size > MANY * left.size


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision="highest")
