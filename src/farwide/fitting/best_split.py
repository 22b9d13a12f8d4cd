"""The best N and D for a budget of compute, with bands, for any law of N and D."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from farwide.fitting.hold_out import FLOPS_PER_PARAMETER_TOKEN
from theory import scaling

LEAST_REPLICATES = 20  # fewer say nothing about a 95% band
REACH = 1e8  # how far beyond the runs' sizes a best size is sought, as a factor
GRID, ROUNDS = 61, 6  # places of log N a round; each round keeps two intervals of them
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
    sizes: np.ndarray,
    level: float = 0.95,
    fixed: Mapping[str, float] | None = None,
) -> BestSplit:
    """Minimize the law over N at C = 6 N D.

    The chinchilla form has a closed form (Hoffmann et al. 2022, equation 4); of any other law the
    minimum over log N is sought on a grid that is refined about its best place. A bootstrap
    replicate without a minimum counts at both ends of a band, so that many of them widen it.

    Args:
        fit: a law that can be read from N and D.
        C: FLOPs, (budgets,).
        sizes: N of the runs, about which the minimum is sought.
        level: of the bands.
        fixed: values of the law's other columns.

    Raises:
        ValueError: the law has no minimum along C = 6 N D, or cannot be read from N and D.
    """
    budgets = np.atleast_1d(np.asarray(C, dtype=np.float64))
    if not can_split(fit.law, fixed):
        raise ValueError(f"form {fit.form} does not say how compute is best split")
    one = {name: np.array([value]) for name, value in fit.params.items()}
    best, value = _minima(fit, one, budgets, sizes, fixed or {})
    if not np.all(np.isfinite(best)):
        raise ValueError("the fitted law has no minimum along C = 6 N D: no split is best")
    N = best[0]
    D = budgets / (FLOPS_PER_PARAMETER_TOKEN * N)
    draws = fit.bootstrap
    if draws is None or len(next(iter(draws.values()))) < LEAST_REPLICATES:
        return BestSplit(N, D, value[0], None, None)
    every, values = _minima(fit, draws, budgets, sizes, fixed or {})
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
    sizes: np.ndarray,
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
    params = {name: np.asarray(v, float)[:, None, None] for name, v in draws.items()}

    def law(x: np.ndarray) -> np.ndarray:
        N = np.exp(x)
        D = C[:, None] / (FLOPS_PER_PARAMETER_TOKEN * N)
        known = {"N": N, "D": D, "C": np.broadcast_to(C[:, None], N.shape), "M": D / N}
        known |= {name: np.full(N.shape, v) for name, v in fixed.items()}
        return np.asarray(fit.law.predict(params, {n: known[n] for n in fit.law.columns}))

    count = len(next(iter(draws.values())))
    first = np.log(np.min(sizes) / REACH), np.log(np.max(sizes) * REACH)
    low = np.full((count, len(C)), first[0])
    high = np.full((count, len(C)), first[1])
    share = np.linspace(0.0, 1.0, GRID)
    for _ in range(ROUNDS):
        x = low[..., None] + (high - low)[..., None] * share
        at = np.argmin(law(x), axis=-1)[..., None]
        low = np.take_along_axis(x, np.maximum(at - 1, 0), axis=-1)[..., 0]
        high = np.take_along_axis(x, np.minimum(at + 1, GRID - 1), axis=-1)[..., 0]
    best = 0.5 * (low + high)
    value = law(best[..., None])[..., 0]
    lost = (best - first[0] < 0.1) | (first[1] - best < 0.1)
    return np.where(lost, np.nan, np.exp(best)), np.where(lost, np.nan, value)
