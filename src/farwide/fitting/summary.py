"""A fit in numbers with intervals, and in one sentence."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from theory import scaling


class Estimate(NamedTuple):
    """A number with its interval; low and high are None without a bootstrap."""

    value: float
    low: float | None = None
    high: float | None = None


def parameter_estimates(fit: scaling.Fit, level: float = 0.95) -> dict[str, Estimate]:
    """The law's parameters with percentile-bootstrap intervals."""
    if fit.bootstrap is None:
        return {name: Estimate(value) for name, value in fit.params.items()}
    intervals = fit.interval(level=level)
    return {
        name: Estimate(value, *(float(end) for end in intervals[name]))
        for name, value in fit.params.items()
    }


def compute_optimal_exponents(fit: scaling.Fit, level: float = 0.95) -> dict[str, Estimate]:
    """The exponents a, b of N* ~ C^a and D* ~ C^b under C = 6 N D; empty for another law.

    a = beta / (alpha + beta), b = alpha / (alpha + beta) (Hoffmann et al. 2022, equation 4), with
    percentile intervals over the bootstrap replicates. A replicate that has switched a term off has
    no such exponents; it enters as 0 at the low end and as 1 at the high end, so that many of them
    widen the interval. Empty where the fit itself has switched a term off.
    """
    params = fit.params
    if fit.form != "chinchilla" or min(params[name] for name in ("A", "B", "alpha", "beta")) <= 0:
        return {}
    a = params["beta"] / (params["alpha"] + params["beta"])
    if fit.bootstrap is None:
        return {"a": Estimate(a), "b": Estimate(1 - a)}
    alpha, beta = fit.bootstrap["alpha"], fit.bootstrap["beta"]
    usable = np.all([fit.bootstrap[name] > 0 for name in ("A", "B", "alpha", "beta")], axis=0)
    draws = beta[usable] / (alpha[usable] + beta[usable])
    lost = int(np.sum(~usable))
    tail = (1 - level) / 2
    low = float(np.quantile([*draws, *[0.0] * lost], tail))
    high = float(np.quantile([*draws, *[1.0] * lost], 1 - tail))
    return {"a": Estimate(a, low, high), "b": Estimate(1 - a, 1 - high, 1 - low)}


def objective_name(fit: scaling.Fit) -> str:
    """Exactly what a fit minimised, for example "sum of Huber(1e-3) of log residuals over 22
    points".
    """
    weighted = "weighted " if np.any(fit.data["weight"] != 1) else ""
    points = f"over {fit.n_points} points"
    if fit.tau is not None and fit.delta is not None:
        return (
            f"{weighted}sum of asymmetric Huber({short(fit.delta)}, tau {fit.tau:g}) of log "
            f"residuals {points}"
        )
    if fit.delta is not None:
        return f"{weighted}sum of Huber({short(fit.delta)}) of log residuals {points}"
    kinds = {"squared": "squared", "l1": "absolute"}
    return f"{weighted}sum of {kinds.get(fit.loss, fit.loss)} log residuals {points}"


def short(value: float) -> str:
    """A power of ten as 1e-3, any other number in its shortest form."""
    mantissa, _, exponent = f"{value:e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}" if abs(int(exponent)) > 2 else f"{value:g}"
