"""Kernel regression on drawn training sets, the limit of training, and intervals of exponents."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import linalg, stats

from theory.spectra import slope_weights

JITTER = 1e-10  # of the mean variance, where there is no ridge


class Descent(NamedTuple):
    """How networks are trained: full batch, heavy ball.

    Attributes:
      steps: at most.
      momentum: beta in v <- beta v - rate gradient.
      stop: no further step once the loss is at or below this share of the first.
      rate: times 1/(largest eigenvalue of the limit's NTK over n).
    """

    steps: int
    momentum: float = 0.95
    stop: float = 0.05
    rate: float = 0.1


def regress(K: np.ndarray, y: np.ndarray, cross: np.ndarray, ridge: float) -> np.ndarray:
    """Predictions at test points, (test, columns)."""
    K = K + max(ridge, JITTER) * np.eye(len(K))
    return cross @ linalg.solve(K, y, assume_a="pos", overwrite_a=True, check_finite=False)


def descend(K: np.ndarray, y: np.ndarray, cross: np.ndarray, how: Descent) -> dict[str, Any]:
    """What training does to an infinitely wide network whose NTK is K: predictions and steps.

    Heavy ball on f = y along every eigenvector of K, with the step that networks take; exact, since
    the kernel does not move.
    """
    values, vectors = linalg.eigh(K)
    values = np.maximum(values, JITTER)
    start = vectors.T @ y
    left, speed = np.ones(len(K)), np.zeros(len(K))
    first, steps = float((start**2).sum()), 0
    while steps < how.steps:
        steps += 1
        loss = float(((left[:, None] * start) ** 2).sum())
        speed = how.momentum * speed - how.rate * values / values[-1] * left
        left = left + speed
        if loss <= how.stop * first:
            break
    weights = vectors @ (((1 - left) / values)[:, None] * start)
    loss = float(((left[:, None] * start) ** 2).sum()) / first
    return {"predictions": cross @ weights, "steps": steps, "loss": loss}


class Errors:
    """Squared errors of draws on common test points, at several n: levels, slopes, intervals.

    A mean over S draws and T test points varies with both. With e the error of a draw at a point,

        Var[mean] = Var_draws[mean over points]/S + Var_points[mean over draws]/T

    and for the exponent, -sum_n w_n log mean_n (`slope_weights`), to first order, the same of
    sum_n w_n e_n / mean_n. Intervals are Student's t with Satterthwaite's degrees of freedom, in
    the log for levels. Training sets of different draws must be disjoint.
    """

    def __init__(self, n: list[int], squared: np.ndarray) -> None:
        """squared: (n, draws, test)."""
        self.n, self.squared = list(n), squared
        self.by_draw = squared.mean(2)  # (n, draws)
        self.mean = self.by_draw.mean(1)

    def record(self) -> dict[str, Any]:
        """Plain values: levels with intervals, exponents by draw and of the mean, its interval."""
        relative = self.squared / self.mean[:, None, None]
        levels = [_interval(each) for each in relative]
        low = [float(m * np.exp(-half)) for m, (half, _) in zip(self.mean, levels, strict=True)]
        high = [float(m * np.exp(half)) for m, (half, _) in zip(self.mean, levels, strict=True)]
        found = {
            "n": self.n,
            "error": self.mean.tolist(),
            "low": low,
            "high": high,
            "standard_error": [float(m * s) for m, (_, s) in zip(self.mean, levels, strict=True)],
            "by_draw": self.by_draw.tolist(),
        }
        if len(self.n) > 1:
            found["exponent"] = self.exponent(self.n)
        return found

    def exponent(self, over: list[int]) -> dict[str, float]:
        """Exponent over some of the n: value, low, high, standard error."""
        places = [self.n.index(n) for n in over]
        w = slope_weights(np.array(over))
        value = -float(w @ np.log(self.mean[places]))
        parts = self.squared[places] / self.mean[places, None, None]
        half, error = _interval(np.einsum("n,nst->st", w, parts))
        return {"value": value, "low": value - half, "high": value + half, "standard_error": error}


def _interval(values: np.ndarray) -> tuple[float, float]:
    """(half width of the 95% interval, standard error) of the mean of (draws, test) values."""
    draws, test = values.shape
    over_draws = values.mean(1).var(ddof=1) / draws if draws > 1 else 0.0
    over_points = values.mean(0).var(ddof=1) / test
    total = over_draws + over_points
    if total == 0:
        return 0.0, 0.0
    freedom = total**2 / (over_draws**2 / max(draws - 1, 1) + over_points**2 / (test - 1))
    return float(stats.t.ppf(0.975, freedom) * np.sqrt(total)), float(np.sqrt(total))


class Draw(NamedTuple):
    """One training set's kernels, for one kernel name."""

    own: np.ndarray  # (n_max, n_max)
    cross: np.ndarray  # (test, n_max)
    y: np.ndarray  # (n_max, 10)


def measured(draws: list[Draw], y_test: np.ndarray, n: list[int], ridge: float) -> dict[str, Any]:
    """Kernel regression at each n: the mean error over all disjoint parts of n of every draw."""
    squared = np.zeros((len(n), len(draws), len(y_test)))
    for i, count in enumerate(n):
        for j, draw in enumerate(draws):
            parts = len(draw.y) // count
            for start in range(0, parts * count, count):
                part = slice(start, start + count)
                f = regress(draw.own[part, part], draw.y[part], draw.cross[:, part], ridge)
                squared[i, j] += ((f - y_test) ** 2).sum(1) / parts
    return Errors(n, squared).record()


def drawn(
    K: np.ndarray, y: np.ndarray, n: list[int], ridge: float, seed: int, draws: int = 60
) -> dict[str, Any]:
    """Kernel regression on random n of K's own points, tested on all others: level and exponent.

    This is what the equations of a curve speak of once K's points are the whole population, so
    that it shows their error alone. Standard errors are over draws.
    """
    rng, M = np.random.default_rng(seed), len(K)
    found = np.empty((len(n), draws))
    for i, count in enumerate(n):
        for j in range(draws):
            order = rng.permutation(M)
            own, rest = order[:count], order[count:]
            f = regress(K[np.ix_(own, own)], y[own], K[np.ix_(rest, own)], ridge)
            found[i, j] = ((f - y[rest]) ** 2).sum(1).mean()
    mean, w = found.mean(1), slope_weights(np.array(n))
    error = found.std(1, ddof=1) / draws**0.5
    return {
        "n": list(n),
        "error": mean.tolist(),
        "standard_error": error.tolist(),
        "exponent": {
            "value": -float(w @ np.log(mean)),
            "standard_error": float(np.linalg.norm(w * error / mean)),
        },
    }


def trained_limit(
    draws: list[Draw], y_test: np.ndarray, n: list[int], how: Descent
) -> dict[str, Any]:
    """The limit of training at each n, and the largest eigenvalue of every Gram matrix over n."""
    squared = np.empty((len(n), len(draws), len(y_test)))
    tops, steps, losses = (np.empty((len(n), len(draws))) for _ in range(3))
    for i, count in enumerate(n):
        for j, draw in enumerate(draws):
            K = draw.own[:count, :count]
            found = descend(K, draw.y[:count], draw.cross[:, :count], how)
            squared[i, j] = ((found["predictions"] - y_test) ** 2).sum(1)
            steps[i, j], losses[i, j] = found["steps"], found["loss"]
            tops[i, j] = linalg.eigvalsh(K)[-1] / count
    record = Errors(n, squared).record()
    return record | {"top": tops.tolist(), "steps": steps.tolist(), "loss": losses.tolist()}
