"""The Mosaic GPU kernels lower for CUDA on a machine without a GPU: every size, both directions.

Lowering ends with Mosaic's own program; neither ptxas nor a device has seen it.
"""

from __future__ import annotations

import jax
import pytest

from kernels_pallas.long_conv import mosaic_gpu
from kernels_pallas.long_conv.kernel import Static
from kernels_pallas.long_conv.mosaic_gpu_plan import SIZES
from tests.lowering.hopper import lowered

pytestmark = pytest.mark.lower

LONG = [pytest.param(size, marks=pytest.mark.slow) for size in SIZES if size > 4096]


@pytest.mark.parametrize("gated", [True, False], ids=["gated", "bare"])
@pytest.mark.parametrize("size", [size for size in SIZES if size <= 4096] + LONG)
def test_lowers(size, gated):
    static = Static(8, 2, size, size, True, "bfloat16")
    signal = jax.ShapeDtypeStruct((8, 2, size), "bfloat16")
    spectrum = jax.ShapeDtypeStruct((2, size), "float32")
    gate = signal if gated else None
    skip = jax.ShapeDtypeStruct((2,), "float32") if gated else None
    operands = signal, spectrum, spectrum, skip, gate, gate
    launches = 1 if size <= 4096 else 3 if gated else 2

    forward = lowered(lambda *a: mosaic_gpu.convolve(static, *a), *operands)
    assert forward.count("stablehlo.custom_call @mosaic_gpu") == 1
    backward = lowered(lambda *a: mosaic_gpu.adjoint(static, *a), *operands, signal)
    assert backward.count("stablehlo.custom_call @mosaic_gpu") == launches


def test_float16_and_circular_lower():
    static = Static(4, 2, 1024, 1024, False, "float16")
    signal = jax.ShapeDtypeStruct((4, 2, 1024), "float16")
    spectrum = jax.ShapeDtypeStruct((2, 1024), "float32")
    operands = signal, spectrum, spectrum, None, None, signal
    assert "mosaic_gpu" in lowered(lambda *a: mosaic_gpu.convolve(static, *a), *operands)
