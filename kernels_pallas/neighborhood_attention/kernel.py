"""The kernel form of neighborhood attention, shared by every hand-written backend.

A backend offers two pure functions of static facts and operands in the public layout,

    attend(static, q, k, v, mask) -> (o, lse)
    adjoint(static, q, k, v, mask, lse, delta, do) -> (dq, dk, dv)

with q (batch, *space, heads, head_dim), k (batch, *space, kv_heads, head_dim), v, o and do with
value_dim, all of one dtype; lse and delta float32 (batch, *space, heads); mask bool (batch, *space)
or None. With S = scale q.k over the pairs that attend,

    lse = log sum exp(S);   P = exp(S - lse), 0 where lse is -inf;   o = P v
    delta = sum_v(do o) - dlse;   dS = P (do.v - delta)
    dq = scale dS k;   dk = scale dS' q;   dv = P' do;   sums over the query heads of a kv head

delta carries the whole gradient of the log-sum-exp, so a backend never sees dlse. `run` brings the
operands of the public call to this form and makes the pair differentiable (vjp.py). Additional keys
are few and dense: they are attended in plain jnp and merged by log-sum-exp.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from kernels_pallas.neighborhood_attention import vjp
from kernels_pallas.neighborhood_attention.additional import with_additional
from kernels_pallas.neighborhood_attention.partition import partitioned


class Static(NamedTuple):
    """The static facts of a neighborhood attention in kernel form."""

    batch: int
    space: tuple[int, ...]
    heads: int
    kv_heads: int  # divides heads; query head h uses head h // (heads // kv_heads)
    window: tuple[int, ...]
    dilation: tuple[int, ...]
    stride: tuple[int, ...]
    causal: tuple[bool, ...]
    head_dim: int
    value_dim: int
    scale: float
    dtype: str  # of q, k, v and o: "float32" | "bfloat16" | "float16"
    interpret: bool = False


@partial(jax.jit, static_argnums=(0, 1, 2), static_argnames=("interpret", "padded_head"))
def run(
    backend_attend,
    backend_adjoint,
    call,
    q: Array,
    k: Array,
    v: Array,
    additional_keys: Array | None,
    additional_values: Array | None,
    mask: Array | None,
    *,
    interpret: bool = False,
    padded_head: Callable[[int], int] | None = None,
) -> tuple[Array, Array]:
    """(out, lse) by a backend's pair; operands as `neighborhood_attention`, already checked.

    Args:
      backend_attend, backend_adjoint: the pair.
      call: the `api.Call`.
      interpret: kernels are interpreted, and then not partitioned.
      padded_head: from head_dim or value_dim to what the backend needs it padded to with zeros;
        None where it takes any.
    """
    static = static_of(call, interpret)
    widen = padded_head or (lambda size: size)
    static = static._replace(head_dim=widen(call.head_dim), value_dim=widen(call.value_dim))
    if mask is not None:  # what is masked is never read: neither a NaN nor a gradient passes
        k, v = (jnp.where(mask[..., None, None], a, 0) for a in (k, v))
    pair = backend_attend, backend_adjoint
    # The interpreters call back in order, which custom_partitioning does not allow.
    backend = vjp.Backend(*(pair if interpret else partitioned(*pair)))
    made: Any = vjp.attend(
        backend,
        static,
        _padded(q, static.head_dim),
        _padded(k, static.head_dim),
        _padded(v, static.value_dim),
        mask,
    )
    out, lse = made[0][..., : call.value_dim], made[1]
    return with_additional(call.scale, q, out, lse, additional_keys, additional_values)


def static_of(call: Any, interpret: bool = False) -> Static:
    """The kernel form's facts of a public call."""
    fields = {name: getattr(call, name) for name in Static._fields if name != "interpret"}
    return Static(**fields, interpret=interpret)


def _padded(a: Array, features: int) -> Array:
    extra = features - a.shape[-1]
    return jnp.pad(a, [(0, 0)] * (a.ndim - 1) + [(0, extra)]) if extra else a


def unsupported(call: Any) -> str | None:
    """Why no backend in kernel form can serve a call (an `api.Call`), None when they can."""
    if call.dtype == "float64":
        return "q is float64; the kernels compute in float32 at most"
    if call.has_bias:
        return "a bias is given; the kernels take none"
    for name in ("batch", "heads", "head_dim", "value_dim"):
        if getattr(call, name) == 0:
            return f"{name} is 0; the kernels take at least 1"
    return None


__all__ = ["Static", "run", "static_of", "unsupported"]
