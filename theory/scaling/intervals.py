"""Intervals three ways: bootstrap, profile likelihood, covariance.

For parameters, for the law at new points, for one new run there (with noise), and for anything
else that `quantities` can name. Ends for positive quantities are those of their logarithms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from theory.scaling import quantities
from theory.scaling.covariance import Spread, spread
from theory.scaling.form import Form
from theory.scaling.losses import Shape
from theory.scaling.problem import Problem
from theory.scaling.profile import Sides, first_order, intervals

METHODS = ("bootstrap", "profile", "covariance")


class Solution(NamedTuple):
    """A fit as the solver has it."""

    problem: Problem
    theta: Float[np.ndarray, "params"]
    shape: Shape
    groups: Int[np.ndarray, "points"] | None  # runs of the rows, in the order of the solver


class Covariance(NamedTuple):
    """First-order uncertainty of the published parameters.

    `matrix` is that of the logarithm for a parameter with `logarithm` True, else of the parameter
    itself; zero for parameters at the end of their range.
    """

    names: tuple[str, ...]
    matrix: Float[np.ndarray, "params params"]
    logarithm: tuple[bool, ...]
    df: int  # degrees of freedom
    condition: float  # of the information matrix, columns scaled to unit length


def covariance(form: Form, solution: Solution) -> Covariance:
    """The covariance of the published parameters, by the delta method."""
    uncertain = _spread(solution)
    ask = quantities.parameters(form)
    _, slope = first_order(ask, solution.theta, quantities.units(solution.problem))
    slope = np.where(np.isfinite(slope), slope, 0.0)
    return Covariance(
        form.params,
        slope @ uncertain.covariance @ slope.T,
        tuple(form.positive(name) for name in form.params),
        uncertain.df,
        uncertain.condition,
    )


def parameter_ends(
    form: Form, solution: Solution, names: Sequence[str], level: float, method: str
) -> dict[str, tuple[float, float]]:
    """Ends for parameters by name; 0 or infinity where the data give no end."""
    index = np.array([form.params.index(name) for name in names])
    ask, constants = quantities.parameters(form), quantities.units(solution.problem)
    sides = ends(form, solution, ask, constants, level, method, index)
    out = {}
    for name, low, high in zip(names, sides.low, sides.high, strict=True):
        if form.positive(name):
            low, high = np.exp(low), np.exp(min(high, 700.0)) if np.isfinite(high) else high
        out[name] = (float(low), float(high))
    return out


def prediction_ends(
    form: Form,
    solution: Solution,
    columns: Mapping[str, np.ndarray],
    level: float,
    method: str,
    noise: float,
    noise_df: float | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Ends for the law at new points, or with noise for one new run at each, in its unit."""
    from scipy import special  # slow to import

    shape = next(iter(columns.values())).shape
    ask = quantities.law(form)
    constants = quantities.points(form, solution.problem, columns)
    middle, _ = first_order(ask, solution.theta, constants)
    sides = ends(form, solution, ask, constants, level, method)
    upper = 0.5 * (1.0 + level)
    scatter = noise * float(special.ndtri(upper) if noise_df is None
                            else special.stdtrit(noise_df, upper))  # fmt: skip
    low = middle - np.hypot(middle - sides.low, scatter)
    high = middle + np.hypot(sides.high - middle, scatter)
    return np.exp(low).reshape(shape), np.exp(high).reshape(shape)


def ends(
    form: Form,
    solution: Solution,
    ask: quantities.Quantities,
    constants: Float[np.ndarray, "constants"],
    level: float,
    method: str,
    index: np.ndarray | None = None,
) -> Sides:
    """Ends for quantities, by "profile" or "covariance"."""
    uncertain = _spread(solution)
    if method == "profile":
        return intervals(
            form, solution.problem, solution.theta, solution.shape, uncertain, ask, constants,
            level, index,
        )  # fmt: skip
    from scipy import special  # slow to import

    value, slope = first_order(ask, solution.theta, constants)
    if index is not None:
        value, slope = value[index], slope[index]
    slope = np.where(np.isfinite(slope), slope, 0.0)
    error = np.sqrt(np.einsum("qp,pr,qr->q", slope, uncertain.covariance, slope))
    width = float(special.stdtrit(uncertain.df, 0.5 * (1.0 + level))) * error
    return Sides(value - width, value + width)


def _spread(solution: Solution) -> Spread:
    return spread(solution.problem, solution.theta, solution.shape, solution.groups)


def check(level: float, noise: float, noise_df: float | None, method: str, data: Any) -> None:
    """Refuse arguments of `Fit.interval` that are out of range."""
    if method not in METHODS:
        raise ValueError(f"method {method!r} is unknown; accepted are {list(METHODS)}")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level = {level}; accepted are numbers between 0 and 1")
    if not (np.isfinite(noise) and noise >= 0):
        raise ValueError(f"noise = {noise}; accepted are finite numbers at or above 0")
    if noise_df is not None and not noise_df > 0:
        raise ValueError(f"noise_df = {noise_df}; accepted are positive numbers or None")
    if data is None and (noise or noise_df is not None):
        raise ValueError("noise belongs to predictions: give the data to predict at")
