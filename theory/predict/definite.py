"""Solves with symmetric positive semi-definite matrices that never give NaN in silence.

Policy, for A of side n, largest eigenvalue l and unit roundoff eps:

1. Nothing is added to A beyond what `diag_reg` asks for.
2. Cholesky. Accepted where every pivot is more than eps of the largest.
3. Else the eigendecomposition A = V diag(lambda) V^T. Eigenvalues up to n eps l cannot be told from
   zero. They are dropped (the solution of least norm), or raised to n eps l (densities, which need
   a determinant). A LinAlgWarning of scipy.linalg tells the condition number. Under jit, where a
   failure is known only when the program runs, the warning comes from a callback at that time.
4. A with entries that are not finite is a ValueError; under jit, NaN results and a warning.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Bool, Float

from theory.predict.once import is_traced
from theory.predict.spectrum import Spectrum, check_finite, spectrum


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Factor:
    """What solves with A need.

    Attributes:
      basis: the lower Cholesky factor of A, or its eigenvectors as columns.
      weights: with eigenvectors, the inverse eigenvalues, 0 where dropped.
      accepted: whether `basis` is the Cholesky factor, where only the running program knows.
      cholesky: whether it is; None where not known yet.
    """

    basis: Float[Array, "n n"]
    weights: Float[Array, "n"]
    accepted: Bool[Array, ""] | None = None
    cholesky: bool | None = field(default=None, metadata={"static": True})


def regularised(
    matrix: Float[Array, "n n"], diag_reg: float | Array, absolute: bool
) -> Float[Array, "n n"]:
    """A + diag_reg I, or A + diag_reg (tr A / n) I.

    Raises:
      ValueError: diag_reg is negative or NaN.
    """
    if not is_traced(diag_reg) and not np.all(np.asarray(diag_reg) >= 0):
        raise ValueError(f"diag_reg must be at least 0, got {diag_reg}")
    if not is_traced(diag_reg) and np.all(np.asarray(diag_reg) == 0):
        return matrix
    return _shifted(matrix, diag_reg, absolute)


@partial(jax.jit, static_argnums=2)
def _shifted(matrix: Array, diag_reg: float | Array, absolute: bool) -> Array:
    scale = 1.0 if absolute else jnp.trace(matrix) / matrix.shape[0]
    return matrix + jnp.asarray(diag_reg * scale, matrix.dtype) * jnp.eye(
        matrix.shape[0], dtype=matrix.dtype
    )


def factorise(matrix: Float[Array, "n n"], name: str, *, raise_small: bool = False) -> Factor:
    """The factor of a symmetric positive semi-definite matrix, by the policy above.

    Args:
      matrix: (n, n).
      name: what errors and warnings call it.
      raise_small: raise eigenvalues that are zero to working precision instead of dropping them.

    Raises:
      ValueError: the matrix has entries that are not finite.
    """
    matrix = lax.stop_gradient(matrix)
    if not is_traced(matrix):
        check_finite(matrix, name)
        factor, weights, accepted = _cholesky(matrix)
        if bool(accepted):
            return Factor(factor, weights, cholesky=True)
        found = spectrum(matrix, name)
        _warn(name, matrix.shape[0], raise_small, False, found.values[0], found.values[-1])
        return Factor(found.vectors, _weights(found, raise_small), cholesky=False)

    # One bad entry spoils all, lest a factorisation that reads half of the matrix miss it.
    matrix = jnp.where(jnp.isfinite(matrix).all(), matrix, jnp.nan)
    factor, ones, accepted = _cholesky(matrix)

    def keep(_):
        return factor, ones, ones[0], ones[0]

    def decompose(matrix):
        values, vectors = jnp.linalg.eigh(matrix, symmetrize_input=False)
        found = Spectrum.of(values, vectors)
        return vectors, _weights(found, raise_small), values[0], values[-1]

    basis, weights, low, high = lax.cond(accepted, keep, decompose, matrix)

    def report(accepted, low, high):
        _warn(name, matrix.shape[0], raise_small, accepted, low, high)

    jax.debug.callback(report, accepted, low, high)
    return Factor(basis, weights, accepted)


def solve(factor: Factor, b: Float[Array, "n columns"]) -> Float[Array, "n columns"]:
    """A^-1 b; differentiable in b alone."""

    def by_cholesky(b):
        return jax.scipy.linalg.cho_solve((factor.basis, True), b)

    def by_eigenvectors(b):
        inner = jnp.matmul(factor.basis.T, b, precision="highest")
        return jnp.matmul(factor.basis, factor.weights[:, None] * inner, precision="highest")

    return _choose(factor, by_cholesky, by_eigenvectors, b)


def half_solve(factor: Factor, b: Float[Array, "n columns"]) -> Float[Array, "n columns"]:
    """W with W^T W = b^T A^-1 b; differentiable in b alone."""

    def by_cholesky(b):
        return jax.scipy.linalg.solve_triangular(factor.basis, b, lower=True)

    def by_eigenvectors(b):
        inner = jnp.matmul(factor.basis.T, b, precision="highest")
        return jnp.sqrt(factor.weights)[:, None] * inner

    return _choose(factor, by_cholesky, by_eigenvectors, b)


def solve_with(
    matrix: Float[Array, "n n"], factor: Factor, b: Float[Array, "n columns"]
) -> Float[Array, "n columns"]:
    """A^-1 b, differentiable in A and in b: dx = A^-1 (db - dA x), never through the factor."""
    if not is_traced(matrix):
        return solve(factor, b)
    return lax.custom_linear_solve(
        lambda x: jnp.matmul(matrix, x, precision="highest"),
        b.astype(matrix.dtype),
        lambda _, right: solve(factor, right),
        symmetric=True,
    )


def log_determinant(matrix: Float[Array, "n n"], factor: Factor) -> Float[Array, ""]:
    """log det A, differentiable in A: d log det A = tr(A^-1 dA)."""
    if not is_traced(matrix):
        return _log_determinant(factor)
    return _traced_log_determinant(matrix, factor)


def _log_determinant(factor: Factor) -> Array:
    return _choose(
        factor,
        lambda basis: 2 * jnp.log(jnp.diagonal(basis)).sum(),
        lambda _: -jnp.log(factor.weights).sum(),
        factor.basis,
    )


@jax.custom_jvp
def _traced_log_determinant(matrix: Array, factor: Factor) -> Array:
    del matrix
    return _log_determinant(factor)


@_traced_log_determinant.defjvp
def _(primals, tangents):
    matrix, factor = primals
    inverse = solve_with(matrix, factor, jnp.eye(matrix.shape[0], dtype=matrix.dtype))
    return _traced_log_determinant(matrix, factor), jnp.vdot(inverse, tangents[0])


def _choose(factor: Factor, first, second, operand):
    if factor.cholesky is None:
        return lax.cond(factor.accepted, first, second, operand)
    return first(operand) if factor.cholesky else second(operand)


@jax.jit
def _cholesky(matrix: Float[Array, "n n"]) -> tuple[Array, Array, Bool[Array, ""]]:
    """(factor, ones, whether it is accepted)."""
    factor = jnp.linalg.cholesky(matrix, symmetrize_input=False)
    pivots = jnp.diagonal(factor) ** 2
    accepted = pivots.min() > jnp.finfo(factor.dtype).eps * pivots.max()  # False where NaN
    return factor, jnp.ones_like(pivots), accepted


def _weights(found: Spectrum, raise_small: bool) -> Float[Array, "n"]:
    kept = found.values > found.cutoff
    small = (
        1 / jnp.maximum(found.cutoff, jnp.finfo(found.values.dtype).tiny) if raise_small else 0.0
    )
    return jnp.where(kept, 1 / jnp.where(kept, found.values, 1.0), small)


def _warn(name: str, n: int, raise_small: bool, accepted, low, high) -> None:
    if accepted:
        return
    low, high = np.asarray(low), np.asarray(high)
    if not np.isfinite(high):
        message = f"{name} has entries that are not finite: so have the results"
    else:
        eps = float(np.finfo(high.dtype).eps)
        known = low > eps * high
        number = f"{high / low:.1e}" if known else f"at least {1 / eps:.1e}"
        small = "raised to that" if raise_small else "dropped"
        message = (
            f"{name} ({n} x {n}, {high.dtype}) is singular to working precision: condition number "
            f"{number}, eigenvalues from {low:.3g} to {high:.3g}. Solved by its eigenvectors, with "
            f"eigenvalues up to {n * eps * high:.1e} {small}. A larger diag_reg, or float64, helps"
        )
    from scipy.linalg import LinAlgWarning  # slow to import

    warnings.warn(message, LinAlgWarning, stacklevel=2)
