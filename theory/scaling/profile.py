"""Profile likelihood: how far a quantity can move before the best fit becomes too bad.

For a quantity q (a parameter, a prediction) the profile is F(q) = min over theta with q(theta) = q
of the objective. The interval at a level is where

    F(q) - F_min <= T / 2,   T = t^2 V_q / h_q,

with t the quantile of Student's t at (1 + level)/2, V_q the variance of q to first order and h_q
that which the curvature of F would give it (`covariance`). For squared residuals V_q / h_q is s^2
and this is the likelihood-ratio interval of a Gaussian model with unknown variance; for a linear
law it is exact. For Huber's and the other losses, and for rows that belong to runs, the ratio
rescales F so that it has the right curvature (Heritier and Ronchetti, 1994).

Unlike an interval from the covariance, it does not suppose that q is Gaussian: it is not symmetric,
it does not depend on how the law is parametrised, and it is infinite where the data do not bound q.

A point of the profile is the minimum of F + k (q - aim)^2 / 2: it is the best fit among those with
its own q, for any aim. Aims are moved until the two sides reach the threshold.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from theory.scaling import descent
from theory.scaling.covariance import Spread
from theory.scaling.form import Form
from theory.scaling.general import Pull, Pulled
from theory.scaling.losses import Loss, Shape, objective
from theory.scaling.precision import float64_on_host
from theory.scaling.problem import Problem, linearize
from theory.scaling.quantities import Quantities

STIFF = 20.0  # of the pull, over the curvature of the profile
ROUNDS = 40
CLOSE = 2e-3  # of the root of F over its threshold, at which a side is found
UNKNOWN = 50.0  # standard error of a logarithm or exponent of which the data say nothing
FARTHEST = 1e3  # standard errors, or
FARTHEST_LOG = 80.0  # in the quantity itself, whichever is more: beyond, there is no bound


class Sides(NamedTuple):
    """Ends of the intervals, infinite where the data give none."""

    low: Float[np.ndarray, "quantities"]
    high: Float[np.ndarray, "quantities"]


def first_order(
    quantities: Quantities, theta: np.ndarray, constants: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Values of the quantities and their Jacobian."""
    with float64_on_host():
        value, slope = _first_order(quantities, jnp.asarray(theta), jnp.asarray(constants))
        return np.asarray(value), np.asarray(slope)


@partial(jax.jit, static_argnums=0)
def _first_order(quantities: Quantities, theta: Array, constants: Array) -> tuple[Array, Array]:
    return quantities(theta, constants), jax.jacfwd(quantities)(theta, constants)


@partial(jax.jit, static_argnums=0)
def _values(quantities: Quantities, theta: Array, constants: Array) -> Array:
    return jax.vmap(lambda t: quantities(t, constants))(theta)


def intervals(
    form: Form,
    problem: Problem,
    theta: Float[np.ndarray, "params"],
    shape: Shape,
    spread: Spread,
    quantities: Quantities,
    constants: Float[np.ndarray, "constants"],
    level: float,
    wanted: np.ndarray | None = None,
) -> Sides:
    """Both ends of the interval of every quantity (of those `wanted`, if given).

    Args:
      form: the law.
      problem: the data.
      theta: the minimum.
      shape: of the loss.
      spread: from `covariance.spread`.
      quantities, constants: from `quantities`.
      level: coverage, between 0 and 1.
    """
    from scipy import special  # slow to import

    value, slope = first_order(quantities, theta, constants)
    index = np.arange(len(value)) if wanted is None else np.asarray(wanted)
    variance = np.einsum("qp,pr,qr->q", slope, spread.covariance, slope)[index]
    bare = np.einsum("qp,pr,qr->q", slope, spread.inverse, slope)[index]
    known = np.isfinite(value[index]) & np.isfinite(variance) & (variance < UNKNOWN**2)
    ok = known & (variance > 0) & (bare > 0)
    low, high = np.full(len(index), -np.inf), np.full(len(index), np.inf)
    still = known & (variance == 0)  # held at an end, or exact data
    low[still], high[still] = value[index][still], value[index][still]
    if not np.any(ok):
        return Sides(low, high)
    quantile = float(special.stdtrit(spread.df, 0.5 * (1.0 + level)))
    at = np.flatnonzero(ok)
    which = np.repeat(index[at], 2)
    sign = np.tile([-1.0, 1.0], len(at))
    error = np.repeat(np.sqrt(variance[at]), 2)
    threshold = np.repeat(0.5 * quantile**2 * variance[at] / bare[at], 2)
    stiffness = STIFF / np.repeat(bare[at], 2)
    ends = _walk(
        form, problem, theta, shape, quantities, constants,
        value[which], which, sign, quantile * error, threshold, stiffness,
    )  # fmt: skip
    low[at], high[at] = ends[0::2], ends[1::2]
    return Sides(low, high)


def _walk(
    form, problem, theta, shape, quantities, constants, start, which, sign, step, threshold, stiff
) -> np.ndarray:
    """Where the profile of each quantity reaches its threshold on each side."""
    task = problem._replace(structure=Pulled(form.basis, quantities))
    count, total = len(which), len(first_order(quantities, theta, constants)[0])
    select = np.zeros((count, total))
    select[np.arange(count), which] = 1.0
    weights = np.broadcast_to(problem.weights, (count, problem.weights.size))
    bottom = _objective(problem, shape, theta)
    at = np.repeat(theta[None], count, axis=0)
    far = np.maximum(FARTHEST * step, FARTHEST_LOG)
    inner, inner_root = np.zeros(count), np.zeros(count)  # distances below the threshold, and
    outer, outer_root = np.full(count, np.inf), np.full(count, np.inf)  # beyond it
    distance = step * (1.0 + 1.0 / STIFF)  # the pull falls short by about that share
    out = np.full(count, np.nan)
    live = np.ones(count, bool)
    reached = np.zeros(count)  # farthest distance of q itself
    stuck = np.zeros(count, int)
    for _ in range(ROUNDS):
        index = np.flatnonzero(live)
        if not index.size:
            break
        aim = start[index] + sign[index] * distance[index]
        pull = Pull(select[index], aim, stiff[index], constants)
        ends = descent.descend(task, shape, weights[index], at[index, None], pull)
        solved = ends.theta[:, 0]
        with float64_on_host():
            q = np.asarray(_values(quantities, jnp.asarray(solved), jnp.asarray(constants)))
        q = q[np.arange(len(index)), which[index]]
        rise = ends.value[:, 0] - 0.5 * stiff[index] * (q - aim) ** 2 - bottom
        root = np.sqrt(np.maximum(rise, 0.0) / threshold[index])
        moved = sign[index] * (q - start[index])
        good = np.isfinite(root) & np.isfinite(moved)
        at[index[good]] = solved[good]
        for i, r, m, fine in zip(index, root, moved, good, strict=True):
            if not fine:  # too far: half way back to what was reached
                outer[i], outer_root[i] = distance[i], np.inf
                distance[i] = 0.5 * (inner[i] + distance[i])
                stuck[i] += 1
            elif abs(r - 1.0) < CLOSE:
                out[i], live[i] = m, False
                continue
            elif r < 1.0:
                stuck[i] = stuck[i] + 1 if m <= reached[i] * (1 + 1e-6) + 1e-12 else 0
                reached[i] = max(reached[i], m)
                inner[i], inner_root[i] = distance[i], r
                if np.isfinite(outer[i]):
                    distance[i] = _between(inner[i], inner_root[i], outer[i], outer_root[i])
                else:
                    distance[i] *= min(3.0, max(1.2, 1.02 / max(r, 1e-3)))
            else:
                outer[i], outer_root[i] = distance[i], r
                distance[i] = _between(inner[i], inner_root[i], outer[i], outer_root[i])
            if outer[i] - inner[i] < 1e-9 * outer[i]:  # a jump of the profile: what is below it
                out[i], live[i] = reached[i] if reached[i] > 0 else m, False
            elif distance[i] > far[i] or stuck[i] >= 6:
                out[i], live[i] = np.inf, False
    out[live] = reached[live]
    return start + sign * out


def _between(low: float, low_root: float, high: float, high_root: float) -> float:
    """The next distance: linear in the root, kept away from both ends."""
    if not np.isfinite(high_root):
        return 0.5 * (low + high)
    share = (1.0 - low_root) / (high_root - low_root)
    return low + float(np.clip(share, 0.03, 0.97)) * (high - low)


def _objective(problem: Problem, shape: Shape, theta: np.ndarray) -> float:
    residual = linearize(problem, theta)[0]
    return objective(residual, problem.weights, Loss("huber", float(shape.delta), float(shape.tau)))
