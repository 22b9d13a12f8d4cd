"""Depthwise long convolution: causal, circular or bidirectional, with gates and a skip."""

from __future__ import annotations

from kernels_pallas.long_conv.api import long_conv, long_conv_spectrum
from kernels_pallas.long_conv.spectrum import Spectrum

__all__ = ["Spectrum", "long_conv", "long_conv_spectrum"]
