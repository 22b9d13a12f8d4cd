"""All that a training step changes."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from farwide.training.objective import Sums


class Totals(NamedTuple):
    """Sums over the steps since the last log line."""

    sums: Sums
    gradient_norm: Float[Array, ""]  # of the mean gradient, before clipping
    small: Float[Array, ""]  # squared norm of the gradient of a part of a batch, mean over parts
    large: Float[Array, ""]  # squared norm of the gradient of a whole batch
    bad_step: Int[Array, ""]  # first update whose loss or gradient was not finite, from 1; or 0


class TrainState(NamedTuple):
    """The state between two steps. Checkpointed as it is."""

    step: Int[Array, ""]  # updates so far
    params: Any
    opt_state: Any
    ema: Any  # exponential moving average of the parameters, or None
    key: jax.Array  # the random parts of step s use fold_in(key, s)
    totals: Totals


def zero_totals() -> Totals:
    """Totals over no step."""

    def zero() -> jax.Array:  # each its own buffer, for all are donated
        return jnp.zeros((), jnp.float32)

    return Totals(Sums(zero(), zero(), zero()), zero(), zero(), zero(), jnp.zeros((), jnp.int32))


def new_state(
    params: Any, optimizer: optax.GradientTransformation, key: jax.Array, *, ema: bool
) -> TrainState:
    """The state before the first step; the moving average starts at the parameters."""
    average = jax.tree.map(jnp.copy, params) if ema else None
    return TrainState(
        jnp.zeros((), jnp.int32), params, optimizer.init(params), average, key, zero_totals()
    )
