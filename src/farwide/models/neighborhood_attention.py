"""Neighborhood attention layers over sequences, images and volumes.

    q, k, v = x W_qkv (+ b);   q, k rotated where asked
    y = softmax(q k / sqrt(head_dim) + relative bias) v over each query's neighborhood
    out = y W_out + b

One implementation; the three public classes fix the number of space axes.

Reference: Hassani et al. 2023, "Neighborhood Attention Transformer"; Hassani and Shi 2022, "Dilated
Neighborhood Attention Transformer".
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, cast

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from farwide.models.rotary import axial_rotary
from kernels_pallas import neighborhood_attention
from kernels_pallas.validate import compute_dtype


class _NeighborhoodAttention(nn.Module):
    """What the three layers share; see NeighborhoodAttention1D."""

    rank: ClassVar[int] = 0

    features: int
    heads: int
    window: int | tuple[int, ...]
    dilation: int | tuple[int, ...] = 1
    stride: int | tuple[int, ...] = 1
    causal: bool | tuple[bool, ...] = False
    kv_heads: int | None = None
    head_dim: int | None = None
    qkv_bias: bool = True
    rotary: bool = False
    relative_bias: bool = False
    implementation: str | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch *space features"],
        mask: Bool[Array, "batch *space"] | None = None,
    ) -> Float[Array, "batch *space features"]:
        """Attend; x (batch, *space, features), mask as `neighborhood_attention` takes it."""
        kv_heads, head_dim = self._sizes()
        if x.ndim != self.rank + 2 or x.shape[-1] != self.features:
            space = ("length", "height, width", "depth, height, width")[self.rank - 1]
            raise ValueError(
                f"x has shape {x.shape}; {type(self).__name__} expects (batch, {space}, features) "
                f"with {self.features} features"
            )
        dense = partial(nn.Dense, dtype=self.dtype, param_dtype=self.param_dtype)
        width = (self.heads + 2 * kv_heads) * head_dim
        qkv = dense(width, use_bias=self.qkv_bias, name="qkv")(x)
        qkv = qkv.reshape(*x.shape[:-1], self.heads + 2 * kv_heads, head_dim)
        q, k, v = jnp.split(qkv, (self.heads, self.heads + kv_heads), axis=-2)
        if self.rotary:
            q, k = axial_rotary(q), axial_rotary(k)
        bias = None
        if self.relative_bias:
            initial = nn.initializers.truncated_normal(0.02)
            bias = self.param("relative_bias", initial, self._table(), self.param_dtype)
            # No wider than the scores it is added to.
            wide = jnp.finfo(bias.dtype).bits > jnp.finfo(compute_dtype(q.dtype)).bits
            bias = bias.astype(compute_dtype(q.dtype)) if wide else bias
        y = neighborhood_attention(
            q,
            k,
            v,
            window=self.window,
            dilation=self.dilation,
            stride=self.stride,
            causal=self.causal,
            mask=mask,
            bias=bias,
            implementation=self.implementation,
        )
        y = cast(Array, y).reshape(*x.shape[:-1], self.heads * head_dim)
        return dense(self.features, name="out")(y)

    @nn.nowrap
    def _sizes(self) -> tuple[int, int]:
        """kv_heads and head_dim, once every size is checked."""
        kv_heads = self.heads if self.kv_heads is None else self.kv_heads
        for name, size in (
            ("features", self.features),
            ("heads", self.heads),
            ("kv_heads", kv_heads),
            ("head_dim", 1 if self.head_dim is None else self.head_dim),
        ):
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise ValueError(f"{name} is {size!r}; accepted: an int of at least 1")
        if self.heads % kv_heads:
            raise ValueError(f"kv_heads is {kv_heads}; accepted: a divisor of heads {self.heads}")
        if self.head_dim is None and self.features % self.heads:
            raise ValueError(
                f"heads is {self.heads}, which does not divide features {self.features}; accepted: "
                "a divisor, or an explicit head_dim"
            )
        head_dim = self.features // self.heads if self.head_dim is None else self.head_dim
        if self.rotary and head_dim % (2 * self.rank):
            raise ValueError(
                f"head_dim is {head_dim}; accepted with rotary over {self.rank} axes: a multiple "
                f"of {2 * self.rank}"
            )
        return kv_heads, head_dim

    @nn.nowrap
    def _table(self) -> tuple[int, ...]:
        """The shape of the table of relative biases."""
        windows = (self.window,) * self.rank if isinstance(self.window, int) else self.window
        fits = isinstance(windows, tuple) and len(windows) == self.rank
        if not fits or any(type(window) is not int or window < 2 for window in windows):
            raise ValueError(
                f"window is {self.window!r}; accepted: an int of at least 2, or one for each of "
                f"the {self.rank} axes"
            )
        return (self.heads, *(2 * window - 1 for window in windows))


class NeighborhoodAttention1D(_NeighborhoodAttention):
    """Multi-head attention in which position i of a sequence sees a window around itself.

    (batch, length, features) to the same; see `kernels_pallas.neighborhood_attention` for what a
    window, a dilation, a stride and causal mean.

    Fields:
      features: width of the input and of the output.
      heads: query heads.
      window, dilation, stride, causal: one value, or a tuple with one for each axis.
      kv_heads: heads of keys and values, a divisor of heads; None: as many as heads.
      head_dim: features of a head; None: features / heads.
      qkv_bias: whether queries, keys and values have an offset; the output always has.
      rotary: turn queries and keys by their coordinates (`axial_rotary`).
      relative_bias: learn a table of scores by relative place, (heads, 2 window - 1 for each axis),
        initially normal with deviation 0.02.
      implementation: as `neighborhood_attention`; the kernels do not serve every option.
      dtype: of the computation; None: by promotion of x and the parameters.
      param_dtype: of the parameters.

    Parameters: qkv (kernel, bias), queries first, then keys, then values, each head by head; out
    (kernel, bias); relative_bias.

    Call with x (batch, length, features) and optionally mask (batch, length) bool, True where a key
    is valid. A query that sees no valid key yields the output's offset.

    Raises (at the call):
      ValueError: a size that is not positive or does not divide, x of another rank or width, and
        whatever `neighborhood_attention` raises.
    """

    rank: ClassVar[int] = 1


class NeighborhoodAttention2D(_NeighborhoodAttention):
    """Neighborhood attention over images (batch, height, width, features).

    Fields, parameters and errors as NeighborhoodAttention1D; the window is window x window, or a
    tuple (of height, of width), and so are dilation, stride and causal.
    """

    rank: ClassVar[int] = 2


class NeighborhoodAttention3D(_NeighborhoodAttention):
    """Neighborhood attention over volumes or videos (batch, depth, height, width, features).

    Fields, parameters and errors as NeighborhoodAttention1D, with three values in a tuple.
    """

    rank: ClassVar[int] = 3


__all__ = ["NeighborhoodAttention1D", "NeighborhoodAttention2D", "NeighborhoodAttention3D"]
