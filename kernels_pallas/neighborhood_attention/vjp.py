"""The derivatives of a kernel backend, written once over its forward/adjoint pair.

A backend offers two pure functions of `kernel.Static`, `attend` and `adjoint` (see kernel.py). Here
they become one operator that is closed under reverse mode:

    attend   a custom_vjp; its backward is `slopes`, with o and lse saved beside the inputs
    slopes   (dq, dk, dv) as a function of q, k, v and the cotangents (do, dlse), computed by
             `adjoint`; a custom_vjp whose backward differentiates plain jnp code, the derivative of
             implementation "xla"

so the first derivative runs in kernels, and every further one through plain code, to any order.
The saved o and lse are functions of q, k and v and no inputs of their own: their cotangents in the
backward of `slopes` are zero, because the plain code differentiates through them.

Forward mode (jvp, jacfwd) is refused by JAX for a custom_vjp; implementation "xla" has it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from kernels_pallas.neighborhood_attention import xla
from kernels_pallas.neighborhood_attention.api import Call


class Backend(NamedTuple):
    """A forward/adjoint pair, both functions of kernel-form operands."""

    attend: Callable[..., tuple[Array, Array]]
    adjoint: Callable[..., tuple[Array, Array, Array]]


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def attend(
    backend: Backend, static, q: Array, k: Array, v: Array, mask: Array | None
) -> tuple[Array, Array]:
    """(o, lse) by the backend; see kernel.py for shapes."""
    return backend.attend(static, q, k, v, mask)


def _attend_forward(backend, static, q, k, v, mask):
    made: Any = attend(backend, static, q, k, v, mask)
    return made, (q, k, v, mask, *made)


def _attend_backward(backend, static, saved, cotangents) -> Any:
    made: Any = slopes(backend, static, *saved, *cotangents)
    return *made, None


attend.defvjp(_attend_forward, _attend_backward)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def slopes(
    backend: Backend,
    static,
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None,
    o: Array,
    lse: Array,
    do: Array,
    dlse: Array,
) -> tuple[Array, Array, Array]:
    """The cotangents of q, k and v for those of o and lse: delta here, the rest by the backend."""
    float32 = jnp.float32
    delta = (do.astype(float32) * o.astype(float32)).sum(-1) - dlse.astype(float32)
    return backend.adjoint(static, q, k, v, mask, lse, delta, do)


def _slopes_forward(backend, static, *operands):
    return slopes(backend, static, *operands), operands


def _slopes_backward(backend, static, operands, cotangents) -> Any:
    del backend
    q, k, v, mask, o, lse, do, dlse = operands
    plain = partial(plain_slopes, static, mask)
    dq, dk, dv, ddo, ddlse = jax.vjp(plain, q, k, v, do, dlse)[1](tuple(cotangents))
    return dq, dk, dv, None, jnp.zeros_like(o), jnp.zeros_like(lse), ddo, ddlse


slopes.defvjp(_slopes_forward, _slopes_backward)


def call_of(static, has_mask: bool) -> Call:
    """The public call's record for a call in kernel form."""
    fields = {name: getattr(static, name) for name in Call._fields if hasattr(static, name)}
    return Call(**fields, has_mask=has_mask)


def plain_attend(static, q: Array, k: Array, v: Array, mask: Array | None) -> tuple[Array, Array]:
    """`attend` in plain jnp: implementation "xla"."""
    return xla.forward(call_of(static, mask is not None), q, k, v, None, None, mask, None)


def plain_slopes(
    static, mask: Array | None, q: Array, k: Array, v: Array, do: Array, dlse: Array
) -> tuple[Array, Array, Array]:
    """`slopes` in plain jnp: the derivative of `plain_attend`."""

    def of_floats(q: Array, k: Array, v: Array) -> tuple[Array, Array]:
        return plain_attend(static, q, k, v, mask)

    return jax.vjp(of_floats, q, k, v)[1]((do, dlse))


__all__ = ["Backend", "attend", "call_of", "plain_attend", "plain_slopes", "slopes"]
