"""Filters and short convolutions as streams: one position at a time, equal to the parallel form."""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from farwide.models.filters import Recurrence, S4DFilter
from farwide.models.online_conv import OnlineConv, start_online_conv, step_online_conv


class Recurrent(NamedTuple):
    """A state space that is stepped: its recurrence and its state."""

    recurrence: Recurrence
    state: Any


LongStream = Recurrent | OnlineConv


def start_long(filter_: nn.Module, batch: int) -> LongStream:
    """A bound filter module as a stream: the recurrence where it has one, else its taps."""
    if isinstance(filter_, S4DFilter):
        recurrence = filter_.recurrence()
        return Recurrent(recurrence, recurrence.start(batch))
    return start_online_conv(filter_(), batch)  # pyright: ignore[reportCallIssue]


def step_long(
    stream: LongStream, u: Float[Array, "batch channels"]
) -> tuple[LongStream, Float[Array, "batch channels"]]:
    """(next stream, y[t]) of the long convolution."""
    if isinstance(stream, OnlineConv):
        return step_online_conv(stream, u)
    state, y = stream.recurrence.step(stream.state, u)
    return Recurrent(stream.recurrence, state), y


def step_window(
    past: Float[Array, "batch steps channels"], u: Float[Array, "batch channels"]
) -> Float[Array, "batch steps channels"]:
    """The last inputs, oldest first, with u as the newest."""
    return jnp.concatenate([past[:, 1:], u[:, None]], axis=1)
