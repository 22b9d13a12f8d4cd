"""Baseline: a dense map over positions, the same for every channel (MLP-Mixer).

    y = W_2 gelu(W_1 x)  along the length

Tolstikhin et al. 2021, "MLP-Mixer: An all-MLP Architecture for Vision". It knows one length and
sees the future, so it has no causal form and generates nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from farwide.validate import at_least


@dataclass(frozen=True)
class TokenMlp:
    """Settings of the token-mixing MLP: its hidden width."""

    hidden: int = 64

    def __post_init__(self) -> None:
        at_least(1, hidden=self.hidden)


class TokenMlpMixer(nn.Module):
    """A two-layer MLP over the positions of (batch, length, width)."""

    config: TokenMlp
    width: int
    length: int
    causal: bool = False
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch length width"], deterministic: bool = True
    ) -> Float[Array, "batch length width"]:
        h = nn.gelu(nn.Dense(self.config.hidden, name="up")(jnp.swapaxes(x, 1, 2)))
        h = nn.Dropout(self.dropout)(h, deterministic=deterministic)
        return jnp.swapaxes(nn.Dense(self.length, name="down")(h), 1, 2)
