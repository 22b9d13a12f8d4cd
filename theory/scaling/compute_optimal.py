"""The compute-optimal frontier of the Chinchilla form, in closed form.

Minimize E + A N^-alpha + B D^-beta subject to C = 6 N D:

    a = beta / (alpha + beta),   G = (alpha A / (beta B))^(1 / (alpha + beta)),
    N* = G (C/6)^a,   D* = (C/6)^(1-a) / G.

Reference: Hoffmann et al. (2022), equation 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from theory.scaling import quantities
from theory.scaling.intervals import check, ends
from theory.scaling.result import Fit

FLOPS_PER_PARAMETER_TOKEN = 6.0  # C = 6 N D: forward 2, backward 4
NAMES = ("E", "A", "B", "alpha", "beta")


class Frontier(NamedTuple):
    """The best split of a budget, and the loss that the law promises there."""

    N: np.ndarray  # parameters
    D: np.ndarray  # tokens
    loss: np.ndarray  # in the unit of the fitted loss


def frontier(
    params_or_fit: Fit | Mapping[str, float | np.ndarray], C: float | np.ndarray
) -> Frontier:
    """N*, D* and L* for a budget of C = 6 N D.

    Args:
      params_or_fit: a fit of form "chinchilla", or a mapping with E, A, B, alpha, beta (E >= 0, the
        others positive), numbers or arrays that broadcast against C.
      C: compute in FLOPs, positive, any shape.

    Returns:
      Frontier(N, D, loss), arrays of the broadcast shape.

    Raises:
      ValueError: the fit is of another form, a parameter is missing, or a value is out of range;
        with A, B, alpha or beta at zero no finite split is best.
    """
    if isinstance(params_or_fit, Fit):
        if params_or_fit.form != "chinchilla":
            raise ValueError(
                f"frontier needs a fit of form 'chinchilla', not {params_or_fit.form!r}"
            )
        params_or_fit = params_or_fit.params
    missing = [name for name in NAMES if name not in params_or_fit]
    if missing:
        raise ValueError(f"parameter {missing[0]!r} is missing; frontier needs {list(NAMES)}")
    values = {name: np.asarray(params_or_fit[name], dtype=np.float64) for name in NAMES}
    budget = np.asarray(C, dtype=np.float64)
    for name, value in {**values, "C": budget}.items():
        good = np.isfinite(value) & ((value >= 0) if name == "E" else (value > 0))
        if not np.all(good):
            worst = np.asarray(value)[~good].flat[0]
            accepted = "finite and not negative" if name == "E" else "finite and positive"
            raise ValueError(f"{name} = {worst}; the frontier needs {name} {accepted}")
    E, A, B, alpha, beta = (values[name] for name in NAMES)
    total = alpha + beta
    log_pairs = np.log(budget / FLOPS_PER_PARAMETER_TOKEN)  # log N D
    log_G = np.log(alpha * A / (beta * B)) / total
    log_N = log_G + beta / total * log_pairs
    log_D = alpha / total * log_pairs - log_G
    loss = E + np.exp(np.log(A) - alpha * log_N) + np.exp(np.log(B) - beta * log_D)
    return Frontier(np.exp(log_N), np.exp(log_D), loss)


def frontier_interval(
    fit: Fit, C: float | np.ndarray, *, level: float = 0.95, method: str = "bootstrap"
) -> tuple[Frontier, Frontier]:
    """Bands of the frontier: each of N*, D* and L* at each C by itself.

    By "bootstrap" percentiles, by "profile" the profile likelihood, by "covariance" the delta
    method, the last two of logarithms. A replicate without a frontier (A, B, alpha or beta at
    zero) has no finite best split; it enters as N* = 0 or infinity would, on both sides, so that a
    fit with many such replicates has a wide band rather than a quietly narrowed one.

    Args:
      fit: a fit of form "chinchilla"; for "bootstrap", with replicates.
      C: compute in FLOPs, positive, any shape.
      level: coverage, between 0 and 1.
      method: "bootstrap", "profile" or "covariance".

    Returns:
      The lower and the upper band, each a Frontier of C's shape.

    Raises:
      ValueError: as `frontier`; method or level is out of range; or the fit has no bootstrap.
    """
    frontier(fit, C)
    check(level, 0.0, None, method, None)
    if method != "bootstrap":
        flat = np.ravel(np.asarray(C, dtype=np.float64))
        constants = np.concatenate([quantities.units(fit.solution.problem), flat])
        sides = ends(fit.law, fit.solution, quantities.frontier(fit.law), constants, level, method)
        low, high = (
            Frontier(*np.exp(side.reshape(3, *np.shape(C)))) for side in (sides.low, sides.high)
        )
        return low, high
    draws = fit.replicates()
    budget = np.asarray(C, dtype=np.float64)
    usable = np.all([draws[name] > 0 for name in NAMES[1:]], axis=0)
    kept = {name: draws[name][usable].reshape(-1, *(1 for _ in budget.shape)) for name in NAMES}
    band = frontier(kept, budget)
    lost = int(np.sum(~usable))
    tail = (1.0 - level) / 2.0
    low, high = [], []
    for values in band:
        floor = np.zeros((lost, *budget.shape))
        low.append(np.quantile(np.concatenate([floor, values]), tail, axis=0, method="lower"))
        high.append(
            np.quantile(
                np.concatenate([values, np.full_like(floor, np.inf)]),
                1.0 - tail,
                axis=0,
                method="higher",
            )
        )
    return Frontier(*low), Frontier(*high)
