"""How far a fit may be from the truth, to first order: the covariance of an M-estimator.

With J the Jacobian of log f, W the weights, psi the derivative of the loss:

    V = (B / A^2) (J' W J)^-1,  A = mean psi',  B = sum w psi^2 / (n - p),

which for squared residuals is s^2 (J' W J)^-1. For a loss with kinks psi' is a difference quotient
over the spread of the residuals, since a derivative at the points alone would see few or none of
them. Where rows belong to runs, B (J' W J) becomes sum_g s_g s_g' G / (G - 1), with s_g the sum of
w psi J over a run: rows of one run need not be independent.

Parameters at the end of their range are held there.

Reference: Huber (1981), section 7.6; Liang and Zeger (1986) for runs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from theory.scaling.losses import Shape, pull
from theory.scaling.problem import Problem, linearize

RIDGE = 1e-13  # of the scaled information: keeps a direction without information finite


class Spread(NamedTuple):
    """First-order uncertainty in the units of the solver."""

    covariance: Float[np.ndarray, "params params"]  # zero rows for parameters held at their ends
    information: Float[np.ndarray, "params params"]  # A J'WJ, the smoothed Hessian of F
    inverse: Float[np.ndarray, "params params"]  # of it, on the parameters that are free
    df: int  # degrees of freedom
    condition: float  # of the information, columns scaled to unit length


def spread(
    problem: Problem,
    theta: Float[np.ndarray, "params"],
    shape: Shape,
    groups: Int[np.ndarray, "points"] | None = None,
) -> Spread:
    """Covariance of the fitted parameters.

    Args:
      problem: the data; the first rows are the points, the others padding.
      theta: the minimum.
      shape: of the loss.
      groups: of each point, the number of its run; None where rows are independent.
    """
    residual, slope = linearize(problem, theta)
    seen = problem.weights > 0
    r, J, w = residual[seen], slope[seen], problem.weights[seen]
    free = (theta > problem.low) & (theta < problem.high)
    count = int(np.sum(free))
    A = _mean_slope(r, w, shape)
    gram = A * (J * w[:, None]).T @ J
    size = np.sqrt(np.maximum(np.diag(gram), 1e-300))
    both = np.outer(free, free)
    scaled = np.where(both, gram / size[:, None] / size, 0.0)
    ridged = np.where(np.eye(len(theta), dtype=bool), np.where(free, 1.0 + RIDGE, 1.0), scaled)
    values = np.linalg.eigvalsh(ridged[np.ix_(free, free)]) if count else np.ones(1)
    inverse = np.linalg.pinv(ridged, rcond=1e-15, hermitian=True) / size[:, None] / size
    inverse = np.where(both, inverse, 0.0)
    push = pull(r, shape)
    if groups is None:
        df = max(1, len(r) - count)
        B = float(np.sum(w * push**2)) / df
        covariance = inverse * (B / A)
    else:
        labels, index = np.unique(np.asarray(groups)[seen[: len(groups)]], return_inverse=True)
        score = np.zeros((len(labels), len(theta)))
        np.add.at(score, index, (w * push)[:, None] * J)
        df = max(1, len(labels) - 1)
        covariance = inverse @ (score.T @ score) @ inverse * (len(labels) / df)
    condition = float(np.sqrt(values[-1] / max(values[0], RIDGE)))
    return Spread(covariance, gram, inverse, df, condition)


def _mean_slope(r: np.ndarray, w: np.ndarray, shape: Shape) -> float:
    """Weighted mean of psi', smoothed over the spread of the residuals."""
    spread_of = np.sqrt(np.sum(w * r**2) / np.sum(w))
    robust = np.median(np.abs(r - np.median(r))) / 0.6745
    width = 1.06 * min(spread_of, robust or spread_of) * len(r) ** -0.2
    if not width > 0:
        return 1.0
    if not np.isfinite(np.asarray(shape.delta)):
        return float(np.sum(w * 2 * np.where(r > 0, shape.tau, 1 - np.asarray(shape.tau)))
                     / np.sum(w))  # fmt: skip
    change = (pull(r + width, shape) - pull(r - width, shape)) / (2 * width)
    return float(np.sum(w * change) / np.sum(w))
