"""Baseline: a convolution of few taps over positions and channels, dilated where asked."""

from __future__ import annotations

from dataclasses import dataclass

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from farwide.models.mixers.streams import step_window
from farwide.validate import at_least


@dataclass(frozen=True)
class Cnn:
    """Settings of the convolution: `taps` positions, `dilation` apart."""

    taps: int = 5
    dilation: int = 1

    def __post_init__(self) -> None:
        at_least(1, taps=self.taps, dilation=self.dilation)


class CnnMixer(nn.Module):
    """`W_out gelu(conv(x))` over (batch, length, width), zero beyond the ends."""

    config: Cnn
    width: int
    length: int
    causal: bool = True
    dropout: float = 0.0

    def setup(self) -> None:
        taps, dilation = self.config.taps, self.config.dilation
        reach = (taps - 1) * dilation
        before = reach if self.causal else reach // 2
        self.conv = nn.Conv(
            self.width, (taps,), kernel_dilation=dilation, padding=((before, reach - before),)
        )
        self.out_proj = nn.Dense(self.width)
        self.drop = nn.Dropout(self.dropout)

    def __call__(
        self, x: Float[Array, "batch length width"], deterministic: bool = True
    ) -> Float[Array, "batch length width"]:
        return self.out_proj(self.drop(nn.gelu(self.conv(x)), deterministic=deterministic))

    def start(self, batch: int) -> Float[Array, "batch reach width"]:
        """The inputs that the taps reach, zero at the start."""
        return jnp.zeros((batch, (self.config.taps - 1) * self.config.dilation + 1, self.width))

    def step(
        self, x: Float[Array, "batch width"], state: Float[Array, "batch reach width"]
    ) -> tuple[Float[Array, "batch width"], Float[Array, "batch reach width"]]:
        """One position: (y, next state)."""
        state = step_window(state, x)
        # The convolution of the window: its last position is the one that sees all of it.
        return self.out_proj(nn.gelu(self.conv(state)[:, -1])), state
