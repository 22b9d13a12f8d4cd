"""The best way to spend a budget under any law, found numerically.

For a law of N and D (and perhaps others, held fixed), minimize L(N, C / (6 N)) over log N: a scan,
then golden sections. Data-constrained: with U unique tokens fixed, D beyond U repeats them. For a
law of a shape x and compute t, minimize over log x.

Reference: Hoffmann et al. (2022), section 3.3; Muennighoff et al. (2023), section 5; Alabdulmohsin
et al. (2023), equation 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from theory.scaling.columns import DERIVED
from theory.scaling.compute_optimal import FLOPS_PER_PARAMETER_TOKEN
from theory.scaling.form import Form
from theory.scaling.result import Fit

SCAN = 400  # values of log N between the ends
DECADES = 12.0  # searched on both sides of N = sqrt(C/6)
SECTIONS = 80
GOLDEN = (np.sqrt(5.0) - 1.0) / 2.0


class Optimum(NamedTuple):
    """The best split of a budget under a law."""

    N: np.ndarray  # parameters
    D: np.ndarray  # tokens
    loss: np.ndarray
    at_end: np.ndarray  # whether N ran to the end of the search: no finite split is best


class BestShape(NamedTuple):
    """The best shape at some compute."""

    x: np.ndarray
    loss: np.ndarray
    at_end: np.ndarray


def optimum(
    law: Fit | tuple[Form, Mapping[str, float]], C: float | np.ndarray, **fixed: float
) -> Optimum:
    """N*, D* and L* for budgets C = 6 N D under any law of N and D.

    Args:
      law: a fit, or (form, parameters); its columns are among N, D, C, M (tokens per parameter) and
        those of `fixed`.
      C: compute in FLOPs, positive, any shape.
      fixed: the other columns, such as U, the unique tokens of a data-constrained law.

    Returns:
      Optimum(N, D, loss, at_end), arrays of C's shape.

    Raises:
      ValueError: C is not positive, or a column of the law is neither of these nor given.
    """
    form, params = _law(law)
    known = {"N", "D", *DERIVED, *fixed}
    if missing := [name for name in form.columns if name not in known]:
        raise ValueError(
            f"column {missing[0]!r} of form {form.name!r} is not given; pass {missing[0]}=VALUE"
        )
    budget = _positive("C", C)
    found = _split(form, params, budget.ravel(), fixed)
    return Optimum(*(part.reshape(budget.shape) for part in found))


def optimum_interval(
    fit: Fit, C: float | np.ndarray, *, level: float = 0.95, **fixed: float
) -> tuple[Optimum, Optimum]:
    """Percentile bootstrap bands of the optimum: each of N*, D* and L* at each C by itself.

    A replicate without a finite best split enters with N at the end of the search.

    Args:
      fit: a fit with bootstrap replicates.
      C: compute in FLOPs, positive, any shape.
      level: coverage, between 0 and 1.
      fixed: as for `optimum`.

    Returns:
      The lower and the upper band.

    Raises:
      ValueError: as `optimum`; the fit has no bootstrap; level is out of range.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level = {level}; accepted are numbers between 0 and 1")
    optimum(fit, C, **fixed)
    draws, budget = fit.replicates(), _positive("C", C)
    count = len(next(iter(draws.values())))
    params = {name: np.repeat(values, budget.size)[:, None] for name, values in draws.items()}
    found = _split(fit.law, params, np.tile(budget.ravel(), count), fixed)
    tails = ((1.0 - level) / 2.0, (1.0 + level) / 2.0)
    bands = [np.quantile(part.reshape(count, *budget.shape), tails, axis=0) for part in found[:3]]
    end = np.any(found.at_end.reshape(count, *budget.shape), axis=0)
    N, D, loss = bands
    return Optimum(N[0], D[0], loss[0], end), Optimum(N[1], D[1], loss[1], end)


def _split(
    form: Form, params: Mapping[str, Any], flat: np.ndarray, fixed: Mapping[str, float]
) -> Optimum:
    """The optimum of every row; params are numbers or columns, (rows, 1)."""
    middle = 0.5 * np.log(flat / FLOPS_PER_PARAMETER_TOKEN)

    def loss(log_N: np.ndarray) -> np.ndarray:
        N = np.exp(log_N)
        D = flat[:, None] / (FLOPS_PER_PARAMETER_TOKEN * N)
        columns = {"N": N, "D": D, "C": flat[:, None] * np.ones_like(N), "M": D / N}
        columns |= {name: np.full_like(N, value) for name, value in fixed.items()}
        return form.predict(params, {name: columns[name] for name in form.columns})

    reach = DECADES * np.log(10.0)
    low, high = np.maximum(middle - reach, 0.0), np.minimum(middle + reach, 2 * middle)
    best, at_end = _minimize(loss, low, high)
    N = np.exp(best)
    return Optimum(N, flat / (FLOPS_PER_PARAMETER_TOKEN * N), loss(best[:, None])[:, 0], at_end)


def best_shape(
    law: Fit | tuple[Form, Mapping[str, float]],
    t: float | np.ndarray,
    *,
    low: float = 1.0,
    high: float = 1e6,
) -> BestShape:
    """The shape x (width, depth, ...) of lowest loss at compute t, for a law of x and t.

    For the form "shape" it is x* = (a p t^c / (b q))^(1/(p + q)) where b, q > 0.

    Args:
      law: a fit, or (form, parameters), with columns x and t.
      t: compute, in the unit of the fitted column, positive, any shape.
      low, high: the range of x that is searched.

    Returns:
      BestShape(x, loss, at_end), arrays of t's shape.

    Raises:
      ValueError: the law reads other columns, or an argument is out of range.
    """
    form, params = _law(law)
    if set(form.columns) != {"x", "t"}:
        raise ValueError(f"form {form.name!r} reads {list(form.columns)}; best_shape needs x and t")
    if not 0 < low < high < np.inf:
        raise ValueError(f"low, high = {low}, {high}; accepted are 0 < low < high")
    budget = _positive("t", t)
    flat = budget.ravel()

    def loss(log_x: np.ndarray) -> np.ndarray:
        return form.predict(params, {"x": np.exp(log_x), "t": flat[:, None] * np.ones_like(log_x)})

    ends = (np.full(flat.shape, np.log(end)) for end in (low, high))
    best, at_end = _minimize(loss, *ends)
    value = loss(best[:, None])[:, 0]
    return BestShape(
        np.exp(best).reshape(budget.shape),
        value.reshape(budget.shape),
        at_end.reshape(budget.shape),
    )


def _minimize(loss: Any, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lowest point of each row between its ends, and whether that is an end."""
    share = np.linspace(0.0, 1.0, SCAN)
    grid = low[:, None] + share * (high - low)[:, None]
    values = loss(grid)
    best = np.argmin(values, axis=1)
    rows = np.arange(len(best))
    a, b = grid[rows, np.maximum(best - 1, 0)], grid[rows, np.minimum(best + 1, SCAN - 1)]
    for _ in range(SECTIONS):
        c, d = b - GOLDEN * (b - a), a + GOLDEN * (b - a)
        fc, fd = loss(np.stack([c, d], axis=1)).T
        a, b = np.where(fc < fd, a, c), np.where(fc < fd, d, b)
    return 0.5 * (a + b), (best == 0) | (best == SCAN - 1)


def _law(law: Fit | tuple[Form, Mapping[str, float]]) -> tuple[Form, Mapping[str, float]]:
    return (law.law, law.params) if isinstance(law, Fit) else law


def _positive(name: str, values: float | np.ndarray) -> np.ndarray:
    out = np.asarray(values, dtype=np.float64)
    good = np.isfinite(out) & (out > 0)
    if not np.all(good):
        raise ValueError(f"{name} = {np.ravel(out)[~np.ravel(good)][0]}; accepted are positive")
    return out
