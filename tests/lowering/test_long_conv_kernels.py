"""The block kernels lower for CUDA (Triton) and TPU, forward and backward, with no device.

Lowering ends at Pallas' own code: no assembler and no TPU compiler runs here.
"""

from __future__ import annotations

import contextlib
from functools import partial

import jax
import pytest

from kernels_pallas.long_conv import mosaic_tpu, triton
from kernels_pallas.long_conv.kernel import Static, Tile

pytestmark = [
    pytest.mark.lower,
    pytest.mark.filterwarnings("ignore:The Pallas Triton backend is deprecated"),
]

PLATFORMS = {triton: "cuda", mosaic_tpu: "tpu"}
BACKENDS = pytest.mark.parametrize("backend", PLATFORMS, ids=["triton", "mosaic_tpu"])
SIZES = [256 << i for i in range(8)]  # to 32K


def device(platform: str):
    """A context that names the device to lower for, where JAX asks for one."""
    if jax.__version_info__ < (0, 11):
        return contextlib.nullcontext()
    abstract = jax.sharding.AbstractDevice(
        device_kind="NVIDIA H100 80GB HBM3" if platform == "cuda" else "TPU v5e",
        num_cores=132 if platform == "cuda" else 1,
        platform="gpu" if platform == "cuda" else "tpu",
    )
    mesh = jax.sharding.AbstractMesh((1,), ("x",), abstract_device=abstract)
    return jax.sharding.use_abstract_mesh(mesh)


def kernels(backend, static: Static, gates: bool = True, **options) -> tuple[int, int]:
    """How many kernels the lowered forward and backward passes hold."""
    platform = PLATFORMS[backend]
    target = {"cuda": "__gpu$xla.gpu.triton", "tpu": "tpu_custom_call"}[platform]
    signal = jax.ShapeDtypeStruct((static.batch, static.channels, static.length), static.dtype)
    s = jax.ShapeDtypeStruct((static.channels, static.size), "float32")
    skip = jax.ShapeDtypeStruct((static.channels,), "float32") if gates else None
    gate = signal if gates else None
    operands = (signal, s, s, skip, gate, gate)
    counts = []
    for function, given in (
        (backend.convolve, operands),
        (backend.adjoint, (*operands, signal)),
    ):
        with device(platform):
            exported = jax.export.export(
                jax.jit(partial(function, static, **options)),
                platforms=[platform],
                disabled_checks=[jax.export.DisabledSafetyCheck.custom_call(target)],
            )(*given)
        counts.append(exported.mlir_module().count(f"custom_call @{target}"))
    return counts[0], counts[1]


@BACKENDS
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_one_program(size, dtype, backend):
    static = Static(3, 2, size - 7, size, True, dtype)
    assert kernels(backend, static, tile=Tile(2, backend.FACTORS[size], 8)) == (1, 1)


@BACKENDS
@pytest.mark.parametrize("factors", [(16, 16), (16, 16, 16), (32, 32, 32)])
def test_bare_and_float16_at_each_order(factors, backend):
    size = factors[0] ** len(factors)
    static = Static(2, 2, size, size, True, "float16")
    assert kernels(backend, static, gates=False, tile=Tile(2, factors)) == (1, 1)


@BACKENDS
@pytest.mark.parametrize("precision", ["default", "high", "highest"])
def test_precisions(precision, backend):
    static = Static(2, 2, 1024, 1024, False, "float32", precision=precision)
    assert kernels(backend, static) == (1, 1)


@BACKENDS
def test_frequency_sparse(backend):
    static = Static(2, 2, 4096, 4096, True, "bfloat16", kept=1, blocks=4)
    assert backend.default_tile(static).factors == (64, 64)  # so that 16 of 64 rows are computed
    assert kernels(backend, static) == (1, 1)


@BACKENDS
@pytest.mark.parametrize(
    ("size", "dtype"),
    [(1 << 16, "float32"), (1 << 16, "bfloat16"), (1 << 20, "bfloat16"), (1 << 22, "float16")],
)
def test_three_passes(size, dtype, backend):
    assert kernels(backend, Static(2, 2, size - 7, size, True, dtype)) == (3, 4)


@BACKENDS
@pytest.mark.parametrize(("size", "expected"), [(512, (1, 1)), (1 << 16, (3, 4))])
def test_under_x64(size, expected, backend):
    with jax.enable_x64(True):
        assert kernels(backend, Static(2, 2, size, size, True, "float32")) == expected


@BACKENDS
def test_under_vmap(backend):
    """Two more axes, as nested vmap gives."""
    static = Static(2, 2, 300, 512, True, "float32")
    signal = jax.ShapeDtypeStruct((2, 3, 2, 2, 300), "float32")
    s = jax.ShapeDtypeStruct((2, 512), "float32")

    def many(u, s):
        one = partial(backend.convolve, static)
        return jax.vmap(jax.vmap(lambda u: one(u, s, s, None, None, None)))(u)

    platform = PLATFORMS[backend]
    with device(platform):
        exported = jax.export.export(
            jax.jit(many),
            platforms=[platform],
            disabled_checks=[jax.export.DisabledSafetyCheck.custom_call("__gpu$xla.gpu.triton")],
        )(signal, s)
    assert exported.platforms == (platform,)
