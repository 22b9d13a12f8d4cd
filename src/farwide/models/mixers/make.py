"""A mixer from its settings, and settings from a name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import flax.linen as nn

from farwide.models.filters import S4D, Hyena, SGConv, Squash
from farwide.models.mixers.attention import Attention, AttentionMixer
from farwide.models.mixers.cnn import Cnn, CnnMixer
from farwide.models.mixers.conv import Conv, ConvMixer
from farwide.models.mixers.gated import Gated, GatedMixer
from farwide.models.mixers.token_mlp import TokenMlp, TokenMlpMixer
from farwide.validate import one_of

MixerConfig = Conv | Gated | Attention | Cnn | TokenMlp

MIXERS: Mapping[str, Callable[[], MixerConfig]] = MappingProxyType(
    {
        "long_conv": lambda: Conv(Squash()),
        "sgconv": lambda: Conv(SGConv()),
        "s4d": lambda: Conv(S4D()),
        "butterfly": lambda: Conv(Squash(), butterfly=True),
        "gated_long_conv": lambda: Gated(SGConv()),
        "h3": lambda: Gated(S4D(), short_taps=4, short="keys"),
        "hyena": lambda: Gated(Hyena()),
        "neighborhood": lambda: Attention(window=16),
        "attention": Attention,
        "cnn": Cnn,
        "mlp": TokenMlp,
    }
)
"""The published architectures by name."""


def has_causal_form(config: MixerConfig) -> bool:
    """Whether a position can be kept from seeing later ones.

    A dense map over positions and a learned transform look ahead.
    """
    return not (isinstance(config, TokenMlp) or (isinstance(config, Conv) and config.butterfly))


def mixer(name: str) -> MixerConfig:
    """The settings of a published architecture.

    Raises:
      ValueError: no mixer has that name.
    """
    one_of(tuple(MIXERS), name=name)
    return MIXERS[name]()


def make_mixer(
    config: MixerConfig,
    width: int,
    length: int,
    *,
    causal: bool,
    dropout: float = 0.0,
    name: str | None = None,
) -> nn.Module:
    """The Linen module of `config`.

    Raises:
      ValueError: it has no causal form and `causal` is True.
      TypeError: config is no mixer's settings.
    """
    kinds = {
        Conv: ConvMixer,
        Gated: GatedMixer,
        Attention: AttentionMixer,
        Cnn: CnnMixer,
        TokenMlp: TokenMlpMixer,
    }
    if type(config) not in kinds:
        raise TypeError(f"mixer is {config!r}; accepted are {', '.join(k.__name__ for k in kinds)}")
    if causal and not has_causal_form(config):
        raise ValueError(f"causal is True; accepted with {config} is False: it looks ahead")
    return kinds[type(config)](config, width, length, causal, dropout, name=name)
