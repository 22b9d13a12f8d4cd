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
      step: of `make_step`, jitted.
      state: where to go on from.
      batches: (x, y) pairs; how long this runs.
      check_every: steps between two looks at the state. A look waits for the device.
      on_step: called at each look with the number of steps done and the last step's terms.

    Raises:
      Diverged: the objective or its gradient was not finite: with the layer, its condition number,
        the step, and the last good state, thawed; None where the start was not finite.
    """
    whole("check_every", check_every)
    seen: list[tuple[Array, Array]] = []
    done, parts = int(state.step), None
    for x, y in batches:
        state, parts = step(state, x, y)
        seen.append((x, y))
        if len(seen) == check_every:
            done = _look(model, state, seen, done)
            seen = []
            if on_step is not None:
                on_step(done, parts)
    if seen and parts is not None:
        done = _look(model, state, seen, done)
        if on_step is not None:
            on_step(done, parts)
    return state


def _look(model: Model, state: State, seen: list[tuple[Array, Array]], done: int) -> int:
    """The steps done.

    Raises:
      Diverged: the state is frozen.
    """
    now = int(state.step)
    if not bool(state.frozen):
        return now
    x, _ = seen[now - done]  # the batch after the last good step
    _, own = jax.random.split(state.key)
    ours, _ = jax.random.split(own)
    worst = worst_layer(model.network, state.params["network"], x, ours)
    sound = all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(state.params))
    raise Diverged(worst.layer, worst.condition_number, now, thawed(state) if sound else None)
