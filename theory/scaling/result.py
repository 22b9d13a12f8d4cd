"""What a fit returns: the law, what was minimized, how it ended, and what it predicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, overload

import numpy as np

from theory.scaling.columns import read_inputs
from theory.scaling.form import Form

PREDICTION_DRAWS = 20_000  # draws of noise over all replicates, at least


class Status(StrEnum):
    """How a fit ended; prints as its value."""

    CONVERGED = "converged"  # an interior minimum
    AT_BOUND = "at bound"  # a minimum with a parameter at the end of its range
    UNIDENTIFIABLE = "unidentifiable"  # a minimum, but one of a continuum; see the notes
    FAILED = "failed"  # the iteration ended before the minimum


class Interval(NamedTuple):
    """Lower and upper ends, arrays of one shape."""

    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True, eq=False, kw_only=True)
class Fit:
    """A fitted law.

    Attributes:
      form: name of the law; `law` is its declaration.
      params: the fitted parameters in the units of the data.
      objective: the weighted sum of the loss at the minimum.
      status: converged | at bound | unidentifiable | failed.
      notes: sentences that explain a status other than converged.
      loss, delta: what was minimized; delta is None unless the loss is "huber".
      n_points: points of positive weight.
      data: the columns of the fit in the order given, with "weight" and, if given, "run".
      residuals: log y - log predicted, (points,), in that order.
      bootstrap: parameter name -> (replicates,), replicates that failed left out; None without one.
      bootstrap_status: status -> number of replicates, which sum to those asked for; or None.
      bootstrap_redrawn: draws that lacked the values to determine the law and were drawn again.
      seed: of the bootstrap and of the noise in prediction intervals.
    """

    form: str
    law: Form
    params: dict[str, float]
    objective: float
    status: Status
    notes: tuple[str, ...]
    loss: str
    delta: float | None
    n_points: int
    data: dict[str, np.ndarray]
    residuals: np.ndarray
    bootstrap: dict[str, np.ndarray] | None
    bootstrap_status: dict[str, int] | None
    bootstrap_redrawn: int
    seed: int

    def predict(self, data: Mapping[str, Any]) -> np.ndarray:
        """Values of the law at new inputs.

        Args:
          data: the columns of the law, numbers or arrays that broadcast; a target, run or weight
            column is allowed and not read.

        Returns:
          An array of the broadcast shape, in the unit of the target.

        Raises:
          ValueError: a column is missing, unknown, or not finite and positive.
        """
        return np.asarray(self.law.predict(self.params, read_inputs(self.law, data)))

    def replicates(self) -> dict[str, np.ndarray]:
        """The bootstrap parameters.

        Raises:
          ValueError: there are none.
        """
        if self.bootstrap is None:
            raise ValueError(
                "this fit has no bootstrap replicates, so no interval; fit again with "
                "bootstrap=1000 (or more)"
            )
        if not len(next(iter(self.bootstrap.values()))):
            raise ValueError(f"no replicate can be used: {self.bootstrap_status}")
        return self.bootstrap

    @overload
    def interval(
        self, data: None = None, *, level: float = ..., noise: float = ..., noise_df: None = ...
    ) -> dict[str, tuple[float, float]]: ...

    @overload
    def interval(
        self,
        data: Mapping[str, Any],
        *,
        level: float = ...,
        noise: float = ...,
        noise_df: float | None = ...,
    ) -> Interval: ...

    def interval(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        level: float = 0.95,
        noise: float = 0.0,
        noise_df: float | None = None,
    ) -> dict[str, tuple[float, float]] | Interval:
        """Percentile bootstrap intervals: of the parameters, or of predictions.

        Without data: for each parameter the (1 -+ level)/2 quantiles of its replicates. With data:
        at each point the same quantiles of f_r(x) exp(noise * e), where f_r is the law of replicate
        r and e is standard normal, or Student t with `noise_df` degrees of freedom (not rescaled).
        With noise = 0 that is an interval for the law; with the standard deviation of one run's
        log loss, for the next run. The e are stratified quantiles dealt to the replicates in an
        order fixed by the seed.

        Args:
          data: columns of the law, numbers or arrays that broadcast.
          level: coverage, between 0 and 1.
          noise: standard deviation (scale, for Student t) of one run's log y; 0 or more.
          noise_df: degrees of freedom of the noise; None for normal noise.

        Returns:
          A dict name -> (low, high), or Interval(low, high) with arrays of the broadcast shape.

        Raises:
          ValueError: the fit has no bootstrap; level, noise or noise_df is out of range; noise is
            given without data.

        Reference: Efron and Tibshirani (1993), section 13.3.
        """
        if not 0.0 < level < 1.0:
            raise ValueError(f"level = {level}; accepted are numbers between 0 and 1")
        if not (np.isfinite(noise) and noise >= 0):
            raise ValueError(f"noise = {noise}; accepted are finite numbers at or above 0")
        if noise_df is not None and not noise_df > 0:
            raise ValueError(f"noise_df = {noise_df}; accepted are positive numbers or None")
        draws = self.replicates()
        tails = ((1.0 - level) / 2.0, (1.0 + level) / 2.0)
        if data is None:
            if noise or noise_df is not None:
                raise ValueError("noise belongs to predictions: give the data to predict at")
            ends = {name: np.quantile(values, tails) for name, values in draws.items()}
            return {name: (float(low), float(high)) for name, (low, high) in ends.items()}

        columns = read_inputs(self.law, data)
        shape = next(iter(columns.values())).shape
        points = {name: x.reshape(1, -1) for name, x in columns.items()}
        log_law = np.log(self.law.predict({n: v[:, None] for n, v in draws.items()}, points))
        shock = noise * self._shocks(len(log_law), noise_df) if noise else np.zeros((1, 1))
        low, high = np.empty(log_law.shape[1]), np.empty(log_law.shape[1])
        for i, column in enumerate(log_law.T):  # a point at a time: replicates x shocks is large
            low[i], high[i] = np.exp(np.quantile(column[:, None] + shock, tails))
        return Interval(low.reshape(shape), high.reshape(shape))

    def _shocks(self, replicates: int, df: float | None) -> np.ndarray:
        """(replicates, draws) standard noise, stratified over the whole array."""
        from scipy import special  # here: at the top it adds a quarter to the import of theory

        total = replicates * -(-PREDICTION_DRAWS // replicates)
        levels = (np.arange(total) + 0.5) / total
        quantiles = special.ndtri(levels) if df is None else special.stdtrit(df, levels)
        order = np.random.default_rng([self.seed, 1]).permutation(total)
        return np.asarray(quantiles)[order].reshape(replicates, -1)
