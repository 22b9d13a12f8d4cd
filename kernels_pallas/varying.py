"""Values under `jax.shard_map`: which mesh axes they vary over, and how to make them agree.

Outside of shard_map nothing varies over anything, and these functions return what they are given.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array, lax


def alike(*operands: Array) -> list[Array]:
    """The operands, each varying over every mesh axis that any of them does.

    An operation of ours must see its operands so: else the gradient of one that is replicated is
    silently not summed. The transpose of the cast is that sum.
    """
    varying = [jax.typeof(a).manual_axis_type.varying for a in operands]
    axes = frozenset().union(*varying)
    return [
        lax.pcast(a, tuple(sorted(axes - own)), to="varying") if axes - own else a
        for a, own in zip(operands, varying, strict=True)
    ]


def zeros_like(operand: Array) -> Array:
    """Zeros that vary as the operand does, as the carry of a loop must."""
    return alike(jnp.zeros(operand.shape, operand.dtype), operand)[0]


__all__ = ["alike", "zeros_like"]
