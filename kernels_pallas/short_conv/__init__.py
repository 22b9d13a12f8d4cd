"""Depthwise convolution with few taps."""

from __future__ import annotations

from kernels_pallas.short_conv.api import short_conv

__all__ = ["short_conv"]
