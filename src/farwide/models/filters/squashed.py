"""LongConv taps: one parameter a tap, soft-thresholded, smoothed, dropped.

Fu et al. (2023), "Simple Hardware-Efficient Long Convolutions for Sequence Modeling", section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from farwide.validate import at_least, one_of, probability
from theory import taps as tap_moments


@dataclass(frozen=True)
class Squash:
    """Settings of the LongConv filter.

    Attributes:
      threshold: lambda of the soft threshold; 0 leaves the taps as they are.
      smooth: taps over which the filter is averaged (7 in the paper); 1 for no smoothing.
      init: "double_exp" (decaying, by channel) or "normal".
      scale: standard deviation of the first tap; the paper has 0.02 and 0.002.
      dropout: probability with which a tap is dropped in training (the others are scaled up).
    """

    threshold: float = 0.003
    smooth: int = 1
    init: Literal["double_exp", "normal"] = "double_exp"
    scale: float = 0.02
    dropout: float = 0.0

    def __post_init__(self) -> None:
        at_least(1, smooth=self.smooth)
        one_of(("double_exp", "normal"), init=self.init)
        probability(dropout=self.dropout)
        for name in ("threshold", "scale"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; accepted is at least 0")

    def moments(self, channels: int, length: int) -> tap_moments.Moments:
        """Second moments of the taps at initialisation, none dropped (`theory.taps.squash`)."""
        return tap_moments.squash(
            length,
            channels,
            threshold=self.threshold,
            scale=self.scale,
            init=self.init,
            smooth=self.smooth,
        )


def squash(taps: Float[Array, "..."], threshold: float) -> Float[Array, "..."]:
    """Soft threshold `sign(k) * relu(|k| - threshold)`: small taps become exactly zero."""
    return jnp.sign(taps) * jax.nn.relu(jnp.abs(taps) - threshold)


def smooth(taps: Float[Array, "channels length"], window: int) -> Float[Array, "channels length"]:
    """Moving average of `window` taps, centred; beyond the ends the taps are zero."""
    if window == 1:
        return taps
    total = jax.lax.reduce_window(
        taps, 0.0, jax.lax.add, (1, window), (1, 1), ((0, 0), (window // 2, (window - 1) // 2))
    )
    return total / window


class SquashedFilter(nn.Module):
    """LongConv taps: one parameter a tap, exponentially decaying at initialisation, squashed.

    `k0[i, j] = scale * n * exp(-(j / L) * (H/2)^(i/H))` with n ~ N(0, 1), for channel i of H and
    tap j of L (`double_exp`). The taps are smoothed, squashed and, in training, dropped, in this
    order: a squashed filter stays sparse.
    """

    channels: int
    length: int
    threshold: float = 0.003
    scale: float = 0.02
    init_kind: str = "double_exp"
    smooth: int = 1
    dropout: float = 0.0

    @nn.compact
    def __call__(self, deterministic: bool = True) -> Float[Array, "channels length"]:
        def double_exponential(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
            channels, length = shape
            rates = max(channels // 2, 1) ** (jnp.arange(channels) / channels)
            decay = jnp.exp(-jnp.outer(rates, jnp.arange(length) / length))
            return self.scale * jax.random.normal(key, shape) * decay

        initial = (
            double_exponential
            if self.init_kind == "double_exp"
            else nn.initializers.normal(self.scale)
        )
        taps = self.param("taps", initial, (self.channels, self.length))
        taps = squash(smooth(taps, self.smooth), self.threshold)
        return nn.Dropout(self.dropout)(taps, deterministic=deterministic)
