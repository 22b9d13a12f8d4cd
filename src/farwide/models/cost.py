"""How many floating-point operations training costs: a token of text, an image."""

from __future__ import annotations

import math

from farwide.models.images import ImageConfig
from farwide.models.long_conv_lm import VOCABULARY, LongConvLMConfig


def training_flops_per_token(config: LongConvLMConfig) -> float:
    """FLOPs of one training token: 3 times the forward pass (backward counts double).

    Forward, for each token:
    - matrix products: 2 FLOPs a weight, of `in_proj` (3 d²), `out_proj` (d²), the MLP (2 r d²)
      in each block and of the tied output head (256 d);
    - short convolution: 2 FLOPs a tap on 3 d channels;
    - long convolution: two complex FFTs of the sequence length T for each channel and sequence
      (half-length form, the filter's own transform shared by the batch), 5 T log2 T each, and the
      product: d (10 log2 T + 6).
    Norms, gates and activations are left out (under 5% at width 16, less above).
    """
    d, length = config.width, config.sequence_length
    matrices = 2 * d * d * (4 + 2 * config.mlp_ratio)
    short = 2 * config.short_taps * 3 * d
    long = d * (10 * math.log2(length) + 6)
    forward = config.depth * (matrices + short + long) + 2 * VOCABULARY * d
    return 3.0 * forward


def training_flops_per_image(config: ImageConfig) -> float:
    """FLOPs of one training image: 3 times the forward pass (backward counts double).

    Forward, with d the width, T patches of p pixels and c channels, and r the MLP's ratio:
    - patch embedding: 2 p c d a patch; head: 2 d outputs;
    - in each block and for each patch: the MLP, 4 r d²; attention, 8 d² for its matrices and 4 d
      for each key that a query sees (T, or the window's); a convolution, 2 d a tap and 2 d².
    Norms, softmax and activations are left out. Windows count in full at the edges.
    """
    d, axes = config.width, len(config.shape)
    pixels = config.patch**axes
    patches = math.prod(config.shape) // pixels
    if config.mixer == "cnn":
        mixing = 2 * d * config.window**axes + 2 * d * d
    else:
        keys = patches if config.mixer == "attention" else min(config.window**axes, patches)
        mixing = 8 * d * d + 4 * d * keys
    block = mixing + 4 * config.mlp_ratio * d * d
    embedding = 2 * pixels * config.channels * d
    return 3.0 * (patches * (embedding + config.depth * block) + 2 * d * config.outputs)
