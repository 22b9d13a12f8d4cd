"""Generation one token at a time: the seam, and sampling from it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from farwide.models.model import Params
from farwide.validate import at_least


class Generator(NamedTuple):
    """A causal model as a stream.

    Attributes:
      start: `start(params, batch) -> state`, before the first token. What depends on the parameters
        alone (taps and their spectra, poles) is computed here, once.
      step: `step(params, tokens, state) -> (logits, state)`: tokens (batch,) int32, or inputs
        (batch, features); logits (batch, outputs) are those of the parallel form at this position.
      length: positions at most.
    """

    start: Callable[[Params, int], Any]
    step: Callable[[Params, jax.Array, Any], tuple[jax.Array, Any]]
    length: int


def generate(
    generator: Generator,
    params: Params,
    prompt: Int[Array, "batch prompt"],
    count: int,
    key: jax.Array,
    *,
    temperature: float = 1.0,
) -> Int[Array, "batch count"]:
    """Sample `count` tokens after a prompt.

    p(next = i) = softmax(logits / temperature)_i; temperature 0 takes the largest.

    Args:
      generator: of the model.
      params: its parameters.
      prompt: at least one token of each sequence, (batch, prompt) int32.
      count: tokens to add.
      key: of the random numbers.
      temperature: at least 0.

    Returns:
      The new tokens, (batch, count) int32.

    Raises:
      ValueError: prompt and count together are longer than the model's length, or an argument is
        out of its range.
    """
    at_least(1, count=count)
    given = prompt.shape[1]
    at_least(1, **{"prompt's length": given})
    if given + count - 1 > generator.length:
        raise ValueError(
            f"count is {count} after a prompt of {given}; accepted is at most "
            f"{generator.length - given + 1}: the model has {generator.length} positions"
        )
    if not temperature >= 0:
        raise ValueError(f"temperature is {temperature}; accepted is at least 0")
    return _sample(generator, params, prompt, count, key, temperature)


@partial(jax.jit, static_argnames=("generator", "count", "temperature"))
def _sample(
    generator: Generator,
    params: Params,
    prompt: jax.Array,
    count: int,
    key: jax.Array,
    temperature: float,
) -> jax.Array:
    def read(carry: tuple[Any, jax.Array], tokens: jax.Array):
        logits, state = generator.step(params, tokens, carry[0])
        return (state, logits), None

    def pick(logits: Float[Array, "batch outputs"], key: jax.Array) -> jax.Array:
        if temperature == 0:
            return jnp.argmax(logits, -1).astype(prompt.dtype)
        return jax.random.categorical(key, logits / temperature).astype(prompt.dtype)

    def write(carry: tuple[Any, jax.Array], key: jax.Array):
        state, tokens = carry
        logits, state = generator.step(params, tokens, state)
        tokens = pick(logits, key)
        return (state, tokens), tokens

    keys = jax.random.split(key, count)
    first, state = generator.step(params, prompt[:, 0], generator.start(params, len(prompt)))
    (state, logits), _ = jax.lax.scan(read, (state, first), prompt[:, 1:].T)
    tokens = pick(logits, keys[0])
    _, rest = jax.lax.scan(write, (state, tokens), keys[1:])
    return jnp.concatenate([tokens[None], rest]).T
