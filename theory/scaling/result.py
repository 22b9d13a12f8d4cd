"""What a fit returns: the law, what was minimized, how it ended, and what it predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, overload

import numpy as np

from theory.scaling.columns import read_inputs
from theory.scaling.form import Form
from theory.scaling.identifiability import Identifiability, report
from theory.scaling.intervals import (
    Covariance,
    Solution,
    check,
    covariance,
    parameter_ends,
    prediction_ends,
)

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
      loss, delta: what was minimized; delta is None unless the loss is "huber" or "asymmetric".
      n_points: points of positive weight.
      data: the columns of the fit in the order given, with "weight" and, if given, "run".
      residuals: log y - log predicted, (points,), in that order.
      bootstrap: parameter name -> (replicates,), replicates that failed left out; None without one.
      bootstrap_status: status -> number of replicates, which sum to those asked for; or None.
      bootstrap_redrawn: draws that lacked the values to determine the law and were drawn again.
      seed: of the bootstrap and of the noise in prediction intervals.
      tau: of the asymmetric loss; None unless the loss is "asymmetric".
      solution: the fit in the units of the solver, for intervals.
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
    tau: float | None = None
    solution: Solution = field(repr=False)

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

    def covariance(self) -> Covariance:
        """First-order covariance of the parameters; of their logarithms where they are positive.

        V = (B / A^2) (J' W J)^-1, a sandwich over runs with a `run` column; see `covariance`.

        Returns:
          Covariance(names, matrix, logarithm, df, condition).
        """
        return covariance(self.law, self.solution)

    @property
    def identifiability(self) -> Identifiability:
        """The condition number of the design, and in words what it cannot tell, or hardly."""
        return report(self.params, self.covariance(), self.notes)

    def profile(
        self, names: Sequence[str] | None = None, *, level: float = 0.95
    ) -> dict[str, tuple[float, float]]:
        """Profile-likelihood intervals of parameters; see `theory.scaling.profile`.

        Args:
          names: of parameters; all by default.
          level: coverage, between 0 and 1.

        Returns:
          name -> (low, high); 0 or infinite where the data do not bound a positive parameter.

        Raises:
          ValueError: a name is unknown, or level is out of range.
        """
        wanted = self.law.params if names is None else tuple(names)
        for name in wanted:
            if name not in self.law.params:
                raise ValueError(
                    f"parameter {name!r} is unknown; {self.form} has {list(self.law.params)}"
                )
        check(level, 0.0, None, "profile", None)
        return parameter_ends(self.law, self.solution, wanted, level, "profile")

    @overload
    def interval(
        self,
        data: None = None,
        *,
        level: float = ...,
        noise: float = ...,
        noise_df: None = ...,
        method: str = ...,
    ) -> dict[str, tuple[float, float]]: ...

    @overload
    def interval(
        self,
        data: Mapping[str, Any],
        *,
        level: float = ...,
        noise: float = ...,
        noise_df: float | None = ...,
        method: str = ...,
    ) -> Interval: ...

    def interval(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        level: float = 0.95,
        noise: float = 0.0,
        noise_df: float | None = None,
        method: str = "bootstrap",
    ) -> dict[str, tuple[float, float]] | Interval:
        """Intervals of the parameters, or of predictions.

        By the bootstrap, without data: for each parameter the (1 -+ level)/2 quantiles of its
        replicates. With data: at each point the same quantiles of f_r(x) exp(noise * e), where f_r
        is the law of replicate r and e is standard normal, or Student t with `noise_df` degrees of
        freedom (not rescaled). With noise = 0 that is an interval for the law; with the standard
        deviation of one run's log loss, for the next run. The e are stratified quantiles dealt to
        the replicates in an order fixed by the seed.

        By "profile" or "covariance" the interval is that of the likelihood or of the delta method,
        and noise adds in quadrature, in log y.

        Args:
          data: columns of the law, numbers or arrays that broadcast.
          level: coverage, between 0 and 1.
          noise: standard deviation (scale, for Student t) of one run's log y; 0 or more.
          noise_df: degrees of freedom of the noise; None for normal noise.
          method: "bootstrap", "profile" or "covariance".

        Returns:
          A dict name -> (low, high), or Interval(low, high) with arrays of the broadcast shape.

        Raises:
          ValueError: the method is "bootstrap" and the fit has none; level, noise or noise_df is
            out of range; noise is given without data.

        Reference: Efron and Tibshirani (1993), section 13.3.
        """
        check(level, noise, noise_df, method, data)
        if method != "bootstrap":
            if data is None:
                return parameter_ends(self.law, self.solution, self.law.params, level, method)
            inputs = read_inputs(self.law, data)
            return Interval(
                *prediction_ends(self.law, self.solution, inputs, level, method, noise, noise_df)
            )
        draws = self.replicates()
        tails = ((1.0 - level) / 2.0, (1.0 + level) / 2.0)
        if data is None:
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
