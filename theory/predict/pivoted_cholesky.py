"""Low-rank factors of a kernel from a few of its columns, chosen greedily or at random."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int


class PivotedCholesky(NamedTuple):
    """A is close to F F^T, and A - F F^T is positive semi-definite.

    Attributes:
      factor: F (n, rank).
      pivots: (rank,) the columns of A that were used.
      error: tr(A - F F^T), which bounds the spectral and the Frobenius norm of A - F F^T.
      trace: tr A, to compare with.
    """

    factor: Float[Array, "n rank"]
    pivots: Int[Array, "rank"]
    error: Float[Array, ""]
    trace: Float[Array, ""]


def pivoted_cholesky(
    diagonal: Float[Array, "n"],
    column: Callable[[int], Array],
    rank: int,
    *,
    key: Array | None = None,
    rtol: float = 0.0,
) -> PivotedCholesky:
    """Partial Cholesky factorisation of a positive semi-definite A, from `rank` of its columns.

    Each pivot is the largest entry of the diagonal that is left (greedy), or is drawn in proportion
    to it (with a key), which is close to the best factor of its rank in expectation. Costs rank
    columns of A and n rank^2 operations.

    Args:
      diagonal: of A.
      column: i -> A[:, i], (n,).
      rank: at most n.
      key: a PRNG key for random pivots; None: greedy.
      rtol: stop where the error is at most rtol tr A.

    Returns:
      A PivotedCholesky, of lower rank where the error reached rtol or rounding before.

    Raises:
      ValueError: rank out of range, or a diagonal that is negative or not finite.

    Reference: Harbrecht, Peters, Schneider 2012 (greedy); Chen, Epperly, Tropp, Webber 2023,
    Randomly pivoted Cholesky.
    """
    diagonal = jnp.asarray(diagonal)
    n = diagonal.shape[0]
    if not 1 <= rank <= n:
        raise ValueError(f"rank must be from 1 to {n}, the side of the matrix; got {rank}")
    if not bool((jnp.isfinite(diagonal) & (diagonal >= 0)).all()):
        raise ValueError("diagonal must be finite and at least 0, as of a kernel")
    trace = diagonal.sum()
    left = diagonal
    factor = jnp.zeros((n, rank), diagonal.dtype)
    pivots: list[int] = []
    smallest = jnp.maximum(rtol * trace, n * jnp.finfo(diagonal.dtype).eps * diagonal.max())
    while len(pivots) < rank and float(left.sum()) > float(smallest):
        if key is None:
            i = int(jnp.argmax(left))
        else:
            key, draw = jax.random.split(key)
            i = int(jax.random.categorical(draw, jnp.log(left)))
        factor, left = eliminate(factor, left, jnp.asarray(column(i)), i, len(pivots))
        pivots.append(i)
    factor = factor[:, : len(pivots)]
    return PivotedCholesky(factor, jnp.asarray(pivots, jnp.int32), left.sum(), trace)


@jax.jit
def eliminate(
    factor: Array, left: Array, column: Array, i: int | Array, step: int | Array
) -> tuple[Array, Array]:
    """(factor with column `step` written, diagonal left) once pivot i's column is known."""
    new = column - jnp.matmul(factor, factor[i], precision="highest")
    new = new / jnp.sqrt(left[i])
    left = jnp.maximum(left - new**2, 0.0).at[i].set(0.0)
    return factor.at[:, step].set(new), left
