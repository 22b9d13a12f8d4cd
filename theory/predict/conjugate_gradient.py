"""Preconditioned conjugate gradients for kernels that are too big to factor."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

MatVec = Callable[[Array], Array]


class CGSolution(NamedTuple):
    """What conjugate gradients found.

    Attributes:
      x: (n, columns) or (n,).
      residual: |b - A x| / |b| of each column, computed anew at the end.
      steps: products with A.
      converged: whether every residual is within the tolerance.
    """

    x: Array
    residual: Array
    steps: int
    converged: bool


def conjugate_gradient(
    matvec: MatVec,
    b: Array,
    *,
    preconditioner: MatVec | None = None,
    x0: Array | None = None,
    rtol: float | None = None,
    max_steps: int | None = None,
    callback: Callable[[int, Array], None] | None = None,
) -> CGSolution:
    """Solve A x = b for a symmetric positive definite A that is known by its products alone.

    All columns of b go side by side, each with coefficients of its own, so that a step costs one
    product with a matrix. Its number grows as sqrt(cond(P^-1 A)). Steps are driven from Python: A
    may be computed in tiles, read from disk, or live on other machines; so this does not run under
    jit.

    Args:
      matvec: (n, columns) -> A times it.
      b: (n,) or (n, columns).
      preconditioner: (n, columns) -> P^-1 times it, P symmetric positive definite; see
        `pivoted_cholesky_preconditioner`.
      x0: where to start; None: 0.
      rtol: of |b - A x| / |b|; None: 1e-8 in float64, 1e-5 in float32.
      max_steps: None: 10 n.
      callback: called with (step, residuals) after each step.

    Returns:
      A CGSolution. Where it has not converged, a LinAlgWarning of scipy.linalg says so: x is the
      best that was found, and finite.

    Raises:
      ValueError: b of another shape or not finite.
      RuntimeError: A or P is not positive definite, or not finite.

    Reference: Hestenes and Stiefel 1952; Gardner et al. 2018, GPyTorch, for many columns at once.
    """
    b = jnp.asarray(b)
    dtype = jnp.promote_types(b.dtype, jnp.float32)
    if b.ndim not in (1, 2) or b.size == 0:
        raise ValueError(f"b must have shape (n,) or (n, columns), got {b.shape}")
    if not bool(jnp.isfinite(b).all()):
        raise ValueError("b must be finite")
    right = b.astype(dtype).reshape(b.shape[0], -1)
    if rtol is None:
        rtol = 1e-8 if dtype == jnp.float64 else 1e-5
    limit = 10 * b.shape[0] if max_steps is None else max_steps

    def product(x: Array) -> Array:
        return jnp.asarray(matvec(x), dtype)

    norms = jnp.linalg.norm(right, axis=0)
    norms = jnp.where(norms == 0, 1.0, norms)
    steps = 0
    if x0 is None:
        x, r = jnp.zeros_like(right), right
    else:
        x = jnp.asarray(x0, dtype).reshape(right.shape)
        r, steps = right - product(x), 1
    best, best_residual = x, jnp.linalg.norm(r, axis=0) / norms
    z = r if preconditioner is None else preconditioner(r)
    p, rz = z, _dots(r, z)
    while bool((best_residual > rtol).any()) and steps < limit:
        active = best_residual > rtol
        ap = product(p)
        steps += 1
        curvature = _dots(p, ap)
        if not bool(((curvature > 0) & (rz > 0) | ~active).all()):
            raise RuntimeError(
                f"A and P must be positive definite: step {steps} has p^T A p = {curvature} and "
                f"r^T P^-1 r = {rz} (columns that are done aside); a larger diag_reg helps"
            )
        x, r = _step(x, r, p, ap, jnp.where(active, rz / curvature, 0.0))
        residual = jnp.linalg.norm(r, axis=0) / norms
        better = residual < best_residual
        best, best_residual = jnp.where(better, x, best), jnp.where(better, residual, best_residual)
        if callback is not None:
            callback(steps, residual)
        z = r if preconditioner is None else preconditioner(r)
        new = _dots(r, z)
        p, rz = z + jnp.where(active, new / rz, 0.0) * p, new
    true = jnp.linalg.norm(right - product(best), axis=0) / norms
    converged = bool((true <= 10 * rtol).all())
    if not converged:
        from scipy.linalg import LinAlgWarning  # slow to import

        warnings.warn(
            f"conjugate_gradient stopped after {steps} steps with |b - A x| / |b| up to "
            f"{float(true.max()):.1e}, not {rtol:.1e}; more max_steps, a preconditioner of higher "
            "rank, a larger diag_reg or float64 helps",
            LinAlgWarning,
            stacklevel=2,
        )
    shape = b.shape
    return CGSolution(best.reshape(shape), true.reshape(shape[1:]), steps + 1, converged)


@jax.jit
def _step(x: Array, r: Array, p: Array, ap: Array, alpha: Array) -> tuple[Array, Array]:
    return x + alpha * p, r - alpha * ap


@jax.jit
def _dots(a: Float[Array, "n columns"], b: Float[Array, "n columns"]) -> Float[Array, "columns"]:
    return (a * b).sum(0)
