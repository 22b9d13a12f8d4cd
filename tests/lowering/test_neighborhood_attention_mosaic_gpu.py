"""The Mosaic GPU kernels of neighborhood attention lower for CUDA on a machine without a GPU.

Lowering ends with Mosaic's own program; neither ptxas nor a device has seen it.
"""

from __future__ import annotations

import math

import jax
import pytest

from kernels_pallas.neighborhood_attention import mosaic_gpu
from kernels_pallas.neighborhood_attention import mosaic_gpu_plan as plans
from kernels_pallas.neighborhood_attention.api import Call
from kernels_pallas.neighborhood_attention.kernel import Static
from kernels_pallas.neighborhood_attention.mosaic_gpu_plan import Plan
from tests.lowering.hopper import lowered

pytestmark = pytest.mark.lower

SHAPES = {
    "1-D": Static(1, (4096,), 4, 4, (129,), (1,), (1,), (False,), 128, 128, 0.1, "bfloat16"),
    "1-D causal, dilated, ragged": Static(
        2, (1000,), 4, 2, (65,), (3,), (2,), (True,), 64, 32, 0.1, "float16"
    ),
    "2-D": Static(
        1, (56, 56), 4, 4, (7, 13), (1, 1), (1, 1), (False, False), 32, 32, 0.1, "bfloat16"
    ),
    "2-D strided": Static(
        1, (256, 256), 24, 24, (80, 80), (1, 1), (16, 16), (False, False), 128, 128, 0.1, "bfloat16"
    ),
    "2-D dilated, grouped heads": Static(
        2, (56, 57), 8, 2, (7, 7), (2, 3), (1, 2), (True, False), 16, 64, -0.1, "float16"
    ),
    "3-D": Static(
        1, (30, 48, 80), 2, 2, (18, 24, 24), (1, 1, 1), (1, 1, 1), (False,) * 3, 128, 128, 0.1,
        "bfloat16",
    ),
    "3-D dilated, causal": Static(
        2, (8, 28, 28), 4, 1, (3, 7, 7), (1, 1, 2), (2, 1, 1), (True, False, False), 64, 64, 0.1,
        "bfloat16",
    ),
}  # fmt: skip
QUICK = ("1-D", "2-D dilated, grouped heads")
NAMES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SHAPES]


def operands(static: Static, masked: bool):
    """q, k, v, the mask or None; lse, delta, do."""
    tokens = static.batch, *static.space
    q, k, v, do = (
        jax.ShapeDtypeStruct((*tokens, *tail), static.dtype)
        for tail in (
            (static.heads, static.head_dim),
            (static.kv_heads, static.head_dim),
            (static.kv_heads, static.value_dim),
            (static.heads, static.value_dim),
        )
    )
    number = jax.ShapeDtypeStruct((*tokens, static.heads), "float32")
    mask = jax.ShapeDtypeStruct(tokens, "bool") if masked else None
    return (q, k, v, mask), (number, number, do)


@pytest.mark.parametrize("name", NAMES)
def test_lowers(name):
    static, masked = SHAPES[name], "grouped" in name
    forward, backward = operands(static, masked)
    text = lowered(lambda *a: mosaic_gpu.attend(static, *a), *forward)
    assert text.count("stablehlo.custom_call @mosaic_gpu") == 1
    text = lowered(lambda *a: mosaic_gpu.adjoint(static, *a), *forward, *backward)
    assert text.count("stablehlo.custom_call @mosaic_gpu") == 2


@pytest.mark.slow
@pytest.mark.parametrize("warpgroups", [1, 2])
@pytest.mark.parametrize("block", [(64,), (8, 8), (2, 32), (2, 4, 8), (1, 4, 16)])
def test_every_cut_lowers(block, warpgroups):
    rank = len(block)
    static = Static(
        1, (64,) * rank, 2, 1, (9,) * rank, (1,) * rank, (1,) * rank, (False,) * rank, 64, 64, 0.1,
        "bfloat16",
    )  # fmt: skip
    assert math.prod(block) == plans.BLOCK
    plan = Plan(block, warpgroups, 2)
    forward, backward = operands(static, masked=True)
    lowered(lambda *a: mosaic_gpu.attend(static, *a, plan=plan), *forward)
    lowered(
        lambda *a: mosaic_gpu.adjoint(static, *a, plan=plan, inverse_plan=plan), *forward, *backward
    )


@pytest.mark.slow
def test_the_public_form_and_its_slopes_lower():
    call = Call(
        1, (20, 30), 4, 2, 20, 40, (5, 7), (1, 2), (1, 1), (False, True), 0.2, "bfloat16",
        additional=3, has_mask=True,
    )  # fmt: skip

    def tokens(heads, size, *space):
        return jax.ShapeDtypeStruct((1, *space, heads, size), "bfloat16")

    arrays = (
        *(tokens(4, 20, 20, 30), tokens(2, 20, 20, 30), tokens(2, 40, 20, 30)),
        *(tokens(2, 20, 3), tokens(2, 40, 3)),
    )
    mask = jax.ShapeDtypeStruct((1, 20, 30), "bool")

    def loss(q, k, v, keys, values, mask):
        out, lse = mosaic_gpu.forward(call, q, k, v, keys, values, mask, None)
        return out.astype("float32").sum() + lse.sum()

    text = lowered(jax.value_and_grad(loss, range(5)), *arrays, mask)
    assert text.count("stablehlo.custom_call @mosaic_gpu") == 3
