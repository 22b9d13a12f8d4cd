"""The compute-optimal size straight from the runs: the envelope and the IsoFLOP parabolas.

Neither supposes a law of N and D; both give N*(C) at some budgets and fit a power law through it.

- Approach 1: along training curves, the run with the lowest loss at each budget.
- Approach 2: runs of one budget each, a parabola of the loss in log N through them, its lowest
  point.

Reference: Hoffmann et al. (2022), sections 3.1 and 3.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from theory.scaling.compute_optimal import FLOPS_PER_PARAMETER_TOKEN

BIAS = (
    "the parabola is a local picture of a law that is no parabola: where alpha and beta differ, or "
    "the sizes of a budget do not straddle their best one evenly, its lowest point is off, and by "
    "more in N* itself than in the exponent; `isoflop_bias` says by how much for a fitted law"
)


class PowerLaw(NamedTuple):
    """value = coefficient * C^exponent, by least squares of logarithms."""

    coefficient: float
    exponent: float
    low: float  # of the exponent, 95%; NaN with two points
    high: float

    def __call__(self, C: float | np.ndarray) -> np.ndarray:
        """Values at budgets C."""
        return self.coefficient * np.asarray(C, np.float64) ** self.exponent


class Envelope(NamedTuple):
    """The lowest loss at each budget and which run had it."""

    C: Float[np.ndarray, "budgets"]  # FLOPs
    N: Float[np.ndarray, "budgets"]  # parameters
    D: Float[np.ndarray, "budgets"]  # tokens
    loss: Float[np.ndarray, "budgets"]
    run: np.ndarray  # labels
    N_law: PowerLaw
    D_law: PowerLaw


class IsoFLOP(NamedTuple):
    """One parabola a budget, log loss = loss_min + curvature (log N - log N*)^2 / 2."""

    C: Float[np.ndarray, "budgets"]  # FLOPs, geometric mean of the runs of a budget
    N: Float[np.ndarray, "budgets"]  # N*; NaN where there is no minimum
    N_low: Float[np.ndarray, "budgets"]  # 95%, by the delta method; NaN with three runs
    N_high: Float[np.ndarray, "budgets"]
    D: Float[np.ndarray, "budgets"]  # C / (6 N*)
    loss: Float[np.ndarray, "budgets"]  # at N*
    curvature: Float[np.ndarray, "budgets"]
    inside: Bool[np.ndarray, "budgets"]  # whether N* lies between the runs
    group: np.ndarray  # of every row, its budget's number, or -1
    N_law: PowerLaw  # through the budgets whose minimum is inside
    D_law: PowerLaw
    left_out: tuple[str, ...]  # budgets without a minimum inside, and rows without a budget
    caveat: str = BIAS


def envelope(data: Mapping[str, Any], *, budgets: int = 100) -> Envelope:
    """Approach 1: the run with the lowest loss at each of `budgets` log-spaced amounts of compute.

    Between the points of a curve log loss is linear in log C. A run counts only where it has
    points on both sides. The law is fitted through the budgets at which the best run is neither
    the smallest nor the largest one that has been trained that far.

    Args:
      data: columns N, D, loss and run, one row a point of a training curve; C = 6 N D unless there
        is a column C.
      budgets: how many, between the least and the largest compute that two runs share.

    Returns:
      An `Envelope`.

    Raises:
      ValueError: a column is missing or not positive; fewer than two runs overlap; or the best run
        is the smallest or the largest everywhere.
    """
    columns = _columns(data, ("N", "D", "loss"))
    if "run" not in data:
        raise ValueError("column 'run' is missing: the envelope is over curves, one a run")
    labels, run = np.unique(np.asarray(data["run"]), return_inverse=True)
    spans, curves = [], []
    for i in range(len(labels)):
        rows = np.flatnonzero(run == i)
        rows = rows[np.argsort(columns["C"][rows], kind="stable")]
        curves.append(rows)
        spans.append((columns["C"][rows[0]], columns["C"][rows[-1]]) if len(rows) > 1 else (1, 0))
    starts, ends = np.array(spans, dtype=np.float64).T
    if np.sum(ends > starts) < 2:
        raise ValueError(
            f"{int(np.sum(ends > starts))} runs have a curve of two points or more; an envelope "
            "needs at least two"
        )
    grid = np.geomspace(np.min(starts[ends > starts]), np.max(ends), budgets)
    found = []
    for C in grid:
        alive = [i for i in range(len(labels)) if starts[i] <= C <= ends[i] and ends[i] > starts[i]]
        if len(alive) < 2:
            continue
        at = {i: _interpolate(columns, curves[i], C) for i in alive}
        best = min(at, key=lambda i: at[i][2])
        sizes = [at[i][0] for i in alive]
        interior = min(sizes) < at[best][0] < max(sizes)
        found.append((C, *at[best], best, interior))
    if not found:
        raise ValueError("no budget is covered by two runs")
    C, N, D, loss, best, interior = (np.array(part) for part in zip(*found, strict=True))
    if np.sum(interior) < 2:
        raise ValueError(
            "the best run is the smallest or the largest one at nearly every budget: the runs do "
            "not bracket N*(C)"
        )
    used = interior.astype(bool)
    return Envelope(
        C, N, D, loss, labels[best.astype(int)],
        power_law(C[used], N[used], np.unique(best[used]).size),
        power_law(C[used], D[used], np.unique(best[used]).size),
    )  # fmt: skip


def _interpolate(
    columns: Mapping[str, np.ndarray], rows: np.ndarray, C: float
) -> tuple[float, float, float]:
    log_C = np.log(columns["C"][rows])
    return tuple(  # pyright: ignore[reportReturnType]
        float(np.exp(np.interp(np.log(C), log_C, np.log(columns[name][rows]))))
        for name in ("N", "D", "loss")
    )


def isoflop(
    data: Mapping[str, Any], *, tolerance: float = 0.1, least: int = 3, span: float = 2.0
) -> IsoFLOP:
    """Approach 2: a parabola of log loss in log N for each group of runs of nearly one budget.

    Rows sorted by C start a new group where C grows by more than `tolerance`, or where a group
    would come to span more than twice that. Groups of fewer than `least` sizes, or whose sizes span
    less than a factor `span` (points that share a budget by chance), are left out, and said.

    Args:
      data: columns N, D and loss, one row a finished run; C = 6 N D unless there is a column C.
      tolerance: relative gap between budgets.
      least: different sizes that a parabola needs, at least 3.
      span: the least factor between the smallest and the largest of them.

    Returns:
      An `IsoFLOP`; its `caveat` tells the known bias of the method.

    Raises:
      ValueError: a column is missing or not positive; tolerance, least or span is out of range; or
        fewer than two budgets have a minimum inside.
    """
    if not 0 < tolerance < 2:
        raise ValueError(f"tolerance = {tolerance}; accepted are numbers between 0 and 2")
    if least < 3:
        raise ValueError(f"least = {least}; a parabola needs at least 3 sizes")
    if not span >= 1:
        raise ValueError(f"span = {span}; accepted are numbers from 1")
    columns = _columns(data, ("N", "D", "loss"))
    group = _budgets(columns["C"], tolerance)
    rows, number = [], np.full(len(group), -1)
    lone, narrow, outside = 0, [], []
    for g in range(group.max() + 1):
        index = np.flatnonzero(group == g)
        C = float(np.exp(np.mean(np.log(columns["C"][index]))))
        if len(np.unique(columns["N"][index])) < least:
            lone += len(index)
            continue
        if np.max(columns["N"][index]) < span * np.min(columns["N"][index]):
            narrow.append(C)
            continue
        number[index] = len(rows)
        fitted = _parabola(np.log(columns["N"][index]), np.log(columns["loss"][index]))
        rows.append((C, *fitted))
        if not fitted[-1]:
            outside.append(C)
    left_out = _said(outside, "the parabola has no minimum between its runs")
    left_out += _said(narrow, f"the sizes span less than a factor of {span:g}")
    if lone:
        left_out.append(f"{lone} rows share their budget with fewer than {least} sizes")
    inside = np.array([row[-1] for row in rows], bool)
    if np.sum(inside) < 2:
        raise ValueError(
            f"{int(np.sum(inside))} budgets have a minimum between their runs; an IsoFLOP fit "
            f"needs at least two ({'; '.join(left_out) or 'no budget has enough sizes'})"
        )
    C, log_N, error, bottom, curvature = (np.array(part) for part in list(zip(*rows))[:-1])  # noqa: B905
    N = np.exp(log_N)
    D = C / (FLOPS_PER_PARAMETER_TOKEN * N)
    return IsoFLOP(
        C, N, np.exp(log_N - error), np.exp(log_N + error), D, np.exp(bottom), curvature, inside,
        number, power_law(C[inside], N[inside]), power_law(C[inside], D[inside]), tuple(left_out),
    )  # fmt: skip


def _said(budgets: list[float], reason: str) -> list[str]:
    """A sentence on budgets that were left out for one reason."""
    if not budgets:
        return []
    if len(budgets) == 1:
        return [f"C = {budgets[0]:.3g}: {reason}"]
    return [f"{len(budgets)} budgets, C = {min(budgets):.3g} to {max(budgets):.3g}: {reason}"]


def isoflop_bias(
    law: Any, params: Mapping[str, float], data: Mapping[str, Any], result: IsoFLOP
) -> Float[np.ndarray, "budgets"]:
    """log of N* by parabolas over the true N*, if the runs had followed a law without noise.

    Args:
      law: a `Form` of N and D.
      params: its parameters.
      data: the columns N and D (and C) that `isoflop` had.
      result: from `isoflop`.
    """
    from theory.scaling.optimum import optimum

    columns = _columns(data, ("N", "D"))
    log_loss = np.log(law.predict(params, {"N": columns["N"], "D": columns["D"]}))
    out = []
    for g, C in enumerate(result.C):
        index = result.group == g
        log_N = _parabola(np.log(columns["N"][index]), log_loss[index])[0]
        out.append(log_N - np.log(optimum((law, params), float(C)).N))
    return np.array(out, dtype=np.float64)


def power_law(C: np.ndarray, value: np.ndarray, points: int | None = None) -> PowerLaw:
    """Least squares of log value on log C; `points` counts those that are independent."""
    from scipy import special  # slow to import

    u, v = np.log(C), np.log(value)
    middle = np.mean(u)
    slope = float(np.sum((u - middle) * (v - np.mean(v))) / np.sum((u - middle) ** 2))
    intercept = float(np.mean(v) - slope * middle)
    df = (len(u) if points is None else points) - 2
    if df < 1:
        return PowerLaw(float(np.exp(intercept)), slope, float("nan"), float("nan"))
    rest = float(np.sum((v - intercept - slope * u) ** 2)) / df
    error = float(np.sqrt(rest / np.sum((u - middle) ** 2) * len(u) / (df + 2)))
    half = float(special.stdtrit(df, 0.975)) * error
    return PowerLaw(float(np.exp(intercept)), slope, slope - half, slope + half)


def _parabola(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float, float, bool]:
    """Lowest point, half-width of its 95% interval, value there, curvature, and if it is inside."""
    from scipy import special  # slow to import

    middle, width = float(np.mean(x)), float(np.ptp(x)) or 1.0
    t = (x - middle) / width
    design = np.stack([np.ones_like(t), t, t**2], axis=1)
    coefficients, *_ = np.linalg.lstsq(design, y, rcond=None)
    _, b, c = coefficients
    if c <= 0:
        return float("nan"), float("nan"), float("nan"), float(2 * c / width**2), False
    lowest = -b / (2 * c)
    slope = np.array([0.0, -1 / (2 * c), b / (2 * c**2)])
    df = len(x) - 3
    half = float("nan")
    if df > 0:
        variance = float(np.sum((y - design @ coefficients) ** 2)) / df
        error = np.sqrt(slope @ np.linalg.inv(design.T @ design) @ slope * variance)
        half = float(special.stdtrit(df, 0.975) * error * width)
    bottom = float(coefficients @ np.array([1.0, lowest, lowest**2]))
    inside = bool(np.min(t) < lowest < np.max(t))
    return float(middle + width * lowest), half, bottom, float(2 * c / width**2), inside


def _budgets(C: np.ndarray, tolerance: float) -> np.ndarray:
    """The number of every row's budget."""
    out = np.zeros(len(C), int)
    order = np.argsort(C, kind="stable")
    first = last = C[order[0]]
    current = 0
    for i in order:
        if C[i] > last * (1 + tolerance) or C[i] > first * (1 + 2 * tolerance):
            current += 1
            first = C[i]
        out[i], last = current, C[i]
    return out


def _columns(data: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, np.ndarray]:
    out = {}
    for name in (*names, *(["C"] if "C" in data else [])):
        if name not in data:
            raise ValueError(f"column {name!r} is missing; the data have {list(data)}")
        values = np.asarray(data[name], dtype=np.float64)
        good = np.isfinite(values) & (values > 0)
        if values.ndim != 1 or not np.all(good):
            found = f"shape {values.shape}" if values.ndim != 1 else f"{values[~good][0]}"
            raise ValueError(f"column {name!r} holds {found}; accepted are (points,), positive")
        out[name] = values
    if "C" not in out:
        out["C"] = FLOPS_PER_PARAMETER_TOKEN * out["N"] * out["D"]
    return out
