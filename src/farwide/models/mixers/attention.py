"""Softmax attention over a sequence: to every position, or to a neighborhood.

Queries and keys are turned by their positions (Su et al. 2021), so no embedding of positions is
needed. Neighborhood attention as `kernels_pallas.neighborhood_attention`: Hassani et al. 2023.
A step of full attention reads all keys so far; of neighborhood attention, the window alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from farwide.models.rotary import axial_rotary
from farwide.validate import at_least
from kernels_pallas import neighborhood_attention


@dataclass(frozen=True)
class Attention:
    """Settings of attention.

    Attributes:
      heads: of queries, keys and values; width / heads must be even.
      window: positions that a query sees, itself among them; None for all.
      dilation: distance between neighbors.
    """

    heads: int = 4
    window: int | None = None
    dilation: int = 1

    def __post_init__(self) -> None:
        at_least(1, heads=self.heads, dilation=self.dilation)
        if self.window is not None:
            at_least(2, window=self.window)

    def head_dim(self, width: int) -> int:
        """Channels of a head in a model of so many.

        Raises:
          ValueError: heads do not divide the width, or leave an odd number.
        """
        if width % self.heads or width // self.heads % 2:
            raise ValueError(
                f"heads is {self.heads}; accepted with width {width} is a divisor that leaves an "
                "even head_dim"
            )
        return width // self.heads


class Cache(NamedTuple):
    """Keys and values of the last positions: position p lies at index p modulo the size."""

    position: Int[Array, ""]
    keys: Float[Array, "batch size heads head_dim"]
    values: Float[Array, "batch size heads head_dim"]


class AttentionMixer(nn.Module):
    """Multi-head attention over (batch, length, width)."""

    config: Attention
    width: int
    length: int
    causal: bool = True
    dropout: float = 0.0

    def setup(self) -> None:
        self.qkv = nn.Dense(3 * self.width, use_bias=False)
        self.out_proj = nn.Dense(self.width, use_bias=False)
        self.drop = nn.Dropout(self.dropout)

    def _heads(self, x: jax.Array, start: int | jax.Array = 0) -> tuple[jax.Array, ...]:
        """Turned queries, turned keys, values: (batch, length, heads, head_dim)."""
        parts = jnp.split(self.qkv(x), 3, axis=-1)
        shape = (*x.shape[:-1], self.config.heads, self.config.head_dim(self.width))
        q, k, v = (part.reshape(shape) for part in parts)
        return axial_rotary(q, start=start), axial_rotary(k, start=start), v

    def __call__(
        self, x: Float[Array, "batch length width"], deterministic: bool = True
    ) -> Float[Array, "batch length width"]:
        q, k, v = self._heads(x)
        config = self.config
        if config.window is None:
            y = jax.nn.dot_product_attention(q, k, v, is_causal=self.causal)
        else:
            y = cast(
                jax.Array,
                neighborhood_attention(
                    q,
                    k,
                    v,
                    window=config.window,
                    dilation=config.dilation,
                    causal=self.causal,
                ),
            )
        return self.out_proj(self.drop(y.reshape(x.shape), deterministic=deterministic))

    def start(self, batch: int) -> Cache:
        """The empty cache: of the whole length, or of what a window reaches."""
        config = self.config
        reach = self.length
        if config.window is not None:
            reach = min(self.length, (config.window - 1) * config.dilation + 1)
        zeros = jnp.zeros((batch, reach, config.heads, config.head_dim(self.width)))
        return Cache(jnp.zeros((), jnp.int32), zeros, zeros)

    def step(
        self, x: Float[Array, "batch width"], state: Cache
    ) -> tuple[Float[Array, "batch width"], Cache]:
        """One position: (y, next cache)."""
        t = state.position
        q, k, v = self._heads(x[:, None], start=t)
        size = state.keys.shape[1]
        keys = jax.lax.dynamic_update_slice_in_dim(state.keys, k, t % size, 1)
        values = jax.lax.dynamic_update_slice_in_dim(state.values, v, t % size, 1)
        ago = (t - jnp.arange(size)) % size  # how long ago each entry was written
        seen = (ago <= t) & (ago % self.config.dilation == 0)
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, keys) / q.shape[-1] ** 0.5
        weights = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), axis=-1)
        y = jnp.einsum("bhqk,bkhd->bqhd", weights, values).reshape(x.shape)
        return self.out_proj(y), Cache(t + 1, keys, values)
