"""Rows of Jacobians: the pullback of every entry of every output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

Tree = Any


def cotangent_rows(pull: Callable[[list[Array]], Tree], outputs: Sequence[Array]) -> list[Tree]:
    """The cotangents of every entry of each output alone.

    Args:
      pull: cotangents of all outputs -> a pytree of cotangents.
      outputs: the outputs, or their shapes.

    Returns:
      For each output, the pytree with the axes of that output in front.
    """
    found = []
    for k, out in enumerate(outputs):
        basis = jnp.eye(out.size, dtype=out.dtype).reshape(out.size, *out.shape)

        def row(unit: Array, k: int = k) -> Tree:
            others = [jnp.zeros(other.shape, other.dtype) for other in outputs]
            return pull([*others[:k], unit, *others[k + 1 :]])

        rows = jax.vmap(row)(basis)
        found.append(jax.tree.map(lambda r, s=out.shape: r.reshape(*s, *r.shape[1:]), rows))
    return found
