"""Second moments of taps, by lag: as users give them, and on every lag of given places.

Of places 0 .. L - 1 the lags are -(L - 1) .. L - 1, lag 0 in the middle; a causal filter has those
from 0 on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Given = Any  # an array, a function of lags, or 0
ASYMMETRY = 1e-8  # of the largest entry
INDEFINITE = 1e-8  # an eigenvalue below minus this, of the largest, is no rounding error


@dataclass(frozen=True, eq=False)
class Lags:
    """Moments of one number of lags: a variance v(s), or a covariance R(s, s').

    Attributes:
      values: an array, or a function of an integer array for each spatial axis (twice as many for
        a covariance) that broadcast.
      name: of the argument.
      causal: whether lags start at 0.
      paired: whether it is a covariance.
      rank: of the arrays that were given; None for a function.
    """

    values: np.ndarray | Callable[..., Any]
    name: str
    causal: bool
    paired: bool
    rank: int | None

    def on(self, space: tuple[int, ...]) -> np.ndarray:
        """(2 L_1 - 1, ..), float64, zero at lags without a tap; twice as many axes where paired.

        Raises:
          ValueError: another number of spatial axes; a function's values have another shape, are
            not finite, or negative.
        """
        if self.rank is not None and self.rank != len(space):
            raise ValueError(
                f"{self.name} is of {self.rank} spatial axes; the inputs have {len(space)}: {space}"
            )
        sizes = space * 2 if self.paired else space
        if callable(self.values):
            lags = [np.arange(0 if self.causal else 1 - n, n) for n in sizes]
            grid = np.meshgrid(*lags, indexing="ij")
            values = np.asarray(self.values(*grid), np.float64)
            if values.shape != grid[0].shape:
                raise ValueError(
                    f"{self.name} must keep the shape of its arguments, {grid[0].shape}; it gave "
                    f"{values.shape}"
                )
            _check(values, self.name, self.paired)
        else:
            values = self.values
        for axis, n in enumerate(sizes):
            values = _placed(values, axis, n, self.causal)
        return values


def _placed(values: np.ndarray, axis: int, size: int, causal: bool) -> np.ndarray:
    """Lags along an axis cut to those of `size` places, or filled up with zeros."""
    reach = (values.shape[axis] - 1) if causal else values.shape[axis] // 2
    zero = 0 if causal else reach  # where lag 0 stands
    kept = min(reach, size - 1)
    part = np.take(values, range(0 if causal else zero - kept, zero + kept + 1), axis)
    pads = [(0, 0)] * values.ndim
    pads[axis] = (size - 1 if causal else size - 1 - kept, size - 1 - kept)
    return np.pad(part, pads)


def lags_of(given: Given, name: str, causal: bool, paired: bool) -> Lags:
    """Checked moments.

    Raises:
      ValueError: no finite numbers; a variance below 0; a covariance that is not square, symmetric
        and positive semidefinite; an even number of lags where not causal.
    """
    if callable(given):
        return Lags(given, name, causal, paired, None)
    values = np.asarray(given, np.float64)
    if values.ndim == 0 or 0 in values.shape or (paired and values.ndim % 2):
        kind = "(taps, taps)" if paired else "(taps,) or one axis for each spatial axis"
        raise ValueError(f"{name} must be an array {kind} or a function, got shape {values.shape}")
    if not causal and any(size % 2 == 0 for size in values.shape):
        raise ValueError(
            f"{name} must have an odd number of lags, lag 0 in the middle, where causal is False; "
            f"got shape {values.shape}"
        )
    _check(values, name, paired)
    return Lags(values, name, causal, paired, values.ndim // (2 if paired else 1))


def _check(values: np.ndarray, name: str, paired: bool) -> None:
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite, got {values[~np.isfinite(values)][0]}")
    if not paired:
        if (values < 0).any():
            raise ValueError(f"{name} must be variances >= 0, the least is {values.min():.3g}")
        return
    half = values.ndim // 2
    if values.shape[:half] != values.shape[half:]:
        raise ValueError(f"{name} must be square, got shape {values.shape}")
    matrix = values.reshape(int(np.prod(values.shape[:half])), -1)
    largest = np.abs(matrix).max()
    if np.abs(matrix - matrix.T).max() > ASYMMETRY * largest:
        raise ValueError(f"{name} must be symmetric; it differs from its transpose")
    least = np.linalg.eigvalsh(matrix)[0]
    if least < -INDEFINITE * max(largest * len(matrix), 1e-300):
        raise ValueError(
            f"{name} must be positive semidefinite, its least eigenvalue is {least:.3g}"
        )


def root(covariance: np.ndarray) -> np.ndarray:
    """F (taps, taps) with F F^T the covariance, by eigenvalues: it may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0.0))
