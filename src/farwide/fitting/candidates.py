"""Where the next runs of a plan may lie: a grid around the runs at hand, each with its price."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from farwide.fitting.best_split import can_split
from farwide.fitting.hold_out import FLOPS_PER_PARAMETER_TOKEN
from theory import scaling

STEP = 2.0  # between neighbours of the grid
LEAST_SPAN = 16.0  # of D/N: a narrower range of the runs at hand is widened to this
LARGER = 8.0  # a column of no price goes to so many times its largest value
DIGITS = 3  # of a candidate: what is printed is what was meant


class Candidates(NamedTuple):
    """Points where a run could be done."""

    columns: Mapping[str, np.ndarray]  # each (candidates,)
    cost: np.ndarray  # (candidates,)
    unit: str  # of the cost
    sentence: str  # how the grid was made


def candidates(
    fit: scaling.Fit,
    data: Mapping[str, np.ndarray],
    budget: float,
    *,
    cost: str | None = None,
    fixed: Mapping[str, float] | None = None,
) -> Candidates:
    """A grid of points, each no dearer than the budget.

    With N and D: compute C = 6 N D from the least of the runs to the budget, and D/N over their
    range (over a factor of 16 about its middle where they hardly vary it), a factor of 2 apart.
    Other laws: every column from its least to 8 times its largest value, a factor of 2 apart, and
    the price is that of the column `cost`, which goes up to the budget.

    Args:
        fit: the law.
        data: the columns of the runs at hand.
        budget: the most that a run may cost.
        cost: the column that is the price; None for 6 N D, or a column C.
        fixed: columns that take one value, such as unique tokens.

    Raises:
        ValueError: the law has no N and D and no price is named; or the budget buys nothing.
    """
    fixed = dict(fixed or {})
    law = fit.law
    if cost is None and {"N", "D"} <= set(data) and can_split(law, fixed):
        return _of_compute(data, budget, fixed)
    price = cost or ("C" if "C" in law.columns else None)
    if price is None or price not in law.columns:
        shown = "is not given" if cost is None else f"is {cost!r}"
        raise ValueError(f"the price of a run {shown}; accepted is a column of {law.columns}")
    return _of_columns(law, data, budget, price, fixed)


def _of_compute(
    data: Mapping[str, np.ndarray], budget: float, fixed: Mapping[str, float]
) -> Candidates:
    N, D = np.asarray(data["N"], float), np.asarray(data["D"], float)
    C, ratio = FLOPS_PER_PARAMETER_TOKEN * N * D, D / N
    if budget < C.min():
        raise ValueError(f"the budget {budget:g} is below the least of the runs, {C.min():.3g}")
    low, high = float(ratio.min()), float(ratio.max())
    widened = high / low < LEAST_SPAN
    if widened:
        middle = np.sqrt(low * high)
        low, high = middle / np.sqrt(LEAST_SPAN), middle * np.sqrt(LEAST_SPAN)
    grid_C, grid_ratio = (
        x.ravel() for x in np.meshgrid(_steps(float(C.min()), budget), _steps(low, high))
    )
    size = np.sqrt(grid_C / FLOPS_PER_PARAMETER_TOKEN / grid_ratio)
    at = {"N": _rounded(size), "D": _rounded(grid_ratio * size)}
    price = FLOPS_PER_PARAMETER_TOKEN * at["N"] * at["D"]
    kept = price <= budget
    columns = {name: x[kept] for name, x in at.items()}
    columns |= {name: np.full(int(kept.sum()), value) for name, value in fixed.items()}
    about = (
        "a range wider than that of the runs, which hardly vary it"
        if widened
        else "the range of the runs"
    )
    sentence = (
        f"{kept.sum()} candidates: C = 6 N D from {C.min():.3g} (the least of the runs) to "
        f"{budget:.3g} FLOPs (the budget), D/N from {low:.3g} to {high:.3g} ({about}), each a "
        f"factor of {STEP:g} apart; none is taken twice"
    )
    return Candidates(columns, price[kept], "FLOPs", sentence)


def _of_columns(
    law: scaling.Form,
    data: Mapping[str, np.ndarray],
    budget: float,
    price: str,
    fixed: Mapping[str, float],
) -> Candidates:
    axes, parts = [], []
    for name in law.columns:
        if name in fixed:
            axes.append(np.array([fixed[name]]))
            continue
        low, high = float(np.min(data[name])), LARGER * float(np.max(data[name]))
        if name == price:
            high = budget
            if budget < low:
                raise ValueError(f"the budget {budget:g} is below the least {name}, {low:.3g}")
        axes.append(_rounded(_steps(low, high)))
        parts.append(f"{name} from {low:.3g} to {high:.3g}")
    grids = dict(zip(law.columns, (x.ravel() for x in np.meshgrid(*axes)), strict=True))
    kept = grids[price] <= budget
    columns = {name: x[kept] for name, x in grids.items()}
    sentence = (
        f"{kept.sum()} candidates: {', '.join(parts)}, each a factor of {STEP:g} apart; a run "
        f"costs its {price}; none is taken twice"
    )
    return Candidates(columns, columns[price], price, sentence)


def _steps(low: float, high: float) -> np.ndarray:
    """From low to high by factors of STEP, with high itself at the end."""
    count = int(np.floor(np.log(high / low) / np.log(STEP) + 1e-9))
    places = high / STEP ** np.arange(count + 1)
    return places[::-1]


def _rounded(values: np.ndarray) -> np.ndarray:
    """Values to DIGITS significant digits, downwards so that none gets dearer."""
    scale = 10.0 ** (np.floor(np.log10(values)) - DIGITS + 1)
    return np.floor(values / scale + 1e-9) * scale
