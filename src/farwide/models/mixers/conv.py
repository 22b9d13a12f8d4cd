"""The plain long convolution: one filter a channel, then a mixing of channels.

    y = GLU(W gelu(k * x + skip x))

The block of S4D (Gu et al. 2022), LongConv (Fu et al. 2023) and SGConv (Li et al. 2022), which
differ in the filter k alone. Not causal: a second filter of the same kind looks ahead, and the
transform behind the convolution may be learned (FlashButterfly).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from farwide.models.butterfly import ButterflyConv
from farwide.models.filters import FilterConfig, Squash, make_filter
from farwide.models.mixers.streams import LongStream, start_long, step_long
from kernels_pallas import long_conv


@dataclass(frozen=True)
class Conv:
    """Settings of the plain long convolution.

    Attributes:
      filter: its taps.
      butterfly: learn the Fourier transform too (FlashButterfly); not causal then.
    """

    filter: FilterConfig = field(default_factory=Squash)
    butterfly: bool = False


class ConvMixer(nn.Module):
    """`GLU(W gelu(k * x + skip x))` over (batch, length, width)."""

    config: Conv
    width: int
    length: int
    causal: bool = True
    dropout: float = 0.0

    def setup(self) -> None:
        self.butterfly = ButterflyConv(self.length) if self.config.butterfly else None
        self.filter = make_filter(self.config.filter, self.width, self.length)
        self.filter_future = (
            None if self.causal else make_filter(self.config.filter, self.width, self.length)
        )
        self.skip = self.param("skip", nn.initializers.normal(1.0), (self.width,))
        self.out_proj = nn.Dense(2 * self.width)
        self.drop = nn.Dropout(self.dropout)

    def __call__(
        self, x: Float[Array, "batch length width"], deterministic: bool = True
    ) -> Float[Array, "batch length width"]:
        future = None if self.filter_future is None else self.filter_future(deterministic)
        taps = self.filter(deterministic)
        if self.butterfly is not None and future is not None:
            y = self.butterfly(x, taps, future) + self.skip * x
        else:
            y = long_conv(x, taps, k_future=future, skip=self.skip, layout="BLC")
        return self._mix(y, deterministic)

    def _mix(self, y: jax.Array, deterministic: bool) -> jax.Array:
        return nn.glu(self.out_proj(self.drop(nn.gelu(y), deterministic=deterministic)))

    def start(self, batch: int) -> LongStream:
        """The state before the first position."""
        return start_long(self.filter, batch)

    def step(
        self, x: Float[Array, "batch width"], state: LongStream
    ) -> tuple[Float[Array, "batch width"], LongStream]:
        """One position: (y, next state)."""
        state, y = step_long(state, x)
        return self._mix(y + self.skip * x, True), state
