"""What Mosaic GPU kernels for Hopper share: shared memory as wgmma wants it, and JAX's differences.

Arguments and names of Pallas' Mosaic GPU differ between the JAX versions that we support; what we
use of them is brought to one form here.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental.pallas import mosaic_gpu as plgpu

api: Any = plgpu  # where names or arguments differ: JAX 0.11 brought the interpreter, load, store
INTERPRETER = hasattr(api, "InterpretGPUParams")
SMEM_LIMIT = 232448 - 2304  # bytes a block may have on compute capability 9.0, less barriers and
# the scratch of reductions that Pallas sets aside


def tiled(planes: tuple[int, ...], rows: int, columns: int, dtype, columns_of: int) -> Any:
    """Shared memory (*planes, rows, columns), laid out for wgmma and for reads without conflicts.

    `columns_of` is the narrowest matrix that meets this one in a product: wgmma wants one swizzle
    for both operands.
    """
    itemsize = jnp.dtype(dtype).itemsize
    swizzle = min(128, columns_of * itemsize)
    tiling: Any = plgpu.TilingTransform  # abstract to the type checker in JAX 0.12
    swizzling: Any = plgpu.SwizzleTransform
    transforms = (tiling((8, swizzle // itemsize)), swizzling(swizzle))
    return plgpu.SMEM((*planes, rows, columns), dtype, transforms=transforms)


def turned(ref: Any) -> Any:
    """The transpose of a matrix in shared memory, without moving it."""
    if INTERPRETER:
        return ref.transpose((1, 0))
    return api.transpose_ref(ref, (1, 0))


def load(ref: Any, layout: Any) -> Array:
    """A read from global memory straight to registers."""
    if INTERPRETER:
        return api.load(ref, layout=layout, optimized=False)
    return api.load(ref, (), layout=layout, optimized=False)


def store(ref: Any, value: Array) -> None:
    """A write from registers straight to global memory."""
    if hasattr(api, "store"):
        api.store(ref, value, optimized=False)
    else:
        ref[...] = value


def smem_bytes(scratch: dict[str, Any]) -> int:
    """Bytes of shared memory that a kernel's scratch takes, barriers and padding left out."""
    total = 0
    for leaf in jax.tree.leaves(scratch, is_leaf=lambda x: hasattr(x, "shape")):
        if getattr(leaf, "memory_space", None) == plgpu.SMEM:
            size = jnp.dtype(leaf.dtype).itemsize
            for dim in leaf.shape:
                size *= dim
            total += size
    return total


__all__ = [
    "INTERPRETER",
    "SMEM_LIMIT",
    "api",
    "load",
    "smem_bytes",
    "store",
    "tiled",
    "turned",
]
