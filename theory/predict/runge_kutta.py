"""Initial value problems y' = f(y, t) by Dormand and Prince's embedded Runge-Kutta pair 5(4).

Ours, and not jax.experimental.ode.odeint, for three reasons: an experimental module may go away
(what this package replaces was lost to such changes); odeint stops in silence where its step
becomes zero or NaN, or where steps are too many, and then extrapolates; and errors are measured
here in outputs, not in the state.

Differentiable in forward mode. Dormand and Prince 1980; step control and dense output as in Hairer,
Norsett and Wanner 1993, Solving Ordinary Differential Equations I, II.4 and II.6.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.flatten_util import ravel_pytree

Tree = Any

NODES = np.array([0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0])
TABLEAU = np.array(
    [
        [0, 0, 0, 0, 0, 0],
        [1 / 5, 0, 0, 0, 0, 0],
        [3 / 40, 9 / 40, 0, 0, 0, 0],
        [44 / 45, -56 / 15, 32 / 9, 0, 0, 0],
        [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729, 0, 0],
        [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656, 0],
        [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
    ]
)
FIFTH = np.array([35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0])
FOURTH = np.array([5179 / 57600, 0, 7571 / 16695, 393 / 640, -92097 / 339200, 187 / 2100, 1 / 40])
DENSE = np.array(
    [
        -12715105075 / 11282082432,
        0,
        87487479700 / 32700410799,
        -10690763975 / 1880347072,
        701980252875 / 199316789632,
        -1453857185 / 822651844,
        69997945 / 29380423,
    ]
)
REST_SLOPE, REST_CHANGE = 1e-3, 10.0  # of the first slope; of rtol, while time doubles
SAFETY, SHRINK, GROW, ORDER = 0.9, 0.2, 10.0, 5
RTOL = {"float64": 1e-9, "float32": 1e-5}


class Step(NamedTuple):
    """Where the integration is.

    Attributes:
      t, y, slope: the time, the flat state and its derivative.
      size: of the next step.
      count: steps tried so far.
      start, width: of the step that led here.
      dense: (5, state), that step's coefficients for dense output.
    """

    t: Array
    y: Array
    slope: Array
    size: Array
    count: Array
    start: Array
    width: Array
    dense: Array


class Solution(NamedTuple):
    """States at the times asked for.

    Attributes:
      y: the tree of states with a leading axis of times.
      reached: (times,) whether each was reached; other states mean nothing.
      t: how far the integration went.
      count: steps tried.
    """

    y: Tree
    reached: Array
    t: Array
    count: Array


class Problem(NamedTuple):
    """dy/dt = f(y, t), y(0) = y0, with what is asked of the steps.

    Attributes:
      f: (y, t) -> dy/dt, of y's structure.
      y0: a tree of floating arrays of one dtype.
      scale_of: a linear map of the state to what the tolerance speaks of.
      rtol: error allowed a step, relative to 1 + |scale_of(y)|; None: 1e-9 in float64, 1e-5 in
        float32.
      max_steps: tried in all.
    """

    f: Callable[[Tree, Array], Tree]
    y0: Tree
    scale_of: Callable[[Tree], Tree] = lambda y: y
    rtol: float | None = None
    max_steps: int = 2**20

    def flat(self) -> tuple[Array, Callable, Callable, Callable, float]:
        """(y0, unravel, slope, measured, rtol) with flat states."""
        flat0, unravel = ravel_pytree(self.y0)

        def slope(y: Array, t: Array) -> Array:
            return ravel_pytree(self.f(unravel(y), t))[0]

        def measured(y: Array) -> Array:
            return ravel_pytree(self.scale_of(unravel(y)))[0]

        rtol = RTOL[str(flat0.dtype)] if self.rtol is None else self.rtol
        return flat0, unravel, slope, measured, rtol


def integrate(problem: Problem, times: Array) -> Solution:
    """y at finite times >= 0 in ascending order, (n,)."""
    first = _first(problem)
    unravel = problem.flat()[1]
    last, (ys, reached) = lax.scan(partial(_advance, problem), first, times.astype(first.y.dtype))
    return Solution(jax.vmap(unravel)(ys), reached, last.t, last.count)


def settle(problem: Problem) -> Solution:
    """The state at which y comes to rest, as one time; `reached` tells whether it did.

    At rest: while the time doubled, scale_of(y) changed by no more than 10 rtol of 1 +
    |scale_of(y)|, and the slope is a thousandth of what it was at first.
    """
    flat0, unravel, _, measured, rtol = problem.flat()
    first = _first(problem)

    def going(carry: tuple[Step, Array, Array]) -> Array:
        now, _, rest = carry
        return ~rest & _alive(problem, now)

    def double(carry: tuple[Step, Array, Array]) -> tuple[Step, Array, Array]:
        now, before, _ = carry
        now, _ = _advance(problem, now, 2 * now.t + now.size)
        here = measured(now.y)
        change = jnp.max(jnp.abs(here - before) / (1 + jnp.abs(here)))
        slow = jnp.max(jnp.abs(now.slope)) <= REST_SLOPE * jnp.max(jnp.abs(first.slope))
        return now, here, slow & (change <= REST_CHANGE * rtol)

    rest = jnp.max(jnp.abs(first.slope)) == 0
    last, _, rest = lax.while_loop(going, double, (first, measured(flat0), rest))
    return Solution(jax.vmap(unravel)(last.y[None]), rest[None], last.t, last.count)


def _alive(problem: Problem, now: Step) -> Array:
    return (now.count < problem.max_steps) & (now.t + now.size > now.t)


def _advance(problem: Problem, now: Step, target: Array) -> tuple[Step, tuple[Array, Array]]:
    """Steps to `target` or just past it, and the state there."""

    def going(now: Step) -> Array:
        return (now.t < target) & _alive(problem, now)

    now = lax.while_loop(going, partial(_attempt, problem), now)
    at = jnp.clip((target - now.start) / now.width, 0.0, 1.0)
    c = now.dense
    y = c[0] + at * (c[1] + (1 - at) * (c[2] + at * (c[3] + (1 - at) * c[4])))
    return now, (y, now.t >= target)


def _attempt(problem: Problem, now: Step) -> Step:
    """One step, kept if its error is small enough; the size of the next."""
    _, _, slope, measured, rtol = problem.flat()
    dtype, h = now.y.dtype, now.size
    stages = now.slope[None]
    for node, row in zip(NODES[1:], TABLEAU[1:], strict=True):
        y1 = now.y + h * (jnp.asarray(row[: len(stages)], dtype) @ stages)
        stages = jnp.concatenate([stages, slope(y1, now.t + node * h)[None]])
    error = h * (jnp.asarray(FIFTH - FOURTH, dtype) @ stages)
    allowed = rtol * (1 + jnp.abs(measured(y1)))
    ratio = jnp.sqrt(jnp.mean((measured(error) / allowed) ** 2))
    good = (ratio <= 1) & jnp.isfinite(y1).all()
    ratio = jnp.where(jnp.isfinite(ratio), ratio, jnp.inf)
    factor = jnp.clip(SAFETY * jnp.maximum(ratio, 1e-10) ** (-1 / ORDER), SHRINK, GROW)
    difference = y1 - now.y
    bend = h * stages[0] - difference
    twist = difference - h * stages[6] - bend
    dense = jnp.stack([now.y, difference, bend, twist, h * (jnp.asarray(DENSE, dtype) @ stages)])
    count = now.count + 1
    accepted = Step(now.t + h, y1, stages[6], h * factor, count, now.t, h, dense)
    rejected = now._replace(size=h * jnp.minimum(factor, 1.0), count=count)
    return Step(*(jnp.where(good, a, b) for a, b in zip(accepted, rejected, strict=True)))


def _first(problem: Problem) -> Step:
    """At time 0; the size of the first step as in Hairer, Norsett and Wanner 1993, II.4."""
    y0, _, slope, measured, rtol = problem.flat()
    zero = jnp.zeros((), y0.dtype)
    slope0 = slope(y0, zero)
    allowed = rtol * (1 + jnp.abs(measured(y0)))

    def norm(y: Array) -> Array:
        return jnp.sqrt(jnp.mean((measured(y) / allowed) ** 2))

    d0, d1 = norm(y0), norm(slope0)
    h0 = jnp.where((d0 < 1e-5) | (d1 < 1e-5), 1e-6, 0.01 * d0 / jnp.where(d1 == 0, 1.0, d1))
    d2 = norm(slope(y0 + h0 * slope0, h0) - slope0) / h0
    top = jnp.maximum(d1, d2)
    h1 = (0.01 / jnp.where(top == 0, 1.0, top)) ** (1 / ORDER)
    h1 = jnp.where(top <= 1e-15, jnp.maximum(1e-6, h0 * 1e-3), h1)
    return Step(
        t=zero,
        y=y0,
        slope=slope0,
        size=jnp.minimum(100 * h0, h1).astype(y0.dtype),
        count=jnp.zeros((), jnp.int32),
        start=zero,
        width=jnp.ones((), y0.dtype),
        dense=jnp.zeros((5, y0.size), y0.dtype).at[0].set(y0),
    )
