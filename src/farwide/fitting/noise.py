"""How far one run lands from the law: seeds and lack of fit.

A run at x has log L = log law(x) + m(x) + e: the law misses by m(x), the same for every seed, and
the seed adds e. Two estimates are at hand.

- Seeds. Runs that differ in their seed alone share law and m, so their pooled variance
  s_seed^2 = sum_g sum_i (log L_gi - mean_g)^2 / sum_g (n_g - 1) estimates var(e), and nothing else.
- Residuals. s_res^2 = n/(n - p) * mean of squared residuals in log L, with p parameters, estimates
  var(m) + var(e): what separates a run from the law, at points like those that were fitted.

A new run is missed by both, so s_res is the noise of its prediction, with n - p degrees of
freedom. Only when s_seed comes out larger (by chance, or because the fit bent to its few points)
is that taken in its place, for no run can be nearer to the law than to its own repetition: the
noise is the larger of the two. Its degrees of freedom are those of the residuals, or of the seeds
where these gave the value and have more. The uncertainty of the law's parameters comes on top, by
the bootstrap. What neither covers: a misfit that grows beyond the fitted range.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class NoiseEstimate:
    """The standard deviation of one run's log loss about the law, and where it comes from."""

    sd: float  # of log loss; about the relative deviation of the loss
    df: int  # degrees of freedom of sd
    source: str  # "residuals" or "seeds": which of the two below is larger
    residual_sd: float
    residual_df: int
    seed_sd: float | None  # None without replicates
    seed_df: int
    replicates: tuple[tuple[str, ...], ...]  # groups of runs that differ in their seed alone

    @property
    def sentence(self) -> str:
        """The estimate in words."""
        seeds = "no two runs differ in their seed alone"
        if self.seed_sd is not None:
            groups = "1 group" if len(self.replicates) == 1 else f"{len(self.replicates)} groups"
            seeds = f"seeds: {self.seed_sd:.2%} ({groups}, {self.seed_df} df)"
        residuals = f"residuals of the fit: {self.residual_sd:.2%} ({self.residual_df} df)"
        return f"one run scatters by {self.sd:.2%} about the law ({residuals}; {seeds})"


def estimate_noise(
    residuals: np.ndarray,
    log_loss: np.ndarray,
    points: Sequence[tuple[float, ...]],
    runs: Sequence[str],
    n_params: int,
    weights: np.ndarray | None = None,
) -> NoiseEstimate:
    """Estimate the noise of one run (see the file's docstring for the two estimates).

    Arguments: `residuals` (n,), log L minus log law; `log_loss` (n,); `points`, the columns of
    each row, equal for replicates; `runs`, the run of each row: rows of one run are no replicates
    of one another, and count once for the degrees of freedom; `n_params`, p; `weights` (n,).
    """
    w = np.ones(len(residuals)) if weights is None else np.asarray(weights, dtype=np.float64)
    n_runs = len({run for run, weight in zip(runs, w, strict=True) if weight > 0})
    residual_df = max(1, n_runs - n_params)
    mean_square = float(np.sum(w * np.square(residuals)) / np.sum(w))
    residual_sd = float(np.sqrt(mean_square * n_runs / residual_df))

    groups: dict[tuple[float, ...], dict[str, float]] = {}
    for point, run, value in zip(points, runs, log_loss, strict=True):
        groups.setdefault(point, {})[run] = float(value)
    replicated = [group for group in groups.values() if len(group) > 1]
    seed_df = sum(len(group) - 1 for group in replicated)
    squares = sum(np.var([*group.values()]) * len(group) for group in replicated)
    seed_sd = float(np.sqrt(squares / seed_df)) if seed_df else None

    larger = seed_sd is not None and seed_sd > residual_sd
    return NoiseEstimate(
        sd=seed_sd if larger and seed_sd is not None else residual_sd,
        df=max(residual_df, seed_df) if larger else residual_df,
        source="seeds" if larger else "residuals",
        residual_sd=residual_sd,
        residual_df=residual_df,
        seed_sd=seed_sd,
        seed_df=seed_df,
        replicates=tuple(tuple(group) for group in replicated),
    )


def noise_of(
    fit_residuals: np.ndarray, columns: Mapping[str, np.ndarray], inputs: Sequence[str],
    target: str, n_params: int
) -> NoiseEstimate:  # fmt: skip
    """`estimate_noise` from the columns of a table: `inputs` make a point, `target` is the loss."""
    rows = len(columns[target])
    runs = columns.get("run")
    names = [f"row {i}" for i in range(rows)] if runs is None else [str(run) for run in runs]
    points = list(zip(*(columns[name].tolist() for name in inputs), strict=True))
    return estimate_noise(
        np.asarray(fit_residuals), np.log(columns[target]), points, names, n_params,
        columns.get("weight"),
    )  # fmt: skip
