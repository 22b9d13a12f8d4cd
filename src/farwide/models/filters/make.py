"""A filter module from its settings."""

from __future__ import annotations

import flax.linen as nn

from farwide.models.filters.hyena import Hyena, HyenaFilter
from farwide.models.filters.s4d import S4D, S4DFilter
from farwide.models.filters.sgconv import SGConv, SGConvFilter
from farwide.models.filters.squashed import Squash, SquashedFilter

FilterConfig = Squash | SGConv | S4D | Hyena


def make_filter(
    config: FilterConfig, channels: int, length: int, name: str | None = None
) -> nn.Module:
    """The Linen module of `config`; calling it gives taps (channels, length).

    Raises:
      TypeError: config is none of Squash, SGConv, S4D, Hyena.
    """
    if isinstance(config, SGConv):
        return SGConvFilter(channels, length, config.scale_dim, config.decay, name=name)
    if isinstance(config, Squash):
        return SquashedFilter(
            channels,
            length,
            config.threshold,
            config.scale,
            config.init,
            config.smooth,
            config.dropout,
            name=name,
        )
    if isinstance(config, S4D):
        return S4DFilter(channels, length, config, name=name)
    if isinstance(config, Hyena):
        return HyenaFilter(channels, length, config, name=name)
    raise TypeError(f"filter is {config!r}; accepted are Squash, SGConv, S4D and Hyena")
