"""The global minimum of every replicate: grid, Newton, hops, and for l1 a path in delta.

1. The screen proposes the best nodes of a grid; Newton takes each to its local minimum.
2. Where delta is below the noise, the loss is nearly L1: it has kinks, and along its valley many
   local minima a fraction of a percent apart. From the best minimum, hops of the size of the
   statistical error, theta + size * noise * (J'WJ)^(-1/2) z, start Newton again. A replicate is
   left after `patience` rounds of hops that find nothing lower.
3. For l1 the first two steps run at a delta a little below the noise; then delta shrinks to 1e-11
   along the path of minima, which is piecewise linear there, with a first-order prediction at
   every step (Madsen and Nielsen, 1993, for the linear case).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from theory.scaling import descent, screen
from theory.scaling.form import Form
from theory.scaling.losses import Loss, Shape
from theory.scaling.problem import Problem, linearize

SCREEN_CHUNK = 128  # replicates a call of the screen
MOST_STARTS = 64  # nodes that the screen returns, of which the best few are used
HOP_ROUNDS = 12
HOP_SIZES = (0.1, 2.0)  # of the statistical error; drawn log-uniformly between
L1_FIRST = 0.03  # of the residual scale: the delta at which l1 is searched
L1_SHRINK = 0.1  # delta from stage to stage
L1_KEPT = 3  # minima of each replicate that follow the path


class Minima(NamedTuple):
    """The best minimum found for every replicate, in the units of the solver."""

    theta: Float[np.ndarray, "replicates params"]
    value: Float[np.ndarray, "replicates"]
    converged: Bool[np.ndarray, "replicates"]


class Starts(NamedTuple):
    """The grid and the robust weights of the full data on it, shared by all replicates."""

    nodes: screen.Nodes
    weights: Float[np.ndarray, "nodes rows"]
    constant: Float[np.ndarray, "nodes rows"]
    scale: float  # of the residuals of the full data


class Effort(NamedTuple):
    """How hard to search."""

    starts: int  # nodes of the grid
    hops: int  # a replicate and round
    patience: int  # rounds of hops without a lower minimum before a replicate is left


def prepare(form: Form, problem: Problem, loss: Loss) -> Starts:
    """Fit the full data robustly at every node of the grid. Call it in float64."""
    nodes = screen.nodes(form, problem)
    weights, constant, scale = screen.reweight(
        problem.structure, nodes.values, problem.u, problem.v, problem.weights, loss.shape
    )
    return Starts(nodes, np.asarray(weights), np.asarray(constant), float(scale))


def search(
    problem: Problem,
    loss: Loss,
    starts: Starts,
    weights: Float[np.ndarray, "replicates rows"],
    effort: Effort,
    rng: np.random.Generator,
    warm: Float[np.ndarray, "replicates warm params"] | None = None,
) -> Minima:
    """The lowest minimum found for every replicate. Call it in float64.

    Args:
      problem: the data.
      loss: what to minimize.
      starts: from `prepare`.
      weights: of the rows in every replicate.
      effort: how many starts and hops.
      rng: of the hops.
      warm: more starts of every replicate.
    """
    searched = max(loss.delta, L1_FIRST * starts.scale) if loss.name == "l1" else loss.delta
    theta = propose(problem, starts, weights, effort.starts)
    if warm is not None:
        theta = np.concatenate([theta, warm], axis=1)
    shape = Shape(searched, loss.tau)
    ends = descent.descend(problem, shape, weights, theta)
    if searched < starts.scale:
        ends = _hop(problem, shape, starts.scale, weights, ends, effort, rng)
    if loss.name == "l1":
        ends = _shrink(problem, searched, loss.delta, weights, ends)
    return _best(ends)


def propose(
    problem: Problem, starts: Starts, weights: Float[np.ndarray, "replicates rows"], count: int
) -> Float[np.ndarray, "replicates count params"]:
    """The best `count` nodes of the grid for every replicate. Call it in float64."""
    out = []
    for first in range(0, len(weights), SCREEN_CHUNK):
        m = weights[first : first + SCREEN_CHUNK]
        padded = np.concatenate([m, np.repeat(m[:1], SCREEN_CHUNK - len(m), axis=0)])
        chosen = screen.screen(
            problem.structure,
            starts.nodes.shape,
            starts.nodes.scattered,
            starts.nodes.values,
            problem.u,
            problem.v,
            padded,
            starts.weights,
            starts.constant,
            starts=min(MOST_STARTS, len(starts.nodes.values)),
        )
        out.append(np.asarray(chosen)[: len(m), :count])
    return np.concatenate(out)


def _best(ends: descent.Ends) -> Minima:
    rows, best = np.arange(len(ends.value)), np.argmin(ends.value, axis=1)
    return Minima(ends.theta[rows, best], ends.value[rows, best], ends.done[rows, best])


def _hop(
    problem: Problem,
    shape: Shape,
    noise: float,
    weights: np.ndarray,
    ends: descent.Ends,
    effort: Effort,
    rng: np.random.Generator,
) -> descent.Ends:
    """Restart around the best minimum of every replicate for as long as that finds a lower one."""
    active = np.arange(len(weights))
    failures = np.zeros(len(weights), int)  # hop rounds since the last improvement
    for _ in range(HOP_ROUNDS):
        best = _best(ends)
        jumps = _jumps(problem, best.theta[active], weights[active], noise, effort.hops, rng)
        found = descent.descend(problem, shape, weights[active], jumps)
        better = np.min(found.value, axis=1) < best.value[active] * (1 - 1e-9)
        # The worst known minimum of each replicate makes room for the best new one.
        worst, new = np.argmax(ends.value[active], axis=1), np.argmin(found.value, axis=1)
        at = np.flatnonzero(better)
        for known, fresh in zip(ends, found, strict=True):
            known[active[at], worst[at]] = fresh[at, new[at]]
        failures[active] += 1
        failures[active[at]] = 0
        active = active[failures[active] < effort.patience]
        if not active.size:
            break
    return ends


def _jumps(
    problem: Problem,
    theta: Float[np.ndarray, "replicates params"],
    weights: Float[np.ndarray, "replicates rows"],
    noise: float,
    hops: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, "replicates hops params"]:
    """Gaussian steps of the shape of the statistical error around theta, inside the box."""
    params = theta.shape[1]
    low, high = np.log(HOP_SIZES)
    out = np.empty((len(theta), hops, params))
    for first in range(0, len(theta), 256):  # the Jacobians of all replicates would be large
        part = slice(first, first + 256)
        _, slope = linearize(problem, theta[part])
        gram = np.einsum("rnp,rn,rnq->rpq", slope, weights[part], slope, optimize=True)
        size = np.sqrt(np.maximum(np.einsum("rpp->rp", gram), 1e-300))
        scaled = gram / size[:, :, None] / size[:, None] + 1e-8 * np.eye(params)
        root = np.linalg.cholesky(scaled)
        z = rng.standard_normal((len(scaled), params, hops))
        z *= noise * np.exp(rng.uniform(low, high, (len(scaled), 1, hops)))
        step = np.linalg.solve(np.swapaxes(root, 1, 2), z) / size[:, :, None]
        out[part] = theta[part, None] + np.swapaxes(step, 1, 2)
    return np.clip(out, problem.low, problem.high)


def _shrink(
    problem: Problem, delta: float, target: float, weights: np.ndarray, ends: descent.Ends
) -> descent.Ends:
    """Follow the best few minima of every replicate from delta down to target."""
    keep = np.argsort(ends.value, axis=1)[:, :L1_KEPT]
    theta = np.take_along_axis(ends.theta, keep[:, :, None], axis=1)
    hessian = np.take_along_axis(ends.hessian, keep[:, :, None], axis=1)
    while delta > target:
        factor = max(L1_SHRINK, target / delta)
        theta = _predict(problem, delta, factor, weights, theta, hessian)
        delta *= factor
        ends = descent.descend(problem, Shape(delta), weights, theta)
        theta, hessian = ends.theta, ends.hessian
    return ends


def _predict(
    problem: Problem,
    delta: float,
    factor: float,
    weights: Float[np.ndarray, "replicates rows"],
    theta: Float[np.ndarray, "replicates starts params"],
    hessian: Float[np.ndarray, "replicates starts entries"],
) -> Float[np.ndarray, "replicates starts params"]:
    """First-order minimum at factor * delta: H step = (1 - factor) sum over |r| <= delta of w r J.

    With the rows beyond delta fixed, g(delta) = -sum_in w r J - delta sum_out w sign(r) J = 0 gives
    dg/ddelta = -sum_out w sign(r) J = sum_in w r J / delta.
    """
    params = theta.shape[-1]
    out = np.array(theta)
    lower = np.tril_indices(params)
    for first in range(0, len(theta), 256):
        part = slice(first, first + 256)
        at = theta[part]
        residual, slope = linearize(problem, at)
        inside = np.where(np.abs(residual) <= delta, residual, 0.0) * weights[part, None]
        rhs = (1.0 - factor) * np.einsum("rsn,rsnp->rsp", inside, slope)
        matrix = np.zeros((*at.shape, params))
        matrix[..., lower[0], lower[1]] = hessian[part]
        matrix[..., lower[1], lower[0]] = hessian[part]
        size = np.sqrt(np.abs(np.einsum("rspp->rsp", matrix)))
        free = (at > problem.low) & (at < problem.high) & (size > 0)
        both = free[..., :, None] & free[..., None, :]
        scale = np.where(free, size, 1.0)
        scaled = np.where(both, matrix, np.eye(params)) / scale[..., :, None] / scale[..., None, :]
        solved = np.einsum(
            "rspq,rsq->rsp",
            np.linalg.pinv(scaled, rcond=1e-12, hermitian=True),
            np.where(free, rhs, 0.0) / scale,
        )
        out[part] = at + solved / scale
    return np.clip(out, problem.low, problem.high)
