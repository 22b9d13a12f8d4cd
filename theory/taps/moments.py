"""The second moments R and T of random taps, and what is done with them before a limit is taken."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from theory.taps.checks import finite, nonnegative, whole


class Moments(NamedTuple):
    """Second moments of zero-mean taps k(s), lags s = 0, 1, .., averaged over channels.

        R(s, s') = E[k(s) k(s')],    T(s, s') = E[grad k(s) . grad k(s')]

    Attributes:
      variance: (taps,) float64, the diagonal of R.
      covariance: (taps, taps) float64, R; None where it is diagonal.
      ntk: T, (taps, taps) float64; (taps,) where it is diagonal; None where it equals R.
    """

    variance: np.ndarray
    covariance: np.ndarray | None = None
    ntk: np.ndarray | None = None

    @property
    def taps(self) -> int:
        """Number of taps."""
        return len(self.variance)

    @property
    def power(self) -> float:
        """E[sum_s k(s)²], the trace of R: the gain of the variance of white inputs."""
        return float(self.variance.sum())

    @property
    def matrix(self) -> np.ndarray:
        """R, (taps, taps), also where it is diagonal."""
        return np.diag(self.variance) if self.covariance is None else self.covariance

    @property
    def ntk_matrix(self) -> np.ndarray:
        """T, (taps, taps), also where it is diagonal or equals R."""
        if self.ntk is None:
            return self.matrix
        return np.diag(self.ntk) if self.ntk.ndim == 1 else self.ntk

    def scaled(self, gain: float) -> Moments:
        """The moments of `gain` times the taps: all of them times gain².

        Raises:
          ValueError: gain is not finite.
        """
        finite(gain=gain)
        return Moments(*(None if m is None else gain**2 * m for m in self))  # pyright: ignore

    def normalised(self) -> Moments:
        """The moments of the taps divided by one number, such that `power` is 1.

        Raises:
          ValueError: the power is 0.
        """
        if not self.power > 0:
            raise ValueError(f"the power is {self.power}; accepted is a positive one")
        return self.scaled(self.power**-0.5)

    def plus_skip(self, variance: float, *, trained: bool = True) -> Moments:
        """The moments of k(s) + D delta_0(s), with D independent of the taps or constant.

            R(0, 0) + E[D²],    T(0, 0) + E[D²] if D is trained

        Args:
          variance: E[D²], of all channels together if D is different in each.
          trained: whether D is a parameter, its initial deviation the square root of `variance`.

        Raises:
          ValueError: variance is negative, or not finite.
        """
        nonnegative(variance=variance)
        ntk = self.ntk
        if ntk is None and not trained:
            ntk = self.variance if self.covariance is None else self.covariance
        elif ntk is not None and trained:
            ntk = _raised(ntk, variance)
        covariance = None if self.covariance is None else _raised(self.covariance, variance)
        return Moments(_raised(self.variance, variance), covariance, ntk)

    def truncated(self, taps: int) -> Moments:
        """The moments of the first `taps` taps.

        Raises:
          ValueError: taps is no integer from 1 to the number there is.
        """
        whole(1, taps=taps)
        if taps > self.taps:
            raise ValueError(f"taps is {taps}; accepted is at most {self.taps}")
        return Moments(*(None if m is None else m[(slice(taps),) * m.ndim] for m in self))  # pyright: ignore


def correlated(covariance: np.ndarray, ntk: np.ndarray | None = None) -> Moments:
    """Moments of correlated taps from R and T, (taps, taps), made exactly symmetric."""
    covariance = (covariance + covariance.T) / 2
    ntk = None if ntk is None else (ntk + ntk.T) / 2
    return Moments(np.diag(covariance).copy(), covariance, ntk)


def _raised(values: np.ndarray, amount: float) -> np.ndarray:
    """A copy with `amount` added at lag 0."""
    values = values.copy()
    values[(0,) * values.ndim] += amount
    return values
