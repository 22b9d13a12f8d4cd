"""Hyena taps: a small sine network of the position, times a decaying window.

    k[c, t] = f(z(t))[c] * (exp(-t |delta_c|) + shift),    z(t) = [t, cos(w_j t), sin(w_j t)]

with t from 0 to 1 over the length. Poli et al. (2023), "Hyena Hierarchy", section 3.3 and its
appendix: the window's rates are spread so that its first channel has decayed to 1% at 1.5 and the
last at 0.3 of the length.
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
class Hyena:
    """Settings of the Hyena filter.

    Attributes:
      bands: frequencies of the positional features, of which there are 2 bands + 1.
      hidden: width of the sine network ("filter order" in the paper, 64).
      layers: hidden layers of the sine network.
      frequency: w of sin(w x), learned, the same start for every unit.
      slow, fast: fractions of the length after which the window of the slowest and of the fastest
        channel has fallen to 1%.
      shift: what the window never falls below.
    """

    bands: int = 1
    hidden: int = 64
    layers: int = 2
    frequency: float = 10.0
    slow: float = 1.5
    fast: float = 0.3
    shift: float = 0.05

    def __post_init__(self) -> None:
        at_least(1, bands=self.bands, hidden=self.hidden, layers=self.layers)
        if not 0 < self.fast <= self.slow:
            raise ValueError(f"fast is {self.fast}; accepted is 0 < fast <= slow = {self.slow}")

    def moments(self, channels: int, length: int) -> tap_moments.Moments:
        """Second moments of the taps at initialisation, for `hidden` to infinity.

        `theory.taps.hyena` has the formulas; a finite `hidden` is off by O(1 / hidden).
        """
        return tap_moments.hyena(
            length,
            channels,
            bands=self.bands,
            layers=self.layers,
            frequency=self.frequency,
            slow=self.slow,
            fast=self.fast,
            shift=self.shift,
        )


def positional_features(length: int, bands: int) -> Float[Array, "length 2*bands+1"]:
    """[t, cos(w_j n), -sin(w_j n)]: t in [0, 1], w_j from 1e-4 to bands - 1 times 2 pi / L."""
    t = jnp.linspace(0.0, 1.0, length)[:, None]
    turns = 2 * math.pi * jnp.arange(length)[:, None] / length
    angles = turns * jnp.linspace(1e-4, max(bands - 1, 1e-4), bands)
    return jnp.concatenate([t, jnp.cos(angles), -jnp.sin(angles)], axis=-1)


def window_rates(channels: int, slow: float, fast: float) -> Float[Array, "channels"]:
    """Rates of the window: -ln(0.01) / fraction, evenly spaced from the slowest to the fastest."""
    return jnp.linspace(-math.log(1e-2) / slow, -math.log(1e-2) / fast, channels)


class HyenaFilter(nn.Module):
    """Taps of the sine network times the window, (channels, length), of unit norm at the start.

    The norm at initialisation is divided out by the scale of the last layer: the published code
    leaves it free, which makes the gain of an operator grow with its length.
    """

    channels: int
    length: int
    config: Hyena = Hyena()

    @nn.compact
    def __call__(self, deterministic: bool = True) -> Float[Array, "channels length"]:
        del deterministic  # nothing here is random
        config = self.config
        rates = window_rates(self.channels, config.slow, config.fast)
        t = jnp.linspace(0.0, 1.0, self.length)
        window = jnp.exp(-rates[:, None] * t) + config.shift
        frequency = self.param(
            "frequency", nn.initializers.constant(config.frequency), (config.hidden,)
        )
        h = positional_features(self.length, config.bands)
        for i in range(config.layers):
            h = jnp.sin(frequency * nn.Dense(config.hidden, name=f"sine_{i}")(h))

        def unit_norm(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
            raw = jax.random.normal(key, shape)
            return raw / jnp.linalg.norm(window * (h @ raw).T, axis=-1)

        weights = self.param("out", unit_norm, (config.hidden, self.channels))
        return window * (h @ weights).T
