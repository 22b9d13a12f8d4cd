"""Parametrised long filters: Linen modules that return taps (channels, length).

- `SGConvFilter`: Li et al. (2022), "What Makes Convolutional Models Great on Long Sequence
  Modeling?", section 3.2: few parameters a channel, multi-scale, decaying.
- `SquashedFilter`: Fu et al. (2023), "Simple Hardware-Efficient Long Convolutions", section 3:
  one parameter a tap, soft-thresholded.
"""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


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
    def __call__(self) -> Float[Array, "channels length"]:
        scales = sgconv_scales(self.length, self.scale_dim)

        def normalised(key: jax.Array, shape: tuple[int, int, int]) -> jax.Array:
            raw = jax.random.normal(key, shape)
            norm = jnp.linalg.norm(sgconv_taps(raw, self.length, decay=self.decay), axis=-1)
            return raw / norm[:, None]

        weights = self.param("weights", normalised, (scales, self.channels, self.scale_dim))
        return sgconv_taps(weights, self.length, decay=self.decay)


def squash(taps: Float[Array, "..."], threshold: float) -> Float[Array, "..."]:
    """Soft threshold `sign(k) * relu(|k| - threshold)`: small taps become exactly zero."""
    return jnp.sign(taps) * jax.nn.relu(jnp.abs(taps) - threshold)


class SquashedFilter(nn.Module):
    """LongConv taps: one parameter a tap, exponentially decaying at initialisation, squashed.

    `k0[i, j] = scale * n * exp(-(j / L) * (H/2)^(i/H))` with n ~ N(0, 1), for channel i of H and
    tap j of L (`double_exp`).
    """

    channels: int
    length: int
    threshold: float = 0.003
    scale: float = 0.02

    @nn.compact
    def __call__(self) -> Float[Array, "channels length"]:
        def double_exponential(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
            channels, length = shape
            rates = max(channels // 2, 1) ** (jnp.arange(channels) / channels)
            decay = jnp.exp(-jnp.outer(rates, jnp.arange(length) / length))
            return self.scale * jax.random.normal(key, shape) * decay

        taps = self.param("taps", double_exponential, (self.channels, self.length))
        return squash(taps, self.threshold)
