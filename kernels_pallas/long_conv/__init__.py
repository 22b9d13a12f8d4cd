"""Depthwise long convolution: causal, circular or bidirectional, with gates and a skip."""

from __future__ import annotations

from kernels_pallas.long_conv.api import (
    long_conv,
    long_conv_sparse_spectrum,
    long_conv_spectrum,
)
from kernels_pallas.long_conv.cost import expected_bytes, expected_flops
from kernels_pallas.long_conv.sequence_parallel import long_conv_sequence_parallel
from kernels_pallas.long_conv.sharded import long_conv_sharded
from kernels_pallas.long_conv.spectrum import Spectrum

__all__ = [
    "Spectrum",
    "expected_bytes",
    "expected_flops",
    "long_conv",
    "long_conv_sequence_parallel",
    "long_conv_sharded",
    "long_conv_sparse_spectrum",
    "long_conv_spectrum",
]
