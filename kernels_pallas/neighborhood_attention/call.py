"""The call of a neighborhood attention: every argument checked, and its static facts.

Each error names the argument, its value and what is accepted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from numbers import Real
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from kernels_pallas import validate


class Call(NamedTuple):
    """The static facts of a call, from which an implementation is chosen."""

    batch: int
    space: tuple[int, ...]
    heads: int
    kv_heads: int
    head_dim: int
    value_dim: int
    window: tuple[int, ...]
    dilation: tuple[int, ...]
    stride: tuple[int, ...]
    causal: tuple[bool, ...]
    scale: float
    dtype: str
    additional: int = 0  # additional keys, seen by every query
    has_mask: bool = False
    has_bias: bool = False


def check_call(
    q: Any,
    k: Any,
    v: Any,
    additional_keys: Any,
    additional_values: Any,
    mask: Any,
    bias: Any,
    *,
    window: Any,
    dilation: Any,
    stride: Any,
    causal: Any,
    scale: Any,
    return_lse: Any,
) -> tuple[Call, dict[str, Array]]:
    """The static facts of the whole call and its operands by name, every argument checked.

    Raises what `neighborhood_attention` raises. Operands that are None are left out.
    """
    validate.boolean("return_lse", return_lse)
    q, k, v = _check_operands(q, k, v)
    batch, *space, heads, head_dim = q.shape
    per_axis = partial(_per_axis, space=space)
    call = Call(
        batch=batch,
        space=tuple(space),
        heads=heads,
        kv_heads=v.shape[-2],
        head_dim=head_dim,
        value_dim=v.shape[-1],
        window=per_axis("window", window, kind=int),
        dilation=per_axis("dilation", dilation, kind=int),
        stride=per_axis("stride", stride, kind=int),
        causal=per_axis("causal", causal, kind=bool),
        scale=_check_scale(scale, head_dim),
        dtype=str(q.dtype),
        has_mask=mask is not None,
        has_bias=bias is not None,
    )
    _check_axes(space, call.window, call.dilation, call.stride)
    keys, values = _check_additional(call, additional_keys, additional_values)
    call = call._replace(additional=0 if keys is None else keys.shape[1])
    operands = {
        "q": q,
        "k": k,
        "v": v,
        "additional_keys": keys,
        "additional_values": values,
        "mask": _check_mask(call, mask),
        "bias": _check_bias(call, bias),
    }
    return call, {name: value for name, value in operands.items() if value is not None}


def _check_operands(q: Any, k: Any, v: Any) -> tuple[Array, Array, Array]:
    """q, k and v as arrays that fit together."""
    rank = len(getattr(q, "shape", ())) - 3
    if hasattr(q, "shape") and rank not in (1, 2, 3):
        raise ValueError(
            f"q has shape {tuple(q.shape)}; expected (batch, *space, heads, head_dim) with one to "
            "three axes of space"
        )
    space_names = [f"space_{i + 1}" for i in range(max(rank, 1))]
    q = validate.float_array("q", q, ("batch", *space_names, "heads", "head_dim"))
    k = validate.float_array("k", k, ("batch", *space_names, "kv_heads", "head_dim"))
    v = validate.float_array("v", v, ("batch", *space_names, "kv_heads", "value_dim"))
    for name, value in (("k", k), ("v", v)):
        _same_dtype(name, value, q)
    if min(q.shape[1:]) < 1:
        raise ValueError(f"q has shape {q.shape}; every axis but the batch must be >= 1")
    batch, *space, heads, head_dim = q.shape
    kv_heads, value_dim = k.shape[-2], v.shape[-1]
    validate.shape_is("k", k, (batch, *space, kv_heads, head_dim), "as q, but for the heads")
    validate.shape_is("v", v, (batch, *space, kv_heads, value_dim), "as k, but for the last axis")
    if kv_heads < 1 or heads % kv_heads:
        raise ValueError(f"k has {kv_heads} heads; accepted: a divisor of q's {heads} heads")
    if value_dim < 1:
        raise ValueError(f"v has shape {v.shape}; value_dim must be >= 1")
    return q, k, v


def _same_dtype(name: str, value: Array, q: Array) -> None:
    if value.dtype != q.dtype:
        raise TypeError(f"{name} has dtype {value.dtype}; accepted: that of q, {q.dtype}")


def _per_axis(name: str, value: Any, space: Sequence[int], kind: type) -> tuple:
    """One `kind` per axis of space."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) != len(space):
            raise ValueError(
                f"{name} is {value!r}, {len(value)} values; accepted: one {kind.__name__}, or one "
                f"for each of the {len(space)} axes of space"
            )
        values = tuple(value)
    else:
        values = (value,) * len(space)
    for one in values:
        if type(one) is not kind:
            raise ValueError(
                f"{name} is {value!r}; accepted: one {kind.__name__}, or one for each of the "
                f"{len(space)} axes of space (Python {kind.__name__}, nothing else)"
            )
    return values


def _check_axes(space: Sequence[int], window, dilation, stride) -> None:
    for axis, (length, w, d, s) in enumerate(zip(space, window, dilation, stride, strict=True)):
        where = f"on axis {axis} of space, of length {length}"
        if d < 1:
            raise ValueError(f"dilation is {d} {where}; accepted: 1 or more")
        if w < 2 or w * d > length:
            raise ValueError(
                f"window is {w} {where} with dilation {d}; accepted: 2 to length // dilation = "
                f"{length // d}"
            )
        if not 1 <= s <= w:
            raise ValueError(f"stride is {s} {where}; accepted: 1 to the window, {w}")


def _check_scale(scale: Any, head_dim: int) -> float:
    if scale is None:
        return head_dim**-0.5
    if isinstance(scale, bool) or not isinstance(scale, Real) or not math.isfinite(scale):
        raise ValueError(f"scale is {scale!r}; accepted: None or a finite Python number")
    return float(scale)


def _check_additional(call: Call, keys: Any, values: Any) -> tuple[Array | None, Array | None]:
    if (keys is None) != (values is None):
        given, missing = ("keys", "values") if values is None else ("values", "keys")
        raise ValueError(
            f"additional_{missing} is None but additional_{given} is not; accepted: both or neither"
        )
    if keys is None:
        return None, None
    axes = ("batch", "additional", "kv_heads")
    keys = validate.float_array("additional_keys", keys, (*axes, "head_dim"))
    values = validate.float_array("additional_values", values, (*axes, "value_dim"))
    count = keys.shape[1]
    if count < 1:
        raise ValueError(f"additional_keys has shape {keys.shape}; accepted: at least 1 key")
    for name, value, last in (
        ("additional_keys", keys, call.head_dim),
        ("additional_values", values, call.value_dim),
    ):
        expected = (call.batch, count, call.kv_heads, last)
        validate.shape_is(name, value, expected, "batch, additional, kv_heads and the last of k, v")
        if str(value.dtype) != call.dtype:
            raise TypeError(f"{name} has dtype {value.dtype}; accepted: that of q, {call.dtype}")
    return keys, values


def _check_mask(call: Call, mask: Any) -> Array | None:
    if mask is None:
        return None
    if not hasattr(mask, "shape") or not hasattr(mask, "dtype") or mask.dtype != bool:
        kind = getattr(mask, "dtype", type(mask).__name__)
        raise TypeError(f"mask must be a bool array (batch, *space), got {kind}")
    validate.shape_is("mask", mask, (call.batch, *call.space), "batch and space of q")
    return jnp.asarray(mask)


def _check_bias(call: Call, bias: Any) -> Array | None:
    if bias is None:
        return None
    offsets = tuple(2 * w - 1 for w in call.window)
    axes = ("heads", *(f"offsets_{i + 1}" for i in range(len(offsets))))
    bias = validate.float_array("bias", bias, axes)
    validate.shape_is("bias", bias, (call.heads, *offsets), "heads of q, 2 window - 1 on each axis")
    compute = validate.compute_dtype(call.dtype)
    if jnp.finfo(bias.dtype).bits > jnp.finfo(compute).bits:
        raise TypeError(
            f"bias has dtype {bias.dtype}; accepted: no wider than {compute}, in which q of dtype "
            f"{call.dtype} is computed"
        )
    return bias


__all__ = ["Call", "check_call"]
