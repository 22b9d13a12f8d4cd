"""The spectrum of a kernel and what of a target lies along it.

A kernel K(x, x') over inputs of some distribution has eigenvalues l_1 >= l_2 >= .. and
eigenfunctions phi_i, E[phi_i phi_j] = 1 for i = j and 0 else; a target is y(x) = sum_i v_i
phi_i(x). Learning curves need l_i and v_i^2 alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

NEGATIVE = 1e-10  # of the largest eigenvalue: rounding, not an indefinite matrix


class Spectrum(NamedTuple):
    """Modes of a kernel, alike ones as one entry. float64, largest eigenvalue first.

    Attributes:
      eigenvalues: (modes,) l_i >= 0.
      coefficients: (modes,) v_i^2, summed over the target's columns and over the modes of an entry.
      multiplicity: (modes,) how many modes an entry stands for.
    """

    eigenvalues: Float[np.ndarray, "modes"]
    coefficients: Float[np.ndarray, "modes"]
    multiplicity: Float[np.ndarray, "modes"]

    @property
    def trace(self) -> float:
        """sum_i l_i, the mean of K(x, x)."""
        return float(self.multiplicity @ self.eigenvalues)

    @property
    def power(self) -> float:
        """sum_i v_i^2, the mean of |y(x)|^2."""
        return float(self.coefficients.sum())

    @property
    def rank(self) -> float:
        """Modes whose eigenvalue is above zero."""
        return float(self.multiplicity[self.eigenvalues > 0].sum())


def spectrum(eigenvalues, coefficients, multiplicity=None) -> Spectrum:
    """A Spectrum from arrays in any order, checked.

    Args:
      eigenvalues: (modes,) l_i >= 0, at least one above zero.
      coefficients: (modes,) v_i^2 >= 0, or (modes, columns) to be summed over columns.
      multiplicity: (modes,) modes that each entry stands for, > 0; one where None.

    Raises:
      ValueError: shapes differ, or a value is negative or not finite.
    """
    values = np.asarray(eigenvalues, np.float64)
    squares = np.asarray(coefficients, np.float64)
    squares = squares.sum(1) if squares.ndim == 2 else squares
    counts = np.ones_like(values) if multiplicity is None else np.asarray(multiplicity, np.float64)
    shapes = {values.shape, squares.shape, counts.shape}
    if values.ndim != 1 or not values.size or len(shapes) > 1:
        raise ValueError(
            "eigenvalues, coefficients and multiplicity must be (modes,), "
            f"got {values.shape}, {squares.shape} and {counts.shape}"
        )
    for name, array in (("eigenvalues", values), ("coefficients", squares)):
        if not (np.isfinite(array).all() and (array >= 0).all()):
            raise ValueError(f"{name} must be finite and >= 0, the least is {array.min()}")
    if not (np.isfinite(counts).all() and (counts > 0).all()):
        raise ValueError(f"multiplicity must be finite and > 0, the least is {counts.min()}")
    if not values.any():
        raise ValueError("eigenvalues are all zero: the kernel is")
    order = np.argsort(-values, kind="stable")
    return Spectrum(values[order], squares[order], counts[order])


def power_law(modes: int, a: float, b: float | None = None) -> Spectrum:
    """A planted spectrum l_i = i^-(1+a), v_i^2 = i^-(1+b), i = 1 .. modes; b = a where None."""
    if modes < 1:
        raise ValueError(f"modes must be at least 1, got {modes}")
    i = np.arange(1, modes + 1, dtype=np.float64)
    return spectrum(i ** -(1 + a), i ** -(1 + (a if b is None else b)))


def empirical_spectrum(K: Float[np.ndarray, "M M"], y: np.ndarray) -> Spectrum:
    """The spectrum of a kernel on M points, and a target's coefficients there.

        K / M = U diag(l) U^T,  v_i^2 = sum_c (U^T y)_ic^2 / M

    so that sum l = tr K / M and sum v^2 = |y|^2 / M, the unbiased estimates of trace and power. The
    modes themselves are biased: all power is put in M modes, so that a population's curve
    (`learning_curve`) computed from them is too low, without a ridge by the factor 1 - n/M
    exactly. Give `population=M` to it, or extend the tail (`extend_tail`).

    Args:
      K: (M, M) Gram matrix of M inputs drawn from the distribution, symmetric; made float64.
      y: (M,) or (M, columns) targets of these inputs; several columns are summed over.

    Returns:
      M modes. Eigenvalues below M 2^-52 of the largest are rounding, and become zero.

    Raises:
      ValueError: shapes do not fit, a value is not finite, or K is not symmetric or has a negative
        eigenvalue.

    References:
      Bordelon, Canatar and Pehlevan 2020, section 2.2; Simon et al. 2023, The Eigenlearning
      Framework, section 4.
    """
    K = np.asarray(K, np.float64)
    y = np.asarray(y, np.float64)
    y = y[:, None] if y.ndim == 1 else y
    if K.ndim != 2 or K.shape[0] != K.shape[1] or y.ndim != 2 or len(y) != len(K) or not len(K):
        raise ValueError(f"K must be (M, M) and y (M,) or (M, columns), got {K.shape}, {y.shape}")
    if not (np.isfinite(K).all() and np.isfinite(y).all()):
        raise ValueError("K and y must be finite")
    size = np.abs(K).max()
    if np.abs(K - K.T).max() > 1e-6 * size:
        raise ValueError(f"K must be symmetric, K - K.T reaches {np.abs(K - K.T).max():.3g}")
    values, vectors = np.linalg.eigh(K)
    if values[0] < -NEGATIVE * values[-1]:
        raise ValueError(
            f"K must be positive semi-definite, its least eigenvalue is {values[0]:.3g} and its "
            f"largest {values[-1]:.3g}"
        )
    squares = ((vectors.T @ y) ** 2).sum(1) / len(K)
    resolved = values > len(K) * np.finfo(np.float64).eps * values[-1]
    return spectrum(np.where(resolved, values, 0.0) / len(K), squares)
