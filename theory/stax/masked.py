"""Inputs of variable size: arrays with a mask, True where a place is padding."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

Tree = Any


class MaskedArray(NamedTuple):
    """An array and where it is padding.

    Attributes:
      masked_value: (batch, *space, channels), zero where masked.
      mask: bool, broadcasts against `masked_value`; True = masked.
    """

    masked_value: Array
    mask: Array


def as_masked(
    x: Tree, mask_constant: float | None, convert: Callable[[Any], Array] = jnp.asarray
) -> tuple[Tree, Tree]:
    """Inputs with zeros where masked, and their masks (batch, *space), None where there is none.

    Each array goes through `convert` first; lists become tuples.

    Values that equal `mask_constant` (NaN is allowed) are masked. A place is masked where all of
    its channels are; single masked channels are zeros.
    """
    if isinstance(x, MaskedArray):
        value = jnp.where(x.mask, 0.0, convert(x.masked_value))
        return value, jnp.broadcast_to(x.mask, value.shape).all(-1)
    if isinstance(x, list | tuple):
        parts = [as_masked(part, mask_constant, convert) for part in x]
        return tuple(part[0] for part in parts), tuple(part[1] for part in parts)
    x = convert(x)
    if mask_constant is None:
        return x, None
    masked = jnp.isnan(x) if math.isnan(mask_constant) else x == mask_constant
    return jnp.where(masked, 0.0, x), masked.all(-1)


def unmask_fn(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose MaskedArray results are the arrays in them, zero where masked."""

    def unmasked(*args, **kwargs):
        return _unmask(fn(*args, **kwargs))

    return unmasked


def _unmask(x: Tree) -> Tree:
    if isinstance(x, MaskedArray):
        return x.masked_value
    return tuple(_unmask(part) for part in x) if isinstance(x, tuple) else x
