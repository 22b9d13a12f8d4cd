"""Cholesky solves of many tiny symmetric systems at once, unrolled over the matrix entries.

A matrix is a nested list of equally shaped arrays, so that every entry is a vector over the batch
and the whole solve fuses into a few loops. Meant for sizes up to about eight.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Entries = Sequence[Sequence[Array]]

# A pivot below this fraction of its diagonal entry counts as zero.
PIVOT = 1e-14


def solve(
    matrix: Entries, rhs: Sequence[Array]
) -> tuple[list[Float[Array, "*batch"]], Bool[Array, "*batch"]]:
    """Solve A x = b by Cholesky.

    Args:
      matrix: A[i][j] for j <= i, arrays of one shape; the upper triangle is not read.
      rhs: b[i], arrays of that shape.

    Returns:
      x[i], and whether A is positive definite beyond rounding; where it is not, x is finite and
      means nothing.
    """
    size = len(rhs)
    factor: list[list[Array]] = []
    definite = jnp.ones(jnp.shape(rhs[0]), bool)
    for i in range(size):
        row: list[Array] = []
        for j in range(i):
            inner = sum((row[k] * factor[j][k] for k in range(j)), start=jnp.zeros_like(rhs[0]))
            row.append((matrix[i][j] - inner) / factor[j][j])
        pivot = matrix[i][i] - sum((v * v for v in row), start=jnp.zeros_like(rhs[0]))
        positive = pivot > PIVOT * jnp.abs(matrix[i][i])
        definite = definite & positive
        row.append(jnp.sqrt(jnp.where(positive, pivot, 1.0)))
        factor.append(row)
    forward: list[Array] = []
    for i in range(size):
        inner = sum((factor[i][k] * forward[k] for k in range(i)), start=jnp.zeros_like(rhs[0]))
        forward.append((rhs[i] - inner) / factor[i][i])
    x: list[Array] = [jnp.zeros_like(rhs[0])] * size
    for i in reversed(range(size)):
        inner = sum((factor[k][i] * x[k] for k in range(i + 1, size)), start=jnp.zeros_like(rhs[0]))
        x[i] = (forward[i] - inner) / factor[i][i]
    return x, definite
