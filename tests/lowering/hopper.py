"""Lower Mosaic GPU kernels for a Hopper GPU that is not there."""

from __future__ import annotations

import contextlib

import jax


def hopper():
    """A mesh of one device that is not there: JAX 0.11 and later ask which GPU it is for."""
    if jax.__version_info__ < (0, 11):
        return contextlib.nullcontext()
    from jax.sharding import AbstractMesh, use_abstract_mesh

    try:
        from jax.sharding import AbstractDevice
    except ImportError:
        from jax._src.mesh import AbstractDevice
    device = AbstractDevice(device_kind="NVIDIA H100 80GB HBM3", num_cores=132, platform="gpu")
    return use_abstract_mesh(AbstractMesh((1,), ("x",), abstract_device=device))


def lowered(function, *arguments) -> str:
    checks = [
        jax.export.DisabledSafetyCheck.custom_call(name) for name in ("mosaic_gpu", "mosaic_gpu_v2")
    ]
    with hopper():
        exported = jax.export.export(jax.jit(function), platforms=["cuda"], disabled_checks=checks)(
            *arguments
        )
    assert exported.platforms == ("cuda",)
    return exported.mlir_module()
