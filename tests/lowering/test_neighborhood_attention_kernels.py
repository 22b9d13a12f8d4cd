"""The Triton and TPU kernels lower, forward and backward, on a machine that has neither.

Lowering ends at Pallas' own code: no assembler and no TPU compiler runs here.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import pytest

from kernels_pallas import neighborhood_attention
from kernels_pallas.neighborhood_attention import mosaic_tpu, triton
from kernels_pallas.neighborhood_attention.kernel import Static

pytestmark = [
    pytest.mark.lower,
    pytest.mark.filterwarnings("ignore:The Pallas Triton backend is deprecated"),
]

PLATFORMS = {triton: "cuda", mosaic_tpu: "tpu"}
TARGETS = {"cuda": "__gpu$xla.gpu.triton", "tpu": "tpu_custom_call"}
BACKENDS = pytest.mark.parametrize("backend", PLATFORMS, ids=["triton", "mosaic_tpu"])
CALLS = {
    "1d": Static(1, (4096,), 4, 4, (129,), (1,), (1,), (False,), 64, 64, 0.1, "bfloat16"),
    "2d, wide, strided": Static(
        1, (256, 256), 24, 24, (80, 80), (1, 1), (16, 16), (False, False), 128, 128, 0.1, "bfloat16"
    ),
    "2d, grouped, dilated, odd head sizes": Static(
        2, (57, 56), 4, 2, (13, 12), (2, 1), (1, 3), (False, True), 80, 72, 0.0, "float32"
    ),
    "3d": Static(
        1, (8, 28, 28), 4, 1, (3, 7, 7), (1,) * 3, (1,) * 3, (False,) * 3, 32, 32, -1.0, "float16"
    ),
    "3d, wide": Static(
        1, (30, 48, 80), 2, 2, (18, 24, 24), (1,) * 3, (16, 8, 8), (False,) * 3, 128, 128, 0.1,
        "bfloat16",
    ),
    "smaller than a tile": Static(
        3, (2, 3), 1, 1, (2, 3), (1, 1), (1, 1), (False, False), 1, 3, 1.0, "float32"
    ),
}  # fmt: skip


def device(platform: str):
    """A context that names the device to lower for, where JAX asks for one; a mesh of one."""
    if jax.__version_info__ < (0, 11):
        return jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((1,), ("x",)))
    abstract = jax.sharding.AbstractDevice(
        device_kind="NVIDIA H100 80GB HBM3" if platform == "cuda" else "TPU v5e",
        num_cores=132 if platform == "cuda" else 1,
        platform="gpu" if platform == "cuda" else "tpu",
    )
    mesh = jax.sharding.AbstractMesh((1,), ("x",), abstract_device=abstract)
    return jax.sharding.use_abstract_mesh(mesh)


def shapes(static: Static, mask: bool) -> tuple[list, list]:
    """What `attend` takes, and what `adjoint` takes after that."""
    lead = (static.batch, *static.space)

    def signal(heads: int, features: int):
        return jax.ShapeDtypeStruct((*lead, heads, features), static.dtype)

    numbers = jax.ShapeDtypeStruct((*lead, static.heads), "float32")
    forward = [
        signal(static.heads, static.head_dim),
        signal(static.kv_heads, static.head_dim),
        signal(static.kv_heads, static.value_dim),
        jax.ShapeDtypeStruct(lead, bool) if mask else None,
    ]
    return forward, [numbers, numbers, signal(static.heads, static.value_dim)]


def lowered(backend, function, given: list) -> int:
    """How many kernels the lowered function holds."""
    platform = PLATFORMS[backend]
    target = TARGETS[platform]
    with device(platform):
        exported = jax.export.export(
            jax.jit(function),
            platforms=[platform],
            disabled_checks=[jax.export.DisabledSafetyCheck.custom_call(target)],
        )(*given)
    return exported.mlir_module().count(f"custom_call @{target}")


def kernels(backend, static: Static, mask: bool = False) -> tuple[int, int]:
    """How many kernels the lowered forward and backward passes hold."""
    forward, more = shapes(static, mask)
    return (
        lowered(backend, partial(backend.attend, static), forward),
        lowered(backend, partial(backend.adjoint, static), forward + more),
    )


@BACKENDS
@pytest.mark.parametrize("name", CALLS)
def test_forward_and_backward(name, backend):
    assert kernels(backend, CALLS[name]) == (1, 2)


@BACKENDS
@pytest.mark.parametrize("name", ["2d, grouped, dilated, odd head sizes", "3d"])
def test_with_a_mask(name, backend):
    assert kernels(backend, CALLS[name], mask=True) == (1, 2)


@BACKENDS
def test_under_x64(backend):
    with jax.enable_x64(True):
        assert kernels(backend, CALLS["2d, grouped, dilated, odd head sizes"], True) == (1, 2)


@BACKENDS
def test_under_vmap(backend):
    static = CALLS["1d"]._replace(space=(256,), batch=2)
    given = [
        None if a is None else jax.ShapeDtypeStruct((3, *a.shape), a.dtype)
        for a in shapes(static, False)[0]
    ]
    assert lowered(backend, jax.vmap(partial(backend.attend, static)), given) == 1


@BACKENDS
def test_the_public_call_and_its_gradient(backend):
    """With everything that a kernel takes, and the log-sum-exp."""
    space = (2, 19, 23)

    def shape(*last: int):
        return jax.ShapeDtypeStruct((*space, *last), "bfloat16")

    operands = shape(4, 40), shape(2, 40), shape(2, 24)
    more = tuple(jax.ShapeDtypeStruct((2, 3, 2, n), "bfloat16") for n in (40, 24))
    mask = jax.ShapeDtypeStruct(space, bool)

    def loss(operands, more, mask):
        out, lse = neighborhood_attention(
            *operands, window=(5, 6), dilation=(1, 2), stride=(2, 1), causal=(False, True),
            additional_keys=more[0], additional_values=more[1], mask=mask, return_lse=True,
            implementation=backend.__name__.rsplit(".", 1)[-1],
        )  # fmt: skip
        return out.astype(jnp.float32).sum() + lse.sum()

    assert lowered(backend, jax.grad(loss, argnums=(0, 1)), [operands, more, mask]) == 3
