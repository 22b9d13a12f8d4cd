"""Every start of every replicate to its local minimum; the best of each replicate.

The batch goes through the compiled Newton iteration in chunks of one fixed shape, a few iterations
a round. After each round only the unfinished problems are gathered into new chunks, so a few slow
replicates do not keep the others waiting and nothing is compiled twice.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from theory.scaling import newton, screen
from theory.scaling.form import Form
from theory.scaling.losses import Loss
from theory.scaling.problem import Problem

CHUNK = 512  # problems a call of the compiled code
SCREEN_CHUNK = 128  # replicates a call of the screen
ROUND = 6  # iterations between two gatherings
MAX_STEPS = 300  # iterations a problem may take before it counts as failed


class Minima(NamedTuple):
    """The best minimum found for every replicate, in the units of the solver."""

    theta: Float[np.ndarray, "replicates params"]
    converged: Bool[np.ndarray, "replicates"]
    steps: Int[np.ndarray, "replicates"]  # Newton iterations of the best start


class Starts(NamedTuple):
    """The grid and the robust weights of the full data on it, shared by all replicates."""

    nodes: Float[np.ndarray, "nodes exponents"]
    shape: tuple[int, ...]
    weights: Float[np.ndarray, "nodes rows"]
    constant: Float[np.ndarray, "nodes rows"]
    scale: float  # of the residuals of the full data


def prepare(form: Form, problem: Problem, loss: Loss) -> Starts:
    """Fit the full data robustly at every node of the grid. Call it with float64 enabled."""
    nodes, shape = screen.grid(form)
    weights, constant, scale = screen.reweight(
        problem.structure, nodes, problem.u, problem.v, problem.weights, loss.delta
    )
    return Starts(nodes, shape, np.asarray(weights), np.asarray(constant), float(scale))


def propose(
    problem: Problem, starts: Starts, weights: Float[np.ndarray, "replicates rows"], count: int
) -> Float[np.ndarray, "replicates count params"]:
    """The best `count` nodes of the grid for every replicate. Call it with float64 enabled."""
    chunk = min(SCREEN_CHUNK, _round_up(len(weights)))
    out = []
    for first in range(0, len(weights), chunk):
        m = weights[first : first + chunk]
        padded = np.concatenate([m, np.repeat(m[:1], chunk - len(m), axis=0)])
        chosen = screen.screen(
            problem.structure,
            starts.shape,
            starts.nodes,
            problem.u,
            problem.v,
            padded,
            starts.weights,
            starts.constant,
            starts=count,
        )
        out.append(np.asarray(chosen)[: len(m)])
    return np.concatenate(out)


def minimize(
    problem: Problem,
    loss: Loss,
    scale: float,
    weights: Float[np.ndarray, "replicates rows"],
    starts: Float[np.ndarray, "replicates starts params"],
) -> Minima:
    """Newton from every start; the lowest end of each replicate. Call it with float64 enabled.

    Args:
      problem: the data.
      loss: its delta is reached from about `scale`, the size of the residuals.
      scale: at or below delta, the solver goes for delta at once.
      weights: of the rows in every replicate.
      starts: (coefficients, exponents) inside the box.
    """
    replicates, count, params = starts.shape
    total = replicates * count
    owner = np.repeat(np.arange(replicates), count)
    # The first delta lies on the ladder target * SHRINK^k, so that every stage is one of a few.
    rungs = np.ceil(np.log(max(scale / loss.delta, 1.0)) / np.log(newton.SHRINK))
    delta = loss.delta * newton.SHRINK**rungs if np.isfinite(loss.delta) else np.inf
    entries = params * (params + 1) // 2
    state = newton.State(
        theta=np.array(starts.reshape(total, params).T),
        local=newton.Local(
            np.full(total, np.inf),
            np.zeros((params, total)),
            np.zeros((entries, total)),
            np.zeros((entries, total)),
        ),
        lam=np.full(total, newton.LAMBDA_START),
        delta=np.full(total, delta),
        done=np.zeros(total, bool),
        fresh=np.ones(total, bool),
        steps=np.zeros(total, np.int32),
    )
    chunk = min(CHUNK, _round_up(total))
    weights_last = np.ascontiguousarray(weights.T)
    active = np.arange(total)
    rounds = 0
    while active.size and rounds * ROUND < MAX_STEPS:
        for first in range(0, active.size, chunk):
            index = active[first : first + chunk]
            padded = np.concatenate([index, np.repeat(index[:1], chunk - index.size)])
            part = jax.tree.map(lambda x, at=padded: x[..., at], state)
            part.done[index.size :] = True
            part = newton.advance(
                problem.structure,
                part,
                problem.u,
                problem.v,
                weights_last[:, owner[padded]],
                problem.low,
                problem.high,
                loss.delta,
                steps=ROUND,
            )
            for whole, new in zip(jax.tree.leaves(state), jax.tree.leaves(part), strict=True):
                whole[..., index] = np.asarray(new)[..., : index.size]
        active = active[~state.done[active]]
        rounds += 1

    # A start that has not reached the target delta has a value on another scale.
    value = np.where(state.delta <= loss.delta, state.local.value, np.inf)
    value = np.where(np.isfinite(value), value, np.finfo(float).max).reshape(replicates, count)
    best = np.argmin(value, axis=1) + count * np.arange(replicates)
    return Minima(state.theta[:, best].T, state.done[best], state.steps[best])


def _round_up(count: int) -> int:
    """A power of two at or above count, so that small batches share few compiled shapes."""
    return int(2 ** np.ceil(np.log2(max(count, 1))))


def jacobian(
    problem: Problem, theta: Float[np.ndarray, "params"]
) -> Float[np.ndarray, "rows params"]:
    """d log f / d theta at every row, in the units of the solver."""
    terms = len(problem.structure)
    phi = np.ones((terms, problem.v.size))
    design = np.zeros((terms, theta.size - terms, problem.v.size))
    for k, factors in enumerate(problem.structure):
        for column, exponent, sign in factors:
            design[k, exponent] += sign * problem.u[column]
        phi[k] = np.exp(theta[terms:] @ design[k])
    share = theta[:terms, None] * phi
    total = np.sum(share, axis=0)
    return np.concatenate([phi / total, np.einsum("kn,kjn->jn", share, design) / total]).T


