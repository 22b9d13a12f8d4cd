"""Newton's method on any number of problems, through one compiled shape.

The batch goes through the compiled iteration in chunks of one fixed size, a few iterations a round.
After each round only the unfinished problems are gathered into new chunks, so a few slow ones do
not keep the others waiting and nothing is compiled twice. Chunks run in one thread a core.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float

from theory.scaling import newton
from theory.scaling.general import Pull
from theory.scaling.local import Local
from theory.scaling.losses import Shape
from theory.scaling.precision import float64_on_host
from theory.scaling.problem import Problem

CHUNK = 128  # problems a call of the compiled code: a chunk of a few hundred rows stays in cache
CHUNK_GENERAL = 32  # of laws that are differentiated automatically, which keeps more arrays
ROUND = 6  # iterations between two gatherings
MAX_STEPS = 300  # iterations a problem may take before it counts as failed


class Ends(NamedTuple):
    """Where every start of every replicate ended."""

    theta: Float[np.ndarray, "replicates starts params"]
    value: Float[np.ndarray, "replicates starts"]  # of the Huber objective; never nan
    done: Bool[np.ndarray, "replicates starts"]  # at a minimum
    hessian: Float[np.ndarray, "replicates starts entries"]  # lower triangle, row by row


def descend(
    problem: Problem,
    shape: Shape,
    weights: Float[np.ndarray, "replicates rows"],
    starts: Float[np.ndarray, "replicates starts params"],
    pull: Pull | None = None,
) -> Ends:
    """Each start to its local minimum.

    Args:
      problem: the data.
      shape: of the loss.
      weights: of the rows in every replicate.
      starts: (coefficients, exponents) inside the box.
      pull: of every replicate, where the structure of the problem is `general.Pulled`.
    """
    replicates, count, params = starts.shape
    total = replicates * count
    owner = np.repeat(np.arange(replicates), count)
    entries = params * (params + 1) // 2
    chunk = CHUNK if isinstance(problem.structure, tuple) else CHUNK_GENERAL
    state = newton.State(
        theta=np.array(starts.reshape(total, params).T),
        local=Local(
            np.full(total, np.inf),
            np.zeros((params, total)),
            np.zeros((entries, total)),
            np.zeros((entries, total)),
        ),
        lam=np.full(total, newton.LAMBDA_START),
        done=np.zeros(total, bool),
        fresh=np.ones(total, bool),
        steps=np.zeros(total, np.int32),
    )

    def advance(index: np.ndarray) -> None:  # chunks are disjoint, so threads do not meet
        padded = np.concatenate([index, np.repeat(index[:1], chunk - index.size)])
        part = jax.tree.map(lambda x: x[..., padded], state)
        np.asarray(part.done)[index.size :] = True
        with float64_on_host():
            part = newton.advance(
                problem.structure,
                part,
                problem.u,
                problem.v,
                weights[owner[padded]],
                problem.low,
                problem.high,
                shape,
                None if pull is None else pull.rows(owner[padded]),
                steps=ROUND,
            )
            for whole, new in zip(jax.tree.leaves(state), jax.tree.leaves(part), strict=True):
                whole[..., index] = np.asarray(new)[..., : index.size]

    active = np.arange(total)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in range(MAX_STEPS // ROUND):
            if not active.size:
                break
            chunks = [active[i : i + chunk] for i in range(0, active.size, chunk)]
            advance(chunks[0])  # compiles, the first time
            for _ in pool.map(advance, chunks[1:]):
                pass
            active = active[~state.done[active]]
    value = np.where(np.isfinite(state.local.value), state.local.value, np.finfo(float).max)
    return Ends(
        theta=np.array(state.theta).T.reshape(replicates, count, params),
        value=value.reshape(replicates, count),
        done=np.array(state.done).reshape(replicates, count),
        hessian=np.array(state.local.hessian).T.reshape(replicates, count, entries),
    )
