"""Long-range operators for JAX: each a reference and faster implementations."""

from __future__ import annotations

from kernels_pallas.long_conv import (
    Spectrum,
    long_conv,
    long_conv_sequence_parallel,
    long_conv_sharded,
    long_conv_sparse_spectrum,
    long_conv_spectrum,
)
from kernels_pallas.neighborhood_attention import (
    merge_attentions,
    neighborhood_attention,
    neighborhood_attention_sharded,
    neighborhood_attention_spatial,
)
from kernels_pallas.short_conv import short_conv

__all__ = [
    "Spectrum",
    "long_conv",
    "long_conv_sequence_parallel",
    "long_conv_sharded",
    "long_conv_sparse_spectrum",
    "long_conv_spectrum",
    "merge_attentions",
    "neighborhood_attention",
    "neighborhood_attention_sharded",
    "neighborhood_attention_spatial",
    "short_conv",
]
