"""Networks as triples (init_fn, apply_fn, kernel_fn): finite, and infinitely wide."""

from theory.stax.add_positions import AddPositions
from theory.stax.aggregate import Aggregate, AggregateImplementation
from theory.stax.assume_gaussian import AssumeGaussian
from theory.stax.attention import AttentionMechanism, GlobalSelfAttention
from theory.stax.branching import FanInConcat, FanInProd, FanInSum, FanOut
from theory.stax.combinators import parallel, repeat, serial
from theory.stax.conv import Conv
from theory.stax.conv_local import ConvLocal
from theory.stax.conv_transpose import ConvTranspose
from theory.stax.custom import layer, requires, supports_masking
from theory.stax.dense import Dense
from theory.stax.dot_general import DotGeneral
from theory.stax.dropout import Dropout
from theory.stax.elementwise import (
    ABRelu,
    Abs,
    Cos,
    Elementwise,
    ElementwiseNumerical,
    Erf,
    Exp,
    ExpNormalized,
    Gabor,
    Gaussian,
    Gelu,
    Hermite,
    LeakyRelu,
    Monomial,
    Polynomial,
    Rbf,
    RectifiedMonomial,
    Relu,
    Sigmoid_like,
    Sign,
    Silu,
    Sin,
    Softplus,
    Swish,
    Tanh,
)
from theory.stax.flatten import Flatten
from theory.stax.gate import Gate
from theory.stax.global_pool import GlobalAvgPool, GlobalSumPool
from theory.stax.identity import Identity
from theory.stax.index import Index, LastPosition, Slice
from theory.stax.layer import Layer
from theory.stax.layer_norm import LayerNorm
from theory.stax.long_conv import LongConv
from theory.stax.long_conv_activation import LongConvActivation
from theory.stax.masked import MaskedArray, unmask_fn
from theory.stax.neighborhood import NeighborhoodAttention
from theory.stax.padding import Padding
from theory.stax.pool import AvgPool, SumPool
from theory.stax.positions import PositionalEmbedding
from theory.stax.requirements import Bool, Diagonal
from theory.stax.resize import ImageResize
from theory.stax.seed_average import Estimate, seed_average

__all__ = [
    "ABRelu",
    "Abs",
    "AddPositions",
    "Aggregate",
    "AggregateImplementation",
    "AssumeGaussian",
    "AttentionMechanism",
    "AvgPool",
    "Bool",
    "Conv",
    "ConvLocal",
    "ConvTranspose",
    "Cos",
    "Dense",
    "Diagonal",
    "DotGeneral",
    "Dropout",
    "Elementwise",
    "ElementwiseNumerical",
    "Erf",
    "Estimate",
    "Exp",
    "ExpNormalized",
    "FanInConcat",
    "FanInProd",
    "FanInSum",
    "FanOut",
    "Flatten",
    "Gabor",
    "Gate",
    "Gaussian",
    "Gelu",
    "GlobalAvgPool",
    "GlobalSelfAttention",
    "GlobalSumPool",
    "Hermite",
    "Identity",
    "ImageResize",
    "Index",
    "LastPosition",
    "Layer",
    "LayerNorm",
    "LeakyRelu",
    "LongConv",
    "LongConvActivation",
    "MaskedArray",
    "Monomial",
    "NeighborhoodAttention",
    "Padding",
    "Polynomial",
    "PositionalEmbedding",
    "Rbf",
    "RectifiedMonomial",
    "Relu",
    "Sigmoid_like",
    "Sign",
    "Silu",
    "Sin",
    "Slice",
    "Softplus",
    "SumPool",
    "Swish",
    "Tanh",
    "layer",
    "parallel",
    "repeat",
    "requires",
    "seed_average",
    "serial",
    "supports_masking",
    "unmask_fn",
]
