"""Nyström's approximation of a kernel from its columns at a few landmarks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from theory.predict.definite import factorise, half_solve
from theory.predict.kernel_products import as_matrix, kernel_column, kernel_diagonal, size
from theory.predict.pivoted_cholesky import pivoted_cholesky

SELECTIONS = ("random_pivots", "greedy", "uniform")


class Nystrom(NamedTuple):
    """K(x, y) is close to phi(x) . phi(y), and K - Phi Phi^T is positive semi-definite.

    Attributes:
      features: phi, x -> (n, rank).
      factor: Phi (n, rank), of the inputs that landmarks were chosen from.
      landmarks: (rank,) which of them are landmarks.
      error: tr(K - Phi Phi^T), exact; a bound of the spectral and the Frobenius norm of K - Phi
        Phi^T.
      relative_error: error / tr K.
      worst: max_i (K - Phi Phi^T)_ii; |K - Phi Phi^T|_ij <= worst for all pairs.
    """

    features: Callable[..., Array]
    factor: Float[Array, "n rank"]
    landmarks: Int[Array, "rank"]
    error: Array
    relative_error: Array
    worst: Array


def nystrom(
    kernel_fn: Callable[..., Any],
    x: Any,
    rank: int,
    key: Array | None = None,
    *,
    get: str = "nngp",
    selection: str = "random_pivots",
    **kernel_fn_kwargs: Any,
) -> Nystrom:
    """phi(x) = L^-1 K(landmarks, x), K(landmarks, landmarks) = L L^T.

    Costs n rank entries of the kernel, and n rank^2 operations.

    Args:
      kernel_fn: (x1, x2, get, **kwargs) -> (N1, N2).
      x: (n, ..), or a tree of such; landmarks are chosen among them.
      rank: landmarks, at most n.
      key: a PRNG key; not needed for "greedy".
      get: "nngp" or "ntk".
      selection: "random_pivots" (in proportion to what is left of the diagonal), "greedy" (where
        most is left), or "uniform" (without a look at the kernel).
      **kernel_fn_kwargs: for `kernel_fn`.

    Returns:
      A Nystrom with its exact error. Its rank is lower where the kernel's is, to rounding.

    Raises:
      ValueError: rank out of range, an unknown selection, no key where one is needed.

    Reference: Williams and Seeger 2001; Chen, Epperly, Tropp, Webber 2023, Randomly pivoted
    Cholesky.
    """
    n = size(x)
    if selection not in SELECTIONS:
        raise ValueError(f"selection must be one of {SELECTIONS}, got {selection!r}")
    if not 1 <= rank <= n:
        raise ValueError(f"rank must be from 1 to {n}, the number of inputs; got {rank}")
    if key is None and selection != "greedy":
        raise ValueError(f"key must be a PRNG key for selection {selection!r}, got None")
    diagonal = kernel_diagonal(kernel_fn, x, get, **kernel_fn_kwargs)
    if selection == "uniform":
        assert key is not None
        landmarks = jnp.sort(jax.random.choice(key, n, (rank,), replace=False))
    else:
        column = kernel_column(kernel_fn, x, get, **kernel_fn_kwargs)
        chosen = key if selection == "random_pivots" else None
        landmarks = pivoted_cholesky(diagonal, column, rank, key=chosen).pivots
    if landmarks.size == 0:
        raise ValueError("kernel_fn gives a kernel of zeros, which needs no approximation")
    at = jax.tree.map(lambda leaf: leaf[landmarks], x)
    small = as_matrix(kernel_fn(at, None, get, **kernel_fn_kwargs))
    factor = factorise(small, "K(landmarks, landmarks)")

    def features(x_new: Any) -> Float[Array, "n rank"]:
        cross = as_matrix(kernel_fn(x_new, at, get, **kernel_fn_kwargs))
        return half_solve(factor, cross.T).T

    phi = features(x)
    left = jnp.maximum(diagonal - (phi**2).sum(1), 0.0)
    return Nystrom(features, phi, landmarks, left.sum(), left.sum() / diagonal.sum(), left.max())
