"""A byte-level language model made of gated long convolutions.

Block: `x + out(post * longconv(pre * v))`, then `x + mlp(x)`, each on a normalised input. The
gates `post` and `pre` and the values `v` are three linear maps of that input, each followed by a
short convolution, as in Hyena of order 2 (Poli et al. 2023). Position enters through the
convolutions alone.

Widths are meant to be compared, so the parametrisation is muP for Adam (Yang et al. 2021, table 8):
embedding of unit variance, hidden matrices of variance 1/fan_in, logits divided by the width.
The optimiser half of the rule is in `farwide.training.optimizer`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import flax.linen as nn
import jax
from jaxtyping import Array, Float, Int

from farwide.models.filters import SGConvFilter, SquashedFilter
from farwide.models.model import Model
from kernels_pallas import long_conv, short_conv

VOCABULARY = 256  # bytes


@dataclass(frozen=True)
class LongConvLMConfig:
    """Shape of the model. `width` and `depth` scale it; the rest stays fixed in a family."""

    width: int
    depth: int
    sequence_length: int = 256
    filter: Literal["sgconv", "squash"] = "sgconv"
    scale_dim: int = 16  # SGConv: parameters a channel and scale
    short_taps: int = 3
    mlp_ratio: int = 4
    output_scale: float = 4.0  # logits are output_scale / width * (embedding @ x)

    def __post_init__(self) -> None:
        for name in ("width", "depth", "sequence_length", "scale_dim", "short_taps", "mlp_ratio"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; accepted is at least 1")
        if self.filter not in ("sgconv", "squash"):
            raise ValueError(f"filter is {self.filter!r}; accepted are 'sgconv' and 'squash'")


class GatedLongConv(nn.Module):
    """`out(post * (k * (pre * v) + skip . pre . v))`, causal, (batch, length, width)."""

    config: LongConvLMConfig

    @nn.compact
    def __call__(self, x: Float[Array, "batch length width"]) -> Float[Array, "batch length width"]:
        config = self.config
        taps = self.param(
            "short_taps", nn.initializers.normal(0.5), (3 * config.width, config.short_taps)
        )
        projected = nn.Dense(3 * config.width, use_bias=False, name="in_proj")(x)
        mixed = short_conv(projected, taps, layout="BLC")
        values, pre, post = (
            mixed[..., : config.width],
            mixed[..., config.width : 2 * config.width],
            mixed[..., 2 * config.width :],
        )
        skip = self.param("skip", nn.initializers.ones, (config.width,))
        y = long_conv(
            values, self.long_taps(), skip=skip, pre_gate=pre, post_gate=post, layout="BLC"
        )
        return nn.Dense(config.width, use_bias=False, name="out_proj")(y)

    @nn.nowrap
    def long_taps(self) -> Float[Array, "width length"]:
        config = self.config
        if config.filter == "sgconv":
            filter_ = SGConvFilter(
                config.width, config.sequence_length, config.scale_dim, name="filter"
            )
        else:
            filter_ = SquashedFilter(config.width, config.sequence_length, name="filter")
        return filter_()


class Block(nn.Module):
    """Pre-norm residual block: token mixing by long convolution, channel mixing by an MLP."""

    config: LongConvLMConfig

    @nn.compact
    def __call__(self, x: Float[Array, "batch length width"]) -> Float[Array, "batch length width"]:
        config = self.config
        x = x + GatedLongConv(config, name="mixer")(nn.RMSNorm(name="mixer_norm")(x))
        h = nn.RMSNorm(name="mlp_norm")(x)
        h = nn.Dense(config.mlp_ratio * config.width, use_bias=False, name="up")(h)
        h = nn.Dense(config.width, use_bias=False, name="down")(jax.nn.gelu(h))
        return x + h


class LongConvLM(nn.Module):
    """Embedding, `depth` blocks, norm, tied output head."""

    config: LongConvLMConfig

    @nn.compact
    def __call__(self, tokens: Int[Array, "batch length"]) -> Float[Array, "batch length 256"]:
        config = self.config
        embed = nn.Embed(
            VOCABULARY, config.width, embedding_init=nn.initializers.normal(1.0), name="embed"
        )
        x = embed(tokens)
        for i in range(config.depth):
            x = Block(config, name=f"block_{i}")(x)
        x = nn.RMSNorm(name="norm")(x)
        return embed.attend(x) * (config.output_scale / config.width)


def long_conv_lm(config: LongConvLMConfig) -> Model:
    """The model as pure functions: tokens (batch, sequence_length) int32 -> logits (..., 256)."""
    module = LongConvLM(config)

    def init(key: jax.Array):
        tokens = jax.numpy.zeros((1, config.sequence_length), jax.numpy.int32)
        return module.init(key, tokens)["params"]

    def apply(
        params, inputs: Int[Array, "batch length"], key: jax.Array | None = None
    ) -> Float[Array, "batch length 256"]:
        del key  # nothing here is random
        if inputs.shape[-1] != config.sequence_length:
            raise ValueError(
                f"tokens has length {inputs.shape[-1]}; this model takes {config.sequence_length}"
            )
        return module.apply({"params": params}, inputs)  # pyright: ignore[reportReturnType]

    return Model(init, apply)
