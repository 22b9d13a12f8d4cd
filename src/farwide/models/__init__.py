"""Models: Linen inside, two pure functions outside."""

from farwide.models.activations import activations
from farwide.models.butterfly import ButterflyConv, LearnedTransform
from farwide.models.cost import training_flops_per_image, training_flops_per_token
from farwide.models.filters import (
    S4D,
    FilterConfig,
    Hyena,
    HyenaFilter,
    S4DFilter,
    SGConv,
    SGConvFilter,
    Squash,
    SquashedFilter,
    sgconv_taps,
    squash,
)
from farwide.models.generator import Generator, generate
from farwide.models.images import ImageConfig, image_model
from farwide.models.long_conv_lm import (
    LongConvLMConfig,
    long_conv_lm,
    long_conv_lm_generator,
)
from farwide.models.mixers import (
    MIXERS,
    Attention,
    Cnn,
    Conv,
    Gated,
    MixerConfig,
    TokenMlp,
    mixer,
)
from farwide.models.mlp import MLP, MLPConfig, mlp
from farwide.models.model import (
    Apply,
    Model,
    ParameterCount,
    Params,
    count_parameters,
    dense_kernels,
)
from farwide.models.neighborhood_attention import (
    NeighborhoodAttention1D,
    NeighborhoodAttention2D,
    NeighborhoodAttention3D,
)
from farwide.models.online_conv import OnlineConv, start_online_conv, step_online_conv
from farwide.models.reshape import (
    reshape_image_model,
    reshape_moments,
    resize_patches,
    widen_mlp,
)
from farwide.models.rotary import axial_rotary
from farwide.models.sequence import SequenceConfig, sequence_generator, sequence_model
from farwide.models.wide import (
    OPERATORS,
    WideAttention,
    WideCnn,
    WideConfig,
    WideFilter,
    WideLongConv,
    WideMlp,
    wide_model,
)

__all__ = [
    "MIXERS",
    "MLP",
    "OPERATORS",
    "S4D",
    "Apply",
    "Attention",
    "ButterflyConv",
    "Cnn",
    "Conv",
    "FilterConfig",
    "Gated",
    "Generator",
    "Hyena",
    "HyenaFilter",
    "ImageConfig",
    "LearnedTransform",
    "LongConvLMConfig",
    "MLPConfig",
    "MixerConfig",
    "Model",
    "NeighborhoodAttention1D",
    "NeighborhoodAttention2D",
    "NeighborhoodAttention3D",
    "OnlineConv",
    "ParameterCount",
    "Params",
    "S4DFilter",
    "SGConv",
    "SGConvFilter",
    "SequenceConfig",
    "Squash",
    "SquashedFilter",
    "TokenMlp",
    "WideAttention",
    "WideCnn",
    "WideConfig",
    "WideFilter",
    "WideLongConv",
    "WideMlp",
    "activations",
    "axial_rotary",
    "count_parameters",
    "dense_kernels",
    "generate",
    "image_model",
    "long_conv_lm",
    "long_conv_lm_generator",
    "mixer",
    "mlp",
    "reshape_image_model",
    "reshape_moments",
    "resize_patches",
    "sequence_generator",
    "sequence_model",
    "sgconv_taps",
    "squash",
    "start_online_conv",
    "step_online_conv",
    "training_flops_per_image",
    "training_flops_per_token",
    "wide_model",
    "widen_mlp",
]
