"""Minibatch training that stops at the last good state when something is no longer a number.

A step whose objective or gradient is not finite changes nothing and freezes the state, on the
device, with no wait. `train` looks every few steps, and turns a frozen state into a `Diverged` that
names the layer, its condition number and the step, and carries the state to go on from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Int

from theory.dkm.conditions import worst_layer
from theory.dkm.failure import Diverged
from theory.dkm.layer import whole
from theory.dkm.model import Model, Terms, terms

Step = Callable[["State", Array, Array], tuple["State", Terms]]
Run = tuple["State", list[tuple[Array, Array]]]  # a state, and the batches since


class State(NamedTuple):
    """All that a training run is.

    Attributes:
      params: of the model.
      optimizer: of the optimiser.
      key: a PRNG key, split at each step.
      step: steps done.
      frozen: whether a step failed; all later ones then leave the state as it is.
    """

    params: Any
    optimizer: Any
    key: Array
    step: Int[Array, ""]
    frozen: Bool[Array, ""]


def start(params: Any, optimizer: Any, key: Array) -> State:
    """The state before the first step.

    Args:
      params: as `dkm.init` gives them.
      optimizer: an optax gradient transformation.
      key: a PRNG key.
    """
    return State(params, optimizer.init(params), key, jnp.zeros((), int), jnp.zeros((), bool))


def thawed(state: State) -> State:
    """A frozen state as one to go on from, by another step function or on another batch."""
    return state._replace(frozen=jnp.zeros((), bool))


def make_step(model: Model, optimizer: Any, examples: int) -> Step:
    """One step of ascent: (state, x, y) -> (state, Terms). Pure; jit it.

    Args:
      model: the model.
      optimizer: an optax gradient transformation.
      examples: size of the training set.

    Raises:
      ValueError: examples below 1.
    """
    whole("examples", examples)

    def loss(params, x, y, key):
        parts = terms(model, params, x, y, examples, key)
        return -parts.value, parts

    def step(state: State, x: Array, y: Array) -> tuple[State, Terms]:
        key, own = jax.random.split(state.key)
        slopes, parts = jax.grad(loss, has_aux=True)(state.params, x, y, own)
        updates, optimizer_state = optimizer.update(slopes, state.optimizer, state.params)
        params = jax.tree.map(lambda p, u: p + u, state.params, updates)
        leaves = (parts.value, *jax.tree.leaves(slopes))
        finite = jnp.all(jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]))
        good = finite & ~state.frozen
        new = State(params, optimizer_state, key, state.step + 1, state.frozen)
        new = jax.tree.map(lambda a, b: jnp.where(good, a, b), new, state)
        return new._replace(frozen=~good), parts

    return step


def train(
    model: Model,
    step: Step,
    state: State,
    batches: Iterable[tuple[Array, Array]],
    *,
    check_every: int = 1,
    on_step: Callable[[int, Terms], None] | None = None,
) -> State:
    """Run `step` over batches.

    Args:
      model: the model, to say where it failed.
      step: of `make_step`, jitted; it must not donate the state, of which earlier ones are kept.
      state: where to go on from.
      batches: (x, y) pairs; how long this runs.
      check_every: steps between two looks at the state. A look waits for the device.
      on_step: called at each look with the number of steps done and the last step's terms.

    Raises:
      Diverged: the objective or its gradient was not finite: with the layer, its condition number,
        the step, and the last good state: of finite objective on the batch that led to it. It is
        None where the start was not finite.
    """
    whole("check_every", check_every)
    runs: list[Run] = [(state, [])]  # since the last look, and before it
    parts = None
    for x, y in batches:
        state, parts = step(state, x, y)
        runs[-1][1].append((x, y))
        if len(runs[-1][1]) == check_every:
            _look(model, step, state, runs)
            if on_step is not None:
                on_step(int(state.step), parts)
            runs = [runs[-1], (state, [])]
    if runs[-1][1] and parts is not None:
        _look(model, step, state, runs)
        if on_step is not None:
            on_step(int(state.step), parts)
    return state


def _look(model: Model, step: Step, state: State, runs: list[Run]) -> None:
    """Raise Diverged where the state is frozen."""
    if not bool(state.frozen):
        return
    base, now = runs[0][0], int(state.step)
    batches = [batch for _, run in runs for batch in run]
    done = now - int(base.step)
    _, own = jax.random.split(state.key)
    ours, _ = jax.random.split(own)
    worst = worst_layer(model.network, state.params["network"], batches[done][0], ours)
    good = _last_good(step, state, base, batches[:done])
    raise Diverged(worst.layer, worst.condition_number, now, good)


def _last_good(
    step: Step, state: State, base: State, good: list[tuple[Array, Array]]
) -> State | None:
    """The frozen state, thawed, where its batch was at fault; else the one before, made again.

    Args:
      step: the step function.
      state: frozen.
      base: an earlier state.
      good: the batches from `base` to `state`.
    """
    if not good:
        sound = all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(state.params))
        return thawed(state) if sound else None
    again, _ = step(thawed(state), *good[-1])
    if not bool(again.frozen):
        return thawed(state)
    for batch in good[:-1]:
        base, _ = step(base, *batch)
    return base
