"""SGConv taps: few parameters a channel, multi-scale, decaying.

Li et al. (2022), "What Makes Convolutional Models Great on Long Sequence Modeling?", section 3.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from farwide.validate import at_least
from theory import taps as tap_moments


@dataclass(frozen=True)
class SGConv:
    """Settings of the SGConv filter.

    Attributes:
      scale_dim: parameters for each channel and scale, d of the paper (64 there).
      decay: every scale weighs 1 / decay of the one before.
    """

    scale_dim: int = 16
    decay: float = 2.0

    def __post_init__(self) -> None:
        at_least(1, scale_dim=self.scale_dim)
        if not self.decay >= 1:
            raise ValueError(f"decay is {self.decay}; accepted is at least 1")

    def moments(self, channels: int, length: int) -> tap_moments.Moments:
        """Second moments of the taps at initialisation, alike in all channels.

        `theory.taps.sgconv` has the formulas.

        Raises:
          ValueError: channels is no positive integer, or what `theory.taps.sgconv` raises.
        """
        at_least(1, channels=channels)
        return tap_moments.sgconv(length, scale_dim=self.scale_dim, decay=self.decay)


def sgconv_scales(length: int, scale_dim: int) -> int:
    """Number of scales S = 1 + ceil(log2(length / scale_dim)), at least 1."""
    return 1 + max(0, math.ceil(math.log2(length / scale_dim)))


def sgconv_taps(
    weights: Float[Array, "scales channels scale_dim"], length: int, *, decay: float = 2.0
) -> Float[Array, "channels length"]:
    """Taps from per-scale weights.

    `k = concat_i upsample(w_i, 2^max(0, i-1)) * decay^-i`, cut at `length`; linear interpolation.
    The paper multiplies by decay^(S-1-i); the factor decay^(S-1) between the two is absorbed by
    the normalisation.
    """
    scales, channels, scale_dim = weights.shape
    pieces = []
    for i in range(scales):
        width = scale_dim * 2 ** max(0, i - 1)
        piece = jax.image.resize(weights[i], (channels, width), "linear")
        pieces.append(piece * decay**-i)
    return jnp.concatenate(pieces, axis=-1)[:, :length]


class SGConvFilter(nn.Module):
    """SGConv taps: `scale_dim` parameters for each of S scales and each channel.

    The paper divides the taps by their norm at the first forward pass and freezes that number.
    Here the initial weights are divided by it instead: the same function at the start, with no
    state beside the parameters. The taps are linear in the weights, so the two differ only in the
    unit in which the weights are measured, that is in the learning rate of the filter.
    """

    channels: int
    length: int
    scale_dim: int = 16
    decay: float = 2.0

    @nn.compact
    def __call__(self, deterministic: bool = True) -> Float[Array, "channels length"]:
        del deterministic  # nothing here is random
        scales = sgconv_scales(self.length, self.scale_dim)

        def normalised(key: jax.Array, shape: tuple[int, int, int]) -> jax.Array:
            raw = jax.random.normal(key, shape)
            norm = jnp.linalg.norm(sgconv_taps(raw, self.length, decay=self.decay), axis=-1)
            return raw / norm[:, None]

        weights = self.param("weights", normalised, (scales, self.channels, self.scale_dim))
        return sgconv_taps(weights, self.length, decay=self.decay)
