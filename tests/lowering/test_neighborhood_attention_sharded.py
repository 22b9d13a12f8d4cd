"""The sharded forms lower with kernels inside, for CUDA and TPU, forward and backward.

On an abstract mesh, with no device. Lowering ends at Pallas' own code.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType

from kernels_pallas.neighborhood_attention.sharded import neighborhood_attention_sharded
from kernels_pallas.neighborhood_attention.spatial import neighborhood_attention_spatial

pytestmark = [
    pytest.mark.lower,
    pytest.mark.filterwarnings("ignore:The Pallas Triton backend is deprecated"),
]

BACKENDS = {  # platform, custom call, and the device to lower for
    "triton": ("cuda", "__gpu$xla.gpu.triton", ("NVIDIA H100 80GB HBM3", 132, "gpu")),
    "mosaic_tpu": ("tpu", "tpu_custom_call", ("TPU v5e", 1, "tpu")),
}
FORMS = {
    "sharded": (neighborhood_attention_sharded, {"batch_axis": "a", "head_axis": "b"}, 0),
    "spatial": (neighborhood_attention_spatial, {"space_axes": ("a", "b")}, 8),  # k, v, two sides
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("implementation", BACKENDS)
def test_kernels_in_shards(implementation, form):
    platform, target, (kind, cores, name) = BACKENDS[implementation]
    device = jax.sharding.AbstractDevice(device_kind=kind, num_cores=cores, platform=name)
    types = (AxisType.Auto,) * 2
    mesh = jax.sharding.AbstractMesh((2, 2), ("a", "b"), axis_types=types, abstract_device=device)
    function, axes, exchanges = FORMS[form]
    attend = partial(function, mesh=mesh, window=7, implementation=implementation, **axes)

    def gradients(q, k, v):
        return jax.grad(lambda *a: attend(*a).astype(jnp.float32).sum(), (0, 1, 2))(q, k, v)

    operand = jax.ShapeDtypeStruct((2, 32, 32, 4, 64), jnp.bfloat16)
    for program, kernels, sent in ((attend, 1, exchanges), (gradients, 3, 2 * exchanges)):
        exported = jax.export.export(
            jax.jit(program),
            platforms=[platform],
            disabled_checks=[jax.export.DisabledSafetyCheck.custom_call(target)],
        )(operand, operand, operand)
        text = exported.mlir_module()
        assert text.count(f"custom_call @{target}") == kernels
        assert text.count("stablehlo.collective_permute") == sent
