"""Models: Linen inside, two pure functions outside."""

from farwide.models.cost import training_flops_per_token
from farwide.models.filters import SGConvFilter, SquashedFilter, sgconv_taps, squash
from farwide.models.long_conv_lm import LongConvLM, LongConvLMConfig, long_conv_lm
from farwide.models.model import Model, ParameterCount, Params, count_parameters

__all__ = [
    "LongConvLM",
    "LongConvLMConfig",
    "Model",
    "ParameterCount",
    "Params",
    "SGConvFilter",
    "SquashedFilter",
    "count_parameters",
    "long_conv_lm",
    "sgconv_taps",
    "squash",
    "training_flops_per_token",
]
