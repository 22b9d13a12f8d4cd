"""A preconditioner for kernels: a low-rank part, and a multiple of the identity for the rest."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from theory.predict.once import is_traced


def pivoted_cholesky_preconditioner(
    factor: Float[Array, "n rank"], noise: float | Array
) -> Callable[[Array], Array]:
    """P^-1 of P = F F^T + noise I, by a factorisation of side rank.

        P^-1 = (I - Q Q^T) / noise,   Q = F (noise I + F^T F)^(-1/2)

    Args:
      factor: F, as `pivoted_cholesky` gives it.
      noise: > 0, what is added to the diagonal of the kernel (or the mean of what F leaves of it).

    Returns:
      (n, columns) -> P^-1 times it.

    Raises:
      ValueError: noise is not positive.

    Reference: Gardner et al. 2018, GPyTorch, section 4.1.
    """
    if not is_traced(noise) and not float(noise) > 0:
        raise ValueError(f"noise must be positive, got {noise}")
    rank = factor.shape[1]
    # Q by a QR factorisation of F over sqrt(noise) I: F^T F would square the condition number.
    stacked = jnp.concatenate([factor, jnp.sqrt(noise) * jnp.eye(rank, dtype=factor.dtype)])
    q = jnp.linalg.qr(stacked)[0][: factor.shape[0]]

    @jax.jit
    def apply(x: Array) -> Array:
        inner = jnp.matmul(q.T, x, precision="highest")
        return (x - jnp.matmul(q, inner, precision="highest")) / noise

    return apply
