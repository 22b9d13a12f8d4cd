"""Models: Linen inside, two pure functions outside."""

from farwide.models.activations import activations
from farwide.models.cost import training_flops_per_token
from farwide.models.filters import SGConvFilter, SquashedFilter, sgconv_taps, squash
from farwide.models.long_conv_lm import LongConvLM, LongConvLMConfig, long_conv_lm
from farwide.models.mlp import MLP, MLPConfig, mlp
from farwide.models.model import Model, ParameterCount, Params, count_parameters
from farwide.models.neighborhood_attention import (
    NeighborhoodAttention1D,
    NeighborhoodAttention2D,
    NeighborhoodAttention3D,
)
from farwide.models.rotary import axial_rotary

__all__ = [
    "MLP",
    "LongConvLM",
    "LongConvLMConfig",
    "MLPConfig",
    "Model",
    "NeighborhoodAttention1D",
    "NeighborhoodAttention2D",
    "NeighborhoodAttention3D",
    "ParameterCount",
    "Params",
    "SGConvFilter",
    "SquashedFilter",
    "activations",
    "axial_rotary",
    "count_parameters",
    "long_conv_lm",
    "mlp",
    "sgconv_taps",
    "squash",
    "training_flops_per_token",
]
