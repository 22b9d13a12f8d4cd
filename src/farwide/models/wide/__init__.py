"""Models that have an exact infinite-width limit: a network and its kernel from one description."""

from farwide.models.wide.config import WideConfig, wide_model
from farwide.models.wide.operators import (
    OPERATORS,
    WideAttention,
    WideCnn,
    WideFilter,
    WideLongConv,
    WideMlp,
    WideOperator,
    wide_operator,
)

__all__ = [
    "OPERATORS",
    "WideAttention",
    "WideCnn",
    "WideConfig",
    "WideFilter",
    "WideLongConv",
    "WideMlp",
    "WideOperator",
    "wide_model",
    "wide_operator",
]
