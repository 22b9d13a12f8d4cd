"""The best N and D for a budget of compute, with bands, for any law of N and D."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from farwide.fitting.hold_out import FLOPS_PER_PARAMETER_TOKEN
from theory import scaling

LEAST_REPLICATES = 20  # fewer say nothing about a 95% band
ROWS = 2000  # replicates times budgets that are searched at once
SIZED = {"N", "D", "C", "M"}  # columns that follow from N and D


class BestSplit(NamedTuple):
    """N*, D* and the law there at each C, each (budgets,), and their bands."""

    N: np.ndarray
    D: np.ndarray
    value: np.ndarray
    N_band: tuple[np.ndarray, np.ndarray] | None  # None without a bootstrap
    value_band: tuple[np.ndarray, np.ndarray] | None

    @property
    def ratio(self) -> np.ndarray:
        """Tokens per parameter, D*/N*."""
        return self.D / self.N

    @property
    def D_band(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The band of D*: at one C it is that of N*, turned over."""
        if self.N_band is None:
            return None
        product = self.N * self.D
        with np.errstate(divide="ignore"):
            return product / self.N_band[1], product / self.N_band[0]

    @property
    def ratio_band(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The band of D*/N*."""
        if self.N_band is None:
            return None
        product = self.N * self.D
        with np.errstate(divide="ignore"):
            return product / self.N_band[1] ** 2, product / self.N_band[0] ** 2


def can_split(law: scaling.Form, fixed: Mapping[str, float] | None = None) -> bool:
    """Whether a law says how a budget is best split: it can be read from N, D and `fixed`."""
    return set(law.columns) - set(fixed or {}) <= SIZED


def best_split(
    fit: scaling.Fit,
    C: np.ndarray,
    *,
    level: float = 0.95,
    fixed: Mapping[str, float] | None = None,
) -> BestSplit:
    """Minimize the law over N at C = 6 N D.

    The chinchilla form has a closed form (Hoffmann et al. 2022, equation 4); any other law goes
    to `scaling.optimum`. A bootstrap
    replicate without a minimum counts at both ends of a band, so that many of them widen it.

    Args:
        fit: a law that can be read from N and D.
        C: FLOPs, (budgets,).
        level: of the bands.
        fixed: values of the law's other columns.

    Raises:
        ValueError: the law has no minimum along C = 6 N D, or cannot be read from N and D.
    """
    budgets = np.atleast_1d(np.asarray(C, dtype=np.float64))
    if not can_split(fit.law, fixed):
        raise ValueError(f"form {fit.form} does not say how compute is best split")
    one = {name: np.array([value]) for name, value in fit.params.items()}
    best, value = _minima(fit, one, budgets, fixed or {})
    if not np.all(np.isfinite(best)):
        raise ValueError("the fitted law has no minimum along C = 6 N D: no split is best")
    N = best[0]
    D = budgets / (FLOPS_PER_PARAMETER_TOKEN * N)
    draws = fit.bootstrap
    if draws is None or len(next(iter(draws.values()))) < LEAST_REPLICATES:
        return BestSplit(N, D, value[0], None, None)
    every, values = _minima(fit, draws, budgets, fixed or {})
    return BestSplit(N, D, value[0], _band(every, level), _band(values, level))


def _band(draws: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles over the replicates, those that are NaN at 0 below and at infinity above."""
    tail = (1 - level) / 2
    low = np.quantile(np.where(np.isnan(draws), 0.0, draws), tail, axis=0, method="lower")
    high = np.quantile(np.where(np.isnan(draws), np.inf, draws), 1 - tail, axis=0, method="higher")
    return low, high


def _minima(
    fit: scaling.Fit,
    draws: Mapping[str, np.ndarray],
    C: np.ndarray,
    fixed: Mapping[str, float],
) -> tuple[np.ndarray, np.ndarray]:
    """(replicates, budgets): the best N and the law there; NaN where there is none."""
    if fit.form == "chinchilla":
        names = ("A", "B", "alpha", "beta")
        usable = np.all([draws[name] > 0 for name in names], axis=0)
        shape = (len(usable), len(C))
        best, value = np.full(shape, np.nan), np.full(shape, np.nan)
        if usable.any():
            at = scaling.frontier({n: v[usable][:, None] for n, v in draws.items()}, C)
            best[usable], value[usable] = at.N, at.loss
        return best, value
    count = len(next(iter(draws.values())))
    best, value = np.empty((count, len(C))), np.empty((count, len(C)))
    step = max(1, ROWS // len(C))
    for first in range(0, count, step):
        some = {n: np.asarray(v, float)[first : first + step] for n, v in draws.items()}
        size = len(next(iter(some.values())))
        params = {name: np.repeat(v, len(C))[:, None] for name, v in some.items()}
        # The form and columns of parameters: a row a replicate and budget.
        law: Any = (fit.law, params)
        found = scaling.optimum(law, np.tile(C, size), **fixed)
        at_end = found.at_end.reshape(size, -1)
        best[first : first + step] = np.where(at_end, np.nan, found.N.reshape(size, -1))
        value[first : first + step] = np.where(at_end, np.nan, found.loss.reshape(size, -1))
    return best, value
