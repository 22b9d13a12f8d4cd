"""Which runs to do next: those that most shrink the interval of a target, for a budget.

Linearize the law at the fit in relative parameters, theta_p = theta_p (1 + e_p). With
j(x) = d log f(x) / de, runs of standard deviation s in log y have the information

    M = sum_i w_i j(x_i) j(x_i)' / s^2,

a run more at x adds j(x) j(x)' / s^2, and the variance of a target's logarithm with gradient g is
g' M^-1 g (c-optimality). Runs are chosen under a budget by several greedy passes, each improved
by exchanges: one run is dropped and the room refilled, for as long as that helps.

A loss that is not least squares uses the data less well. Under normal noise the variance of a Huber
fit is larger by

    E psi^2 / (E psi')^2 = (P - 2 k phi(k) + 2 k^2 Phi(-k)) / P^2,   k = delta / s,
    P = 1 - 2 Phi(-k),

which is 1 at k = infinity and pi/2 at k = 0 (L1). That factor is part of the widths here.

Reference: Elfving (1952); Pukelsheim (1993), chapter 2; Fedorov (1972), section 3 on exchanges;
Huber (1964), section 4, on the factor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from theory.scaling import losses
from theory.scaling.columns import read_inputs
from theory.scaling.compute_optimal import FLOPS_PER_PARAMETER_TOKEN
from theory.scaling.form import RESERVED_COLUMNS
from theory.scaling.result import Fit

STEP = 1e-5  # of a relative parameter, in central differences
SINGULAR = 1e-6  # a singular value below this share of the largest is none
RIDGE = 1e-6  # the same, while runs are being chosen
LEAST_GAIN = 0.01  # without a number of runs, one that shrinks the interval by less is not added
SIZED = {"N", "D", "C", "M"}  # columns that follow from N and D
SPAN = 1e8  # how far from the fitted sizes a best size is sought, as a factor


class Plan(NamedTuple):
    """The chosen runs, in the order in which to do them, and what each is worth."""

    rows: tuple[int, ...]  # of the candidates
    cost: Float[np.ndarray, "chosen"]  # of each, in the unit of the budget
    value: float  # of the target by the fit
    half_width_before: float  # of the interval of log target, with the runs at hand
    half_width_after: Float[np.ndarray, "chosen"]  # with this run and those before it
    level: float  # of the interval
    fixed: tuple[str, ...]  # parameters at zero, which have no relative change: taken as known


def next_runs(
    fit: Fit,
    *,
    target: Mapping[str, float],
    candidates: Mapping[str, Any],
    cost: Any,
    budget: float,
    noise: float,
    runs: int | None = None,
    of: Literal["value", "size"] = "value",
    level: float = 0.95,
) -> Plan:
    """Choose runs that most shrink the interval of a target.

    Args:
      fit: the law as it is known now. Rows that share a label in its column "run" count together as
        one run, since their noise is shared.
      target: a value for every column of the law, such as {"N": 1e9, "D": 2e10}; or, for a law of N
        and D (or of C and M, which follow from them), a budget {"C": 1e21} in FLOPs with its other
        columns: the best split of C = 6 N D there.
      candidates: column -> (candidates,) values; each may be chosen once, so list a point twice to
        allow two runs there.
      cost: (candidates,) of each, positive, such as FLOPs.
      budget: what the chosen runs may cost together.
      noise: standard deviation of log y of one run about the law.
      runs: at most so many runs; None adds runs for as long as one shrinks the interval by 1%.
      of: "value" for the law's value at the target, "size" for the best N at a budget.
      level: of the interval, whose half-width is z sqrt(g' M^-1 g) in log units.

    Returns:
      A `Plan`. A half-width is infinite where the runs cannot determine the target.

    Raises:
      ValueError: a column is missing or unknown, a number is out of range, or no candidate is
        within the budget.

    Reference: Pukelsheim (1993), section 2.
    """
    columns, price = _read(fit, candidates, cost)
    for name, value in (("budget", budget), ("noise", noise)):
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name} = {value!r}; accepted are positive finite numbers")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level = {level}; accepted are numbers between 0 and 1")
    if runs is not None and (isinstance(runs, bool) or runs != int(runs) or runs < 1):
        raise ValueError(f"runs = {runs!r}; accepted are whole numbers from 1, or None")
    if not np.any(price <= budget):
        raise ValueError(
            f"budget = {budget:g}: no candidate is within it; the cheapest costs {price.min():g}"
        )
    point, gradient = _target(fit, target, of)
    scale = noise * np.sqrt(loss_inflation(fit.loss, fit.delta, noise))
    rows = np.sqrt(_weights(fit))[:, None] * sensitivity(fit, fit.data)
    extra = sensitivity(fit, columns)

    chosen = _choose(rows, extra, gradient, price, float(budget), runs)
    chosen = _in_order(rows, extra, gradient, price, chosen)
    z = _normal_quantile(0.5 + level / 2)
    widths = [
        float(z * scale * np.sqrt(_variance(np.vstack([rows, extra[chosen[:k]]]), gradient)))
        for k in range(len(chosen) + 1)
    ]
    value = point["N"] if of == "size" else float(fit.predict(point))
    fixed = tuple(name for name in fit.law.params if fit.params[name] == 0)
    return Plan(
        rows=tuple(chosen),
        cost=price[chosen],
        value=float(value),
        half_width_before=widths[0],
        half_width_after=np.array(widths[1:]),
        level=level,
        fixed=fixed,
    )


def sensitivity(fit: Fit, data: Mapping[str, Any]) -> Float[np.ndarray, "points params"]:
    """d log f / de at each point, with e the relative change of a parameter; 0 for one at zero."""
    inputs = read_inputs(fit.law, {n: v for n, v in data.items() if n not in RESERVED_COLUMNS})
    columns = {name: np.ravel(value) for name, value in inputs.items()}
    slopes = []
    for name in fit.law.params:
        up, down = (
            np.log(fit.law.predict({**fit.params, name: fit.params[name] * np.exp(h)}, columns))
            for h in (STEP, -STEP)
        )
        size = max(len(v) for v in columns.values())
        slopes.append(np.broadcast_to((up - down) / (2 * STEP), (size,)))
    return np.stack(slopes, axis=-1)


def loss_inflation(loss: str, delta: float | None, noise: float) -> float:
    """Variance of a fit over that of least squares, under normal noise of log y.

    Args:
      loss: "huber", "squared" or "l1".
      delta: of the Huber loss.
      noise: standard deviation of log y.

    Returns:
      From 1 (squared) to pi/2 (l1).

    Reference: Huber (1964), section 4.
    """
    from scipy import special

    k = losses.resolve(loss, 1.0 if delta is None else delta).delta / noise
    if np.isinf(k):
        return 1.0
    tail = float(special.ndtr(-k))
    inside = float(special.erf(k / np.sqrt(2)))
    density = float(np.exp(-0.5 * k**2) / np.sqrt(2 * np.pi))
    if k < 1e-3:  # the numerator cancels: k^2 (1 + ...) over inside^2
        return float((2 * k**2 * tail + np.sqrt(2 / np.pi) * k**3 / 3) / inside**2)
    return (inside - 2 * k * density + 2 * k**2 * tail) / inside**2


def best_size(
    fit: Fit, C: float, others: Mapping[str, float] | None = None
) -> tuple[float, Float[np.ndarray, "params"]]:
    """The size N that minimizes the law at C = 6 N D, and d log N / de.

    The minimum is sought on a grid of log N around the fitted sizes that is refined about its best
    node; its derivative is that of the stationary point, -F_xe / F_xx with
    F(x, e) = log f(N = e^x, D = C / (6 e^x)).

    Args:
      fit: a law of N and D, or of C = 6 N D and M = D / N.
      C: FLOPs.
      others: values of the law's other columns.

    Raises:
      ValueError: the law falls to the end of the search on one side, so no size is best.
    """
    known = fit.data
    sizes = known["N"] if "N" in known else np.sqrt(known["C"] / known["M"] / 6.0)
    around = np.log(np.asarray(sizes, np.float64))
    low, high = around.min() - np.log(SPAN), around.max() + np.log(SPAN)

    def at(x: np.ndarray) -> dict[str, Any]:
        N = np.exp(x)
        D = C / (FLOPS_PER_PARAMETER_TOKEN * N)
        return {**{n: np.full_like(x, v) for n, v in (others or {}).items()}, "N": N, "D": D}

    def F(x: np.ndarray) -> np.ndarray:
        return np.log(fit.predict(at(x)))

    first, last = low, high
    for _ in range(7):
        grid = np.linspace(low, high, 201)
        best = int(np.argmin(F(grid)))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, 200)]
    x, h = 0.5 * (low + high), 1e-3
    if min(x - first, last - x) < 0.1:
        raise ValueError(f"no size is best at C = {C:g}: the law has no minimum along C = 6 N D")
    below, here, above = F(np.array([x - h, x, x + h]))
    curvature = (above - 2 * here + below) / h**2
    slopes = sensitivity(fit, at(np.array([x - h, x + h])))
    if not curvature > 0:
        raise ValueError(f"no size is best at C = {C:g}: the law is flat along C = 6 N D")
    x -= (above - below) / (2 * h) / curvature
    return float(np.exp(x)), -(slopes[1] - slopes[0]) / (2 * h) / curvature


def _read(
    fit: Fit, candidates: Mapping[str, Any], cost: Any
) -> tuple[dict[str, np.ndarray], Float[np.ndarray, "candidates"]]:
    columns = {name: np.ravel(x) for name, x in read_inputs(fit.law, candidates).items()}
    size = len(next(iter(columns.values())))
    price = np.asarray(cost, dtype=np.float64)
    if price.shape != (size,):
        raise ValueError(f"cost has shape {price.shape}; there are {size} candidates")
    if not np.all(np.isfinite(price) & (price > 0)):
        raise ValueError("cost holds a value that is not finite and positive")
    return columns, price


def _target(
    fit: Fit, target: Mapping[str, float], of: str
) -> tuple[dict[str, float], Float[np.ndarray, "params"]]:
    """The point that is meant, and the gradient of the logarithm of what is asked of it."""
    if of not in ("value", "size"):
        raise ValueError(f"of = {of!r}; accepted are 'value' and 'size'")
    names = set(fit.law.columns)
    free = names - SIZED
    split = {"N", "D"} <= names or {"C", "M"} <= names
    if set(target) == names or (split and set(target) == free | {"N", "D"}):
        if of == "size":
            raise ValueError("of = 'size' needs a target with C; accepted is {'C': FLOPs}")
        point = {name: float(value) for name, value in target.items()}
        return point, sensitivity(fit, point)[0]
    if split and set(target) == free | {"C"}:
        for name, value in target.items():
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"target {name} = {value!r}; accepted are positive numbers")
        C = float(target["C"])
        others = {name: float(value) for name, value in target.items() if name != "C"}
        N, slope = best_size(fit, C, others)
        point = {**others, "N": N, "D": C / (FLOPS_PER_PARAMETER_TOKEN * N)}
        return point, slope if of == "size" else sensitivity(fit, point)[0]
    accepted = " and ".join(fit.law.columns)
    if split:
        accepted += ", or C" + "".join(f" and {name}" for name in sorted(free))
    raise ValueError(f"target has {sorted(target)}; accepted are {accepted}")


def _weights(fit: Fit) -> Float[np.ndarray, "points"]:
    """Weights of the rows at hand; the rows of one run share the weight of one."""
    weight = np.asarray(fit.data["weight"], np.float64)
    if "run" not in fit.data:
        return weight
    _, group = np.unique(fit.data["run"][weight > 0], return_inverse=True)
    out = np.zeros_like(weight)
    out[weight > 0] = weight[weight > 0] / np.bincount(group)[group]
    return out


def _normal_quantile(p: float) -> float:
    from scipy import special

    return float(special.ndtri(p))


def _variance(rows: Float[np.ndarray, "rows params"], g: Float[np.ndarray, "params"]) -> float:
    """g' (rows' rows)^-1 g; infinite where the rows leave g undetermined."""
    size = np.linalg.norm(rows, axis=0)
    unit = np.where(size > 0, size, 1.0)
    _, values, vectors = np.linalg.svd(rows / unit, full_matrices=True)
    values = np.concatenate([values, np.zeros(rows.shape[1] - len(values))])
    along = vectors @ (g / unit)
    known = values > SINGULAR * values[0]
    if np.any(np.abs(along[~known]) > SINGULAR * np.linalg.norm(along)):
        return float("inf")
    return float(np.sum((along[known] / values[known]) ** 2))


def _inverse(rows: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """(rows' rows)^-1 in parameters scaled by unit, with a ridge for what is undetermined."""
    _, values, vectors = np.linalg.svd(rows / unit, full_matrices=True)
    values = np.concatenate([values, np.zeros(rows.shape[1] - len(values))])
    damped = values**2 + (RIDGE * values[0]) ** 2
    return (vectors.T / damped) @ vectors


def _choose(
    rows: np.ndarray,
    extra: np.ndarray,
    g: np.ndarray,
    price: np.ndarray,
    budget: float,
    runs: int | None,
) -> list[int]:
    """The best of the greedy passes, improved by exchanges."""
    both = np.vstack([rows, extra])
    size = np.linalg.norm(both, axis=0)
    unit = np.where(size > 0, size, 1.0)
    scaled, direction = extra / unit, g / unit
    most = len(price) if runs is None else int(runs)

    def value(chosen: Sequence[int]) -> float:
        inverse = _inverse(np.vstack([rows, extra[list(chosen)]]), unit)
        return float(direction @ inverse @ direction)

    def fill(chosen: list[int], power: float) -> list[int]:
        """Add runs by reduction of the variance per cost^power while there is room."""
        chosen = list(chosen)
        inverse = _inverse(np.vstack([rows, extra[chosen]]), unit)
        left = budget - float(np.sum(price[chosen]))
        while len(chosen) < most:
            toward = scaled @ inverse
            reach = toward @ direction
            gain = reach**2 / (1.0 + np.sum(toward * scaled, axis=1))
            now = float(direction @ inverse @ direction)
            least = 0.0 if runs is not None else (1 - (1 - LEAST_GAIN) ** 2) * now
            free = (price <= left) & (gain > least)
            free[chosen] = False
            if not np.any(free):
                break
            best = int(np.argmax(np.where(free, gain / price**power, -np.inf)))
            chosen.append(best)
            left -= price[best]
            step = toward[best]
            inverse = inverse - np.outer(step, step) / (1.0 + step @ scaled[best])
        return chosen

    def improved(chosen: list[int]) -> tuple[float, list[int]]:
        best = value(chosen)
        searching = bool(chosen)
        while searching:
            searching = False
            for drop in list(chosen):
                kept = [i for i in chosen if i != drop]
                trials = [fill(kept, power) for power in (0.0, 0.5, 1.0)]
                values = [value(trial) for trial in trials]
                at = int(np.argmin(values))
                if values[at] < best * (1 - 1e-9):
                    best, chosen, searching = values[at], trials[at], True
                    break
        return best, chosen

    ends = [improved(fill([], power)) for power in (0.0, 0.5, 1.0)]
    return min(ends, key=lambda end: end[0])[1]


def _in_order(
    rows: np.ndarray, extra: np.ndarray, g: np.ndarray, price: np.ndarray, chosen: list[int]
) -> list[int]:
    """The chosen runs by what each takes off the variance per cost, best first."""
    left, order = sorted(chosen), list[int]()
    unit = np.linalg.norm(np.vstack([rows, extra]), axis=0)
    unit = np.where(unit > 0, unit, 1.0)
    while left:
        inverse = _inverse(np.vstack([rows, extra[order]]), unit)
        toward = (extra[left] / unit) @ inverse
        reach = toward @ (g / unit)
        gain = reach**2 / (1.0 + np.sum(toward * (extra[left] / unit), axis=1))
        order.append(left.pop(int(np.argmax(gain / price[left]))))
    return order
