"""The XLA path of neighborhood attention lowers for CUDA and TPU, forward and backward."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from kernels_pallas import neighborhood_attention

pytestmark = pytest.mark.lower


def attend(q, k, v, keys, values, bias, mask):
    return neighborhood_attention(
        q, k, v, window=(3, 4), dilation=(2, 1), stride=(1, 2), causal=(True, False), bias=bias,
        additional_keys=keys, additional_values=values, mask=mask, return_lse=True,
    )  # fmt: skip


def slopes(*operands):
    def total(*a):
        out, lse = attend(*a, operands[-1])
        return out.astype(jnp.float32).sum() + lse.sum()

    return jax.grad(total, argnums=tuple(range(6)))(*operands[:-1])


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("function", [attend, slopes], ids=["forward", "backward"])
def test_lowers(platform, dtype, function):
    def array(*shape, dtype=dtype):
        return jax.ShapeDtypeStruct(shape, dtype)

    q, k, v = array(2, 9, 8, 4, 16), array(2, 9, 8, 2, 16), array(2, 9, 8, 2, 8)
    extra = array(2, 3, 2, 16), array(2, 3, 2, 8)
    bias, mask = array(4, 5, 7, dtype="float32"), array(2, 9, 8, dtype="bool")
    exported = jax.export.export(jax.jit(function), platforms=[platform])(
        q, k, v, *extra, bias, mask
    )
    assert exported.platforms == (platform,)
    assert "stablehlo.while" in exported.mlir_module()
