"""Gated long convolutions: H3, Hyena, and the same with any other filter.

    v, g_1, ..., g_M = short(W x),   z_0 = g_1 v,   z_i = g_{i+1} (k_i * z_{i-1} + skip_i z_{i-1})

for i = 1 to M - 1, and y = W_out z_{M-1}. Order M = 2 has one long filter. Hyena (Poli et al.
2023) has implicit filters and short convolutions on every branch. H3 (Fu et al. 2022, "Hungry
Hungry Hippos") has a shift on the keys alone, `short="keys"`, and a diagonal state space as its
filter; its shift is a state space of so many taps, here the taps themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from farwide.models.filters import FilterConfig, Hyena, make_filter
from farwide.models.mixers.streams import LongStream, start_long, step_long, step_window
from farwide.validate import at_least, one_of
from kernels_pallas import long_conv, short_conv


@dataclass(frozen=True)
class Gated:
    """Settings of a gated long convolution.

    Attributes:
      filter: of the long convolutions.
      order: M, the number of gates.
      short_taps: taps of the short convolutions.
      short: the branches that have one: "all", or "keys", the first gate.
    """

    filter: FilterConfig = field(default_factory=Hyena)
    order: int = 2
    short_taps: int = 3
    short: Literal["all", "keys"] = "all"

    def __post_init__(self) -> None:
        at_least(2, order=self.order)
        at_least(1, short_taps=self.short_taps)
        one_of(("all", "keys"), short=self.short)


class GatedState(NamedTuple):
    """The last inputs of the short convolutions, and the streams of the long ones."""

    recent: Float[Array, "batch taps channels"]
    long: tuple[LongStream, ...]


class GatedMixer(nn.Module):
    """The recursion of the module's docstring over (batch, length, width)."""

    config: Gated
    width: int
    length: int
    causal: bool = True
    dropout: float = 0.0

    def setup(self) -> None:
        config, width = self.config, self.width
        count = config.order - 1
        self.in_proj = nn.Dense((config.order + 1) * width, use_bias=False)
        shorts = (config.order + 1 if config.short == "all" else 1) * width
        self.short_taps = self.param(
            "short_taps", nn.initializers.normal(0.5), (shorts, config.short_taps)
        )
        self.filters = [make_filter(config.filter, width, self.length) for _ in range(count)]
        self.filters_future = [
            make_filter(config.filter, width, self.length)
            for _ in range(0 if self.causal else count)
        ]
        self.skip = self.param("skip", nn.initializers.ones, (count, width))
        self.out_proj = nn.Dense(width, use_bias=False)
        self.drop = nn.Dropout(self.dropout)

    def __call__(
        self, x: Float[Array, "batch length width"], deterministic: bool = True
    ) -> Float[Array, "batch length width"]:
        projected = self.in_proj(x)
        if self.config.short == "all":
            projected = short_conv(projected, self.short_taps, causal=self.causal, layout="BLC")
        branches = jnp.split(projected, self.config.order + 1, axis=-1)
        if self.config.short == "keys":
            branches[1] = short_conv(branches[1], self.short_taps, causal=self.causal, layout="BLC")
        z, gates = branches[0], branches[1:]
        for i, filter_ in enumerate(self.filters):
            z = long_conv(
                z,
                filter_(deterministic),
                k_future=self.filters_future[i](deterministic) if self.filters_future else None,
                skip=self.skip[i],
                pre_gate=gates[0] if i == 0 else None,
                post_gate=gates[i + 1],
                layout="BLC",
            )
        return self.out_proj(self.drop(z, deterministic=deterministic))

    def start(self, batch: int) -> GatedState:
        """The state before the first position."""
        recent = jnp.zeros((batch, self.config.short_taps, len(self.short_taps)))
        return GatedState(recent, tuple(start_long(filter_, batch) for filter_ in self.filters))

    def step(
        self, x: Float[Array, "batch width"], state: GatedState
    ) -> tuple[Float[Array, "batch width"], GatedState]:
        """One position: (y, next state)."""
        projected = self.in_proj(x)
        branches = jnp.split(projected, self.config.order + 1, axis=-1)
        short_input = projected if self.config.short == "all" else branches[1]
        recent = step_window(state.recent, short_input)
        mixed = jnp.einsum("bsc,cs->bc", recent[:, ::-1], self.short_taps)
        if self.config.short == "all":
            branches = jnp.split(mixed, self.config.order + 1, axis=-1)
        else:
            branches[1] = mixed
        z = branches[0] * branches[1]
        streams: list[LongStream] = []
        for i, stream in enumerate(state.long):
            stream, y = step_long(stream, z)
            z = branches[i + 2] * (y + self.skip[i] * z)
            streams.append(stream)
        return self.out_proj(z), GatedState(recent, tuple(streams))
