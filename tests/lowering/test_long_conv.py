"""The XLA path lowers for CUDA and TPU, forward and backward, on a machine that has neither."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from kernels_pallas import long_conv, short_conv

pytestmark = pytest.mark.lower


def gated(u, k, k_future, skip, gate):
    return long_conv(u, k, k_future=k_future, skip=skip, pre_gate=gate, post_gate=gate)


def slopes(*operands):
    return jax.grad(lambda *a: gated(*a).sum(), argnums=(0, 1, 2, 3, 4))(*operands)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("length", [255, 256, 4096])
@pytest.mark.parametrize("function", [gated, slopes], ids=["forward", "backward"])
def test_lowers(platform, length, function):
    f32 = jnp.float32
    signal = jax.ShapeDtypeStruct((2, 4, length), f32)
    taps = jax.ShapeDtypeStruct((4, length), f32)
    skip = jax.ShapeDtypeStruct((4,), f32)
    exported = jax.export.export(jax.jit(function), platforms=[platform])(
        signal, taps, taps, skip, signal
    )
    assert exported.platforms == (platform,)
    assert "stablehlo.fft" in exported.mlir_module()


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_blocks_of_channels_stay_on_the_cpu(platform):
    u = jax.ShapeDtypeStruct((8, 128, 4096), jnp.float32)
    k = jax.ShapeDtypeStruct((128, 4096), jnp.float32)
    for target, loops in ((platform, False), ("cpu", True)):
        text = jax.export.export(jax.jit(long_conv), platforms=[target])(u, k).mlir_module()
        assert ("stablehlo.while" in text) == loops


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_short_conv_lowers(platform):
    u = jax.ShapeDtypeStruct((2, 256, 8), jnp.float32)
    k = jax.ShapeDtypeStruct((8, 3), jnp.float32)

    def slope(u, k):
        return jax.grad(lambda *a: short_conv(*a, layout="BLC").sum(), argnums=(0, 1))(u, k)

    for function in (slope, lambda u, k: short_conv(u, k, layout="BLC")):
        exported = jax.export.export(jax.jit(function), platforms=[platform])(u, k)
        assert exported.platforms == (platform,)
