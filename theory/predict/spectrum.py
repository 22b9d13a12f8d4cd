"""Eigenvalues of a kernel matrix, and gradient flow in its eigenvectors.

Gradient flow on f with df/dt = -A (f - y) gives, in the eigenvectors of A,

    f(t) - f(0) = expm1(-lambda t) (f(0) - y)
    integral_0^t e^(-lambda s) ds = -expm1(-lambda t) / lambda

Lee et al. 2019, Wide neural networks of any depth evolve as linear models, equations 8 to 11.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from theory.predict.once import is_traced


class Spectrum(NamedTuple):
    """A symmetric positive semi-definite matrix A = V diag(lambda) V^T.

    Attributes:
      values: lambda, ascending.
      vectors: V, eigenvectors as columns.
      cutoff: n eps lambda_max; smaller eigenvalues cannot be told from zero.
    """

    values: Float[Array, "n"]
    vectors: Float[Array, "n n"]
    cutoff: Float[Array, ""]

    @classmethod
    def of(cls, values: Array, vectors: Array) -> Spectrum:
        """With its cutoff."""
        cutoff = values.shape[0] * float(jnp.finfo(values.dtype).eps) * jnp.maximum(values[-1], 0.0)
        return cls(values, vectors, cutoff)


def check_finite(matrix: Array, name: str) -> None:
    """Refuse NaN and infinity.

    Raises:
      ValueError: there is one.
    """
    bad = int(_not_finite(matrix))
    if bad:
        raise ValueError(f"{name} must be finite, got {bad} entries that are NaN or infinite")


@jax.jit
def _not_finite(matrix: Array) -> Array:
    return jnp.sum(~jnp.isfinite(matrix))


def spectrum(matrix: Float[Array, "n n"], name: str) -> Spectrum:
    """The eigendecomposition; a warning where A is not positive semi-definite beyond rounding.

    Raises:
      ValueError: the matrix is known and has entries that are not finite.
    """
    if not is_traced(matrix):
        check_finite(matrix, name)
    found = Spectrum.of(*jnp.linalg.eigh(matrix))

    def report(low, high):
        _warn_negative(name, matrix.shape[0], low, high)

    ends = found.values[0], found.values[-1]
    if is_traced(matrix):
        jax.debug.callback(report, *ends)
    else:
        report(*ends)
    return found


def _warn_negative(name: str, n: int, low, high) -> None:
    low, high = np.asarray(low), np.asarray(high)
    if not np.isfinite(high):
        message = f"{name} has entries that are not finite: so have the results"
    elif low < -10 * n * np.finfo(high.dtype).eps * abs(high):
        message = (
            f"{name} ({n} x {n}, {high.dtype}) is not positive semi-definite: eigenvalues from "
            f"{low:.3g} to {high:.3g}. Negative ones are taken for zero"
        )
    else:
        return
    from scipy.linalg import LinAlgWarning  # slow to import

    warnings.warn(message, LinAlgWarning, stacklevel=2)


def decay(values: Float[Array, "n"], t: Float[Array, "*times"]) -> Float[Array, "*times n"]:
    """expm1(-lambda t), negative eigenvalues taken for zero; 0 where lambda = 0, at t = inf too."""
    values = jnp.maximum(values, 0.0)
    still = values == 0
    return jnp.where(still, 0.0, jnp.expm1(-jnp.where(still, 1.0, values) * t[..., None]))


def integral(found: Spectrum, t: Float[Array, "*times"]) -> Float[Array, "*times n"]:
    """integral_0^t e^(-lambda s) ds = -expm1(-lambda t) / lambda.

    Eigenvalues below the cutoff c, which may be rounding, get t e^(-c t): right while t is small,
    and 0 in the end, as in the solution of least norm.
    """
    t = t[..., None]
    kept = found.values > found.cutoff
    values = jnp.where(kept, found.values, 1.0)
    finite = jnp.where(jnp.isfinite(t), t, 0.0)
    small = jnp.where(jnp.isfinite(t), finite * jnp.exp(-found.cutoff * finite), 0.0)
    return jnp.where(kept, -jnp.expm1(-values * t) / values, small)


@jax.jit
def train_change(
    found: Spectrum, residual: Float[Array, "n columns"], t: Float[Array, "times"]
) -> Float[Array, "times n columns"]:
    """f(t) - f(0) on the training set; `residual` is f(0) - y."""
    inner = jnp.matmul(found.vectors.T, residual, precision="highest")
    return jnp.matmul(found.vectors, decay(found.values, t)[..., None] * inner, precision="highest")


@jax.jit
def test_change(
    found: Spectrum,
    cross: Float[Array, "test n"],
    residual: Float[Array, "n columns"],
    t: Float[Array, "times"],
) -> Float[Array, "times test columns"]:
    """f(t) - f(0) on a test set with the kernel `cross` to the training set."""
    inner = jnp.matmul(found.vectors.T, residual, precision="highest")
    moved = -integral(found, t)[..., None] * inner
    if t.size * residual.shape[1] < cross.shape[0]:
        moved = jnp.matmul(found.vectors, moved, precision="highest")
        return jnp.matmul(cross, moved, precision="highest")
    cross = jnp.matmul(cross, found.vectors, precision="highest")
    return jnp.matmul(cross, moved, precision="highest")
