"""Token mixers: Linen modules over (batch, length, width), and the same one position at a time.

Each has `__call__(x, deterministic)`, and, where it can be causal, `start(batch) -> state` and
`step(x[:, t], state) -> (y[:, t], state)`, which give what `__call__` gives at every position.
"""

from farwide.models.mixers.attention import Attention, AttentionMixer
from farwide.models.mixers.cnn import Cnn, CnnMixer
from farwide.models.mixers.conv import Conv, ConvMixer
from farwide.models.mixers.gated import Gated, GatedMixer
from farwide.models.mixers.make import MIXERS, MixerConfig, has_causal_form, make_mixer, mixer
from farwide.models.mixers.token_mlp import TokenMlp, TokenMlpMixer

__all__ = [
    "MIXERS",
    "Attention",
    "AttentionMixer",
    "Cnn",
    "CnnMixer",
    "Conv",
    "ConvMixer",
    "Gated",
    "GatedMixer",
    "MixerConfig",
    "TokenMlp",
    "TokenMlpMixer",
    "has_causal_form",
    "make_mixer",
    "mixer",
]
