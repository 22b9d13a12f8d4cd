"""Checks shared by the operators: each error names the argument, its value and what is accepted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

FLOATS = ("float16", "bfloat16", "float32", "float64")


def float_array(name: str, value: Any, axes: Sequence[str]) -> Array:
    """`value` as a JAX array of floating dtype with one axis for each name in `axes`.

    NumPy arrays follow JAX's own rule: float64 becomes float32 unless x64 is enabled.

    Raises:
      TypeError: `value` is no array, or its dtype is not float16, bfloat16, float32 or float64.
      ValueError: the number of axes is not `len(axes)`.
    """
    shape_text = "(" + ", ".join(axes) + ("," if len(axes) == 1 else "") + ")"
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        raise TypeError(
            f"{name} must be an array of shape {shape_text}, got {type(value).__name__}"
        )
    if str(value.dtype) not in FLOATS:
        raise TypeError(f"{name} has dtype {value.dtype}; accepted: {', '.join(FLOATS)}")
    if len(value.shape) != len(axes):
        raise ValueError(f"{name} has shape {tuple(value.shape)}; expected {shape_text}")
    return jnp.asarray(value)


def shape_is(name: str, value: Array, expected: tuple[int, ...], why: str) -> None:
    """Raise ValueError unless `value` has exactly the shape `expected`."""
    if tuple(value.shape) != tuple(expected):
        raise ValueError(f"{name} has shape {tuple(value.shape)}; expected {expected} ({why})")


def one_of(name: str, value: Any, accepted: Sequence[Any]) -> None:
    """Raise ValueError unless `value` equals one of `accepted`."""
    if not any(type(value) is type(a) and value == a for a in accepted):
        raise ValueError(f"{name} is {value!r}; accepted: {', '.join(map(repr, accepted))}")


def boolean(name: str, value: Any) -> None:
    """Raise TypeError unless `value` is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")


def compute_dtype(dtype: Any) -> jnp.dtype:
    """The dtype an operator computes in: float64 for float64, float32 for everything narrower."""
    return jnp.dtype("float64") if jnp.dtype(dtype) == jnp.float64 else jnp.dtype("float32")


def not_wider(name: str, dtype: Any, u_dtype: Any) -> None:
    """Raise TypeError when an operand would lose bits in the dtype that `u` is computed in."""
    compute = compute_dtype(u_dtype)
    if jnp.finfo(dtype).bits > jnp.finfo(compute).bits:
        raise TypeError(
            f"{name} has dtype {jnp.dtype(dtype)} but u has dtype {jnp.dtype(u_dtype)}, which is "
            f"computed in {compute}; cast {name} to {compute} or u to float64"
        )


def precision_accepted(value: Any) -> None:
    """Raise ValueError unless `value` is None, a lax.Precision or one of its names."""
    if isinstance(value, jax.lax.Precision):
        return
    one_of("precision", value, (None, "default", "high", "highest"))
