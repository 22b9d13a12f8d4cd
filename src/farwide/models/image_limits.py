"""Infinite-width limits of the classifiers of images and volumes.

What farwide/models/limits.py says of all models holds. The convolutions have one window of taps for
each channel and GELU at once, so that their limits are averages over taps as the model draws them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from farwide.models.limits import attention, mlp_branch, residual
from theory import stax
from theory.stax.layer import KernelFn

if TYPE_CHECKING:
    from farwide.models.images import ImageConfig


def image_limit(config: ImageConfig, *, samples: int) -> KernelFn:
    """The limit of an image model; `ImageConfig.limit` describes it."""
    patch = (config.patch,) * len(config.shape)
    start = [stax.Conv(1, patch, patch)]
    if config.positions:
        start.append(stax.AddPositions(0.5))
    blocks = [
        layer
        for i in range(config.depth)
        for layer in (residual(stax.LayerNorm(), _mixer(config, samples, i)), mlp_branch())
    ]
    end = (stax.LayerNorm(), stax.GlobalAvgPool(), stax.Dense(1))
    return stax.serial(*start, *blocks, *end).kernel_fn


def _mixer(config: ImageConfig, samples: int, i: int) -> stax.Layer:
    """`ImageModel._mixer` of block i."""
    if config.mixer == "cnn":
        return stax.serial(_bent(config, samples, i), stax.Dense(1))
    window = tuple(side // config.patch for side in config.shape)
    dilation = 1
    if config.mixer == "neighborhood":
        window = (config.window,) * len(config.shape)
        dilation = config.dilation[i % len(config.dilation)]
    head_dim = config.width // config.heads
    return attention(window, dilation, False, head_dim=head_dim, samples=samples, seed=i)


def _bent(config: ImageConfig, samples: int, seed: int) -> stax.Layer:
    """GELU of a depthwise convolution whose taps are those of `flax.linen.Conv`."""
    window, axes = config.window, len(config.shape)
    half = window // 2  # lags -half .. (window - 1) // 2: a correlation with padding "SAME"
    to_middle = [(0, 0), *((0, 2 * half + 1 - window),) * axes]  # lag 0 stands in the middle
    sides = (side // config.patch for side in config.shape)
    within = (slice(None), *(slice(max(half - n + 1, 0), half + n) for n in sides))

    def init(rng: jax.Array, channels: int, _) -> jax.Array:
        taps = jax.nn.initializers.lecun_normal()(rng, (*(window,) * axes, 1, channels))
        return jnp.pad(jnp.moveaxis(taps[..., 0, :], -1, 0), to_middle)

    variance = np.pad(np.full((window,) * axes, window**-axes), to_middle[1:])
    return stax.LongConvActivation(
        stax.Gelu(),
        variance,
        causal=False,
        taps=(init, lambda taps: taps[within]),
        samples=samples,
        seed=seed,
    )
