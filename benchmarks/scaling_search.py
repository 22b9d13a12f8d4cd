"""The minimum of a chinchilla fit sought the long way: every start of a grid, each to its own end.

Question: what is the lowest minimum that 4500 starts reach? (No program of its own: it serves
    `scaling_fit`.)
Command: `python -m benchmarks.scaling_fit`
Time: see there.
Expected result: values that no fit is above.

The starts are the grid of Besiroglu et al. (2024), after Hoffmann et al. (2022). Two optimisers
take them down: our Newton iteration without screen, hops or warm start, and scipy's L-BFGS-B with
an analytic gradient. For the sum of |r|, which has kinks at its minima, Newton goes down a Huber
loss of a delta well below the noise and its best ends are finished by sequential linear programs
(scipy's HiGHS), which share nothing with the path of minima that the fit follows.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize, sparse

from theory import scaling
from theory.scaling import descent, losses, problem
from theory.scaling.precision import float64_on_host

STARTS = 4500
L1_DELTA = 0.03  # of the mean |r|: where Newton leaves a search of the sum of |r|
L1_FINISHED = 12  # distinct ends that linear programs finish
LINEAR_PROGRAMS = 60  # at most, an end
PARAMS = ("E", "A", "B", "alpha", "beta")


def grid(count: int = STARTS) -> np.ndarray:
    """`count` of the 4500 starts (alpha, beta, log E, log A, log B), evenly spaced in order."""
    nodes = itertools.product(
        np.arange(0, 2.5, 0.5),  # alpha
        np.arange(0, 2.5, 0.5),  # beta
        np.arange(-1, 1.5, 0.5),  # log E
        np.arange(0, 30, 5),  # log A
        np.arange(0, 30, 5),  # log B
    )
    starts = np.array(list(nodes))
    return starts[np.linspace(0, len(starts) - 1, count).astype(int)]


def objective(
    params: Mapping[str, Any], data: Mapping[str, Any], kind: str, delta: float
) -> np.ndarray:
    """Weighted sum of the loss of log residuals, written out; params may be arrays (sets,)."""
    E, A, B, alpha, beta = (np.asarray(params[name], float)[..., None] for name in PARAMS)
    law = E + A * data["N"] ** -alpha + B * data["D"] ** -beta
    size = np.abs(np.log(data["loss"]) - np.log(law))
    rho = {
        "huber": np.where(size <= delta, size**2 / 2, delta * (size - delta / 2)),
        "squared": size**2 / 2,
        "l1": size,
    }[kind]
    return np.sum(np.asarray(data.get("weight", 1.0)) * rho, axis=-1)


class Search(NamedTuple):
    """Where the starts ended."""

    values: np.ndarray  # objective of every start, (starts,)
    best: dict[str, float]  # parameters of the lowest
    settled: float  # share of the starts that ended at a minimum


def newton(data: Mapping[str, np.ndarray], kind: str, delta: float, count: int = STARTS) -> Search:
    """Newton's method from every start of the grid, for one set of data (and weights)."""
    law = scaling.forms["chinchilla"]
    columns = {name: np.asarray(data[name], float) for name in law.columns}
    rows = len(data["loss"])
    weight = np.asarray(data.get("weight", np.ones(rows)), float)
    starts = grid(count)
    with float64_on_host():
        task = problem.build(law, columns, np.asarray(data["loss"], float), weight)
        exponents = starts[:, :2]
        logs = starts[:, 2:] - task.v_mean  # of the coefficients of centred logarithms
        logs[:, 1:] -= exponents * task.u_mean
        theta = np.concatenate([np.exp(logs), exponents], axis=1)
        theta = np.clip(theta, task.low, task.high)[None]
        width = delta if kind == "huber" else np.inf
        ends = descent.descend(task, losses.Shape(width), task.weights[None], theta)
        if kind == "l1":
            best = ends.theta[0, np.argmin(ends.value[0])]
            scale = float(
                np.average(np.abs(problem.linearize(task, best)[0]), weights=task.weights)
            )
            shape = losses.Shape(L1_DELTA * scale)
            ends = descent.descend(task, shape, task.weights[None], theta)
        found = ends.theta[0]
        if kind == "l1":
            found = np.concatenate([found, _finish(task, found, ends.value[0])])
        named: dict[str, Any] = dict(
            zip(PARAMS, problem.to_user_units(law, task, found).T, strict=True)
        )
    with np.errstate(all="ignore"):
        values = objective(named, data, kind, delta)
    values = np.where(np.isfinite(values), values, np.inf)
    lowest = int(np.argmin(values))
    return Search(
        values,
        {name: float(values[lowest]) for name, values in named.items()},
        float(np.mean(ends.done)),
    )


def _finish(task: problem.Problem, theta: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The best distinct ends, each taken to a minimum of the sum of |r|."""
    chosen: list[int] = []
    for i in np.argsort(values):
        if all(abs(values[i] / values[j] - 1) > 1e-9 for j in chosen):
            chosen.append(int(i))
        if len(chosen) == L1_FINISHED:
            break
    return np.array([_programs(task, theta[i]) for i in chosen])


def _programs(task: problem.Problem, theta: np.ndarray) -> np.ndarray:
    """min sum w |r - J s| over steps s in a trust region, again and again."""
    weight = task.weights
    seen = weight > 0

    def residual(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        r, J = problem.linearize(task, at)
        return r[seen], J[seen]

    radius, w = 0.05, weight[seen]
    r, J = residual(theta)
    value = float(w @ np.abs(r))
    eye = sparse.identity(len(r), format="csr")
    for _ in range(LINEAR_PROGRAMS):
        reach = radius / np.maximum(np.linalg.norm(J, axis=0), 1e-12)
        matrix = sparse.hstack([sparse.csr_matrix(J), eye, -eye])
        spans = [
            (max(-a, low - t), min(a, high - t))
            for a, t, low, high in zip(reach, theta, task.low, task.high, strict=True)
        ]
        cost = np.concatenate([np.zeros(len(theta)), w, w])
        bounds = spans + [(0.0, None)] * (2 * len(r))
        solved = optimize.linprog(cost, A_eq=matrix, b_eq=r, bounds=bounds, method="highs-ds")
        if solved.x is None or value - solved.fun <= 1e-15 * value:
            break
        trial = np.clip(theta + solved.x[: len(theta)], task.low, task.high)
        r_new, J_new = residual(trial)
        new = float(w @ np.abs(r_new))
        if new < value:
            if value - new > 0.7 * (value - solved.fun):
                radius *= 3.0
            theta, r, J, value = trial, r_new, J_new, new
        else:
            radius *= 0.25
    return theta


def lbfgsb(
    data: Mapping[str, np.ndarray], starts: np.ndarray, options: Mapping[str, float], delta: float
) -> dict[str, Any]:
    """scipy's L-BFGS-B on the Huber loss from every start, in the units of the data.

    Returns:
      "wall" and "cpu" seconds a start, "values" and "ends", a row a start.
    """
    log_n, log_d, log_y = (np.log(data[name]) for name in ("N", "D", "loss"))
    weight = np.asarray(data.get("weight", np.ones_like(log_y)))

    def value_and_slope(theta: np.ndarray) -> tuple[float, np.ndarray]:
        alpha, beta, e, a, b = theta
        z = np.stack([np.full_like(log_y, e), a - alpha * log_n, b - beta * log_d])
        top = z.max(axis=0)
        share = np.exp(z - top)
        total = share.sum(axis=0)
        r = log_y - top - np.log(total)
        share /= total
        size = np.minimum(np.abs(r), delta)
        pull = -np.clip(r, -delta, delta) * weight
        slope = np.stack([-share[1] * log_n, -share[2] * log_d, *share])
        return float(np.sum(weight * size * (np.abs(r) - size / 2))), slope @ pull

    wall, cpu = time.perf_counter(), time.process_time()
    found = [
        optimize.minimize(value_and_slope, s, jac=True, method="L-BFGS-B", options=dict(options))
        for s in starts
    ]
    return {
        "wall": (time.perf_counter() - wall) / len(starts),
        "cpu": (time.process_time() - cpu) / len(starts),
        "values": np.array([end.fun for end in found]),
        "ends": np.array([end.x for end in found]),
    }
