"""One training step and one evaluation, as pure compiled functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from farwide.models import Model


class TrainState(NamedTuple):
    """All that a step changes. Checkpointed as it is."""

    step: Int[Array, ""]
    params: Any
    opt_state: Any
    loss_sum: Float[Array, ""]  # nats, over the steps since the last log line


def next_byte_loss(
    model: Model, params: Any, windows: Int[Array, "batch length+1"]
) -> Float[Array, ""]:
    """Mean cross-entropy of the next byte, in nats."""
    logits = model.apply(params, windows[:, :-1])
    return optax.softmax_cross_entropy_with_integer_labels(
        logits.astype(jnp.float32), windows[:, 1:]
    ).mean()


def make_init(
    model: Model, optimizer: optax.GradientTransformation
) -> Callable[[jax.Array], TrainState]:
    """`init(key) -> state`: fresh parameters and optimiser state at step 0.

    Make it once for all the runs of one size: it runs in no time and compiles in seconds, for the
    random numbers unroll into thousands of instructions. On CPU those are left unoptimised, which
    halves that.
    """

    def init(key: jax.Array) -> TrainState:
        params = model.init(key)
        return TrainState(
            jnp.zeros((), jnp.int32), params, optimizer.init(params), jnp.zeros((), jnp.float32)
        )

    quick = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    return jax.jit(init, compiler_options=quick)


def make_train_step(
    model: Model, optimizer: optax.GradientTransformation
) -> Callable[[TrainState, Int[Array, "batch length+1"], Float[Array, ""]], TrainState]:
    """`step(state, windows, learning_rate) -> state`; the state's buffers are donated."""

    def step(state: TrainState, windows: jax.Array, learning_rate: jax.Array) -> TrainState:
        loss, gradients = jax.value_and_grad(lambda params: next_byte_loss(model, params, windows))(
            state.params
        )
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = jax.tree.map(lambda p, u: p - learning_rate * u, state.params, updates)
        return TrainState(state.step + 1, params, opt_state, state.loss_sum + loss)

    return jax.jit(step, donate_argnums=0)


def make_evaluate(model: Model) -> Callable[[Any, Int[Array, "batch length+1"]], float]:
    """`evaluate(params, windows) -> nats per byte`, the mean over all windows.

    The windows go through the model in chunks of 16, so that memory does not depend on how many
    there are; a last, smaller chunk is weighed by its size.
    """
    chunk = 16
    chunk_loss = jax.jit(lambda params, windows: next_byte_loss(model, params, windows))

    def evaluate(params: Any, windows: jax.Array) -> float:
        total = 0.0
        for start in range(0, len(windows), chunk):
            part = windows[start : start + chunk]
            total += float(chunk_loss(params, part)) * len(part)
        return total / len(windows)

    return evaluate
