"""The best split of compute that a law allows, with its band, for any law of N and D."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from farwide.plotting.data import LEAST_REPLICATES
from theory import scaling


class Best(NamedTuple):
    """N*, D* and the loss at each C, each (budgets,), with the ends of their bands."""

    N: np.ndarray
    D: np.ndarray
    loss: np.ndarray
    low: scaling.Frontier | None  # None without a bootstrap
    high: scaling.Frontier | None


def has_replicates(fit: scaling.Fit) -> bool:
    """Whether there are bootstrap replicates enough for a band."""
    draws = fit.bootstrap
    return draws is not None and len(next(iter(draws.values()))) >= LEAST_REPLICATES


def best_split(fit: scaling.Fit, C: np.ndarray, *, level: float = 0.95) -> Best | str:
    """The frontier at C (FLOPs), or a sentence that says why there is none."""
    if fit.form != "chinchilla":
        return f"The compute-optimal split of form {fit.form} is not drawn."
    if min(fit.params[name] for name in ("A", "B", "alpha", "beta")) <= 0:
        return (
            "The fit has switched a term of the law off (a parameter is 0), so no split of "
            "compute is best."
        )
    at = scaling.frontier(fit, C)
    low, high = None, None
    if has_replicates(fit):
        low, high = scaling.frontier_interval(fit, C, level=level)
    return Best(at.N, at.D, at.loss, low, high)
