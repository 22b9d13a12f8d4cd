"""Classifiers of images and volumes: neighborhood attention, full attention, convolutions.

    x = patches(inputs);   x = x + mix(norm(x));   x = x + mlp(norm(x));   y = head(mean(norm(x)))

One resolution throughout, so that the three differ in `mix` alone: attention over each position's
window (Hassani et al. 2023), over all positions (Dosovitskiy et al. 2020), or a depthwise
convolution of the same window (the block of ConvNeXt, Liu et al. 2022). Attention knows positions
by rotating queries and keys, on every axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from farwide.models.image_limits import image_limit
from farwide.models.model import Model, Params
from farwide.models.neighborhood_attention import NeighborhoodAttention2D, NeighborhoodAttention3D
from farwide.models.rotary import axial_rotary
from farwide.validate import at_least, one_of, probability
from theory.stax.layer import KernelFn


@dataclass(frozen=True)
class ImageConfig:
    """Shape of a classifier of images or volumes.

    Attributes:
      shape: (height, width) or (depth, height, width) of the inputs, each a multiple of `patch`.
      channels: of the inputs.
      outputs: classes.
      mixer: "neighborhood", "attention" or "cnn".
      width, depth: channels and blocks of the model.
      heads: of attention; width / heads is a multiple of twice the number of axes.
      window: side of the neighborhood, or of the convolution, in patches.
      dilation: of the neighborhoods, one for each block in turn.
      patch: side of a patch.
      mlp_ratio: hidden width of the MLP over the width.
      dropout: of the residual branches.
      positions: learn an embedding of the positions, beside what the mixer knows of them. Without,
        the model is equivariant to shifts, but for the borders, until the mean.
    """

    shape: tuple[int, ...]
    channels: int = 1
    outputs: int = 10
    mixer: Literal["neighborhood", "attention", "cnn"] = "neighborhood"
    width: int = 64
    depth: int = 4
    heads: int = 4
    window: int = 5
    dilation: tuple[int, ...] = (1,)
    patch: int = 2
    mlp_ratio: int = 2
    dropout: float = 0.0
    positions: bool = False

    def __post_init__(self) -> None:
        at_least(1, channels=self.channels, outputs=self.outputs, width=self.width)
        at_least(1, depth=self.depth, heads=self.heads, patch=self.patch, mlp_ratio=self.mlp_ratio)
        at_least(2, window=self.window)
        one_of(("neighborhood", "attention", "cnn"), mixer=self.mixer)
        probability(dropout=self.dropout)
        if len(self.shape) not in (2, 3) or any(side % self.patch for side in self.shape):
            raise ValueError(
                f"shape is {self.shape}; accepted are two or three sides that are multiples of "
                f"patch = {self.patch}"
            )
        if not self.dilation:
            raise ValueError("dilation is empty; accepted is one number a block, in turn")
        at_least(1, **{f"dilation[{i}]": d for i, d in enumerate(self.dilation)})
        axes = len(self.shape)
        if self.width % self.heads or self.width // self.heads % (2 * axes):
            raise ValueError(
                f"heads is {self.heads}; accepted with width {self.width} and {axes} axes is a "
                f"divisor that leaves a multiple of {2 * axes}"
            )

    def limit(self, *, samples: int = 64) -> KernelFn:
        """kernel_fn(x1, x2, get, ...) of the model as its width grows; x are (N, *shape, channels).

        NNGP: the covariance of logits at the start. NTK: of the parameters with a random start, in
        the NTK parametrisation. Dropout is off. Heads of attention keep width / heads channels, and
        grow in number.

        Args:
          samples: draws in each block, of queries and keys or of the convolution's taps; errors
            fall as samples^-1/2.

        Raises:
          ValueError: samples is below 1; when called, a window that does not fit.
        """
        at_least(1, samples=samples)
        return image_limit(self, samples=samples)


class FullAttention(nn.Module):
    """Multi-head attention of every position to every other, any number of axes."""

    features: int
    heads: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch *space features"]
    ) -> Float[Array, "batch *space features"]:
        qkv = nn.Dense(3 * self.features, name="qkv")(x)
        qkv = qkv.reshape(*x.shape[:-1], 3 * self.heads, self.features // self.heads)
        q, k, v = jnp.split(qkv, 3, axis=-2)
        flat = (len(x), prod(x.shape[1:-1]), self.heads, self.features // self.heads)
        q, k, v = (part.reshape(flat) for part in (axial_rotary(q), axial_rotary(k), v))
        y = jax.nn.dot_product_attention(q, k, v)
        return nn.Dense(self.features, name="out")(y.reshape(x.shape))


class DepthwiseConv(nn.Module):
    """A convolution of each channel with a window of taps, then a mixing of channels."""

    features: int
    window: int
    axes: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch *space features"]
    ) -> Float[Array, "batch *space features"]:
        window = (self.window,) * self.axes
        x = nn.Conv(self.features, window, feature_group_count=self.features, name="taps")(x)
        return nn.Dense(self.features, name="out")(nn.gelu(x))


class ImageModel(nn.Module):
    """Patches, blocks, norm, mean, head."""

    config: ImageConfig

    @nn.compact
    def __call__(
        self, inputs: Float[Array, "batch *space channels"], deterministic: bool = True
    ) -> Float[Array, "batch outputs"]:
        config = self.config
        patch = (config.patch,) * len(config.shape)
        x = nn.Conv(config.width, patch, patch, padding="VALID", name="patches")(inputs)
        if config.positions:
            x = x + self.param("positions", nn.initializers.normal(0.5), x.shape[1:])
        for i in range(config.depth):
            y = self._mixer(i)(nn.RMSNorm(name=f"mixer_norm_{i}")(x))
            x = x + nn.Dropout(config.dropout)(y, deterministic=deterministic)
            h = nn.RMSNorm(name=f"mlp_norm_{i}")(x)
            h = nn.gelu(nn.Dense(config.mlp_ratio * config.width, name=f"up_{i}")(h))
            h = nn.Dense(config.width, name=f"down_{i}")(h)
            x = x + nn.Dropout(config.dropout)(h, deterministic=deterministic)
        x = nn.RMSNorm(name="norm")(x)
        return nn.Dense(config.outputs, name="head")(x.mean(axis=range(1, x.ndim - 1)))

    @nn.nowrap
    def _mixer(self, i: int) -> nn.Module:
        config = self.config
        name, axes = f"mixer_{i}", len(config.shape)
        if config.mixer == "attention":
            return FullAttention(config.width, config.heads, name=name)
        if config.mixer == "cnn":
            return DepthwiseConv(config.width, config.window, axes, name=name)
        layer = NeighborhoodAttention2D if axes == 2 else NeighborhoodAttention3D
        dilation = config.dilation[i % len(config.dilation)]
        return layer(
            config.width, config.heads, config.window, dilation=dilation, rotary=True, name=name
        )


def image_model(config: ImageConfig) -> Model:
    """The classifier as pure functions: (batch, *shape, channels) -> logits (batch, outputs).

    Raises (at a call):
      ValueError: the inputs have another shape.
    """
    module = ImageModel(config)
    shape = (*config.shape, config.channels)

    def init(key: jax.Array) -> Params:
        return module.init(key, jnp.zeros((1, *shape)))["params"]

    def apply(params: Params, inputs: jax.Array, key: jax.Array | None = None) -> jax.Array:
        if inputs.shape[1:] != shape:
            raise ValueError(f"inputs has shape {inputs.shape}; this model takes (batch, *{shape})")
        rngs = {} if key is None else {"dropout": key}
        return module.apply(  # pyright: ignore[reportReturnType]
            {"params": params}, inputs, key is None, rngs=rngs
        )

    return Model(init, apply)
