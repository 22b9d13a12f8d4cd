"""The derivatives of a kernel backend, written once over its forward/adjoint pair.

A backend offers two pure functions of `kernel.Static` and planar operands, `convolve` and
`adjoint` (see kernel.py). Here they become one operator that is closed under reverse mode:

    convolve   a custom_vjp; its forward saves its inputs only, its backward is `adjoint`
    adjoint    a custom_vjp; its backward differentiates `plain_adjoint`, plain jnp code

so the first derivative runs in kernels, and every further one through jnp.fft, to any order.
Forward mode (jvp, jacfwd) is refused by JAX for a custom_vjp; implementation "xla" has it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from kernels_pallas.long_conv.fourier import half_fft, half_ifft
from kernels_pallas.long_conv.monarch import band


class Backend(NamedTuple):
    """A forward/adjoint pair, both functions of kernel-form operands."""

    convolve: Callable[..., Array]
    adjoint: Callable[..., tuple[Array | None, ...]]


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def convolve(
    backend: Backend,
    static,
    u: Array,
    s_re: Array,
    s_im: Array,
    skip: Array | None,
    pre_gate: Array | None,
    post_gate: Array | None,
) -> Array:
    """y = post * (conv(x) + skip * x), x = pre * u, by the backend; see kernel.py for shapes."""
    return backend.convolve(static, u, s_re, s_im, skip, pre_gate, post_gate)


def _convolve_forward(backend, static, *operands):
    return convolve(backend, static, *operands), operands


def _convolve_backward(backend, static, operands, g) -> Any:
    u, s_re, s_im, skip, pre_gate, post_gate = operands
    return adjoint(backend, static, u, s_re, s_im, skip, pre_gate, post_gate, g)


convolve.defvjp(_convolve_forward, _convolve_backward)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def adjoint(
    backend: Backend,
    static,
    u: Array,
    s_re: Array,
    s_im: Array,
    skip: Array | None,
    pre_gate: Array | None,
    post_gate: Array | None,
    g: Array,
) -> tuple[Array | None, ...]:
    """The cotangents of every operand of `convolve` for the cotangent g of y; None for None."""
    return backend.adjoint(static, u, s_re, s_im, skip, pre_gate, post_gate, g)


def _adjoint_forward(backend, static, *operands):
    return adjoint(backend, static, *operands), operands


def _adjoint_backward(backend, static, operands, cotangents):
    del backend
    return jax.vjp(partial(plain_adjoint, static), *operands)[1](tuple(cotangents))


adjoint.defvjp(_adjoint_forward, _adjoint_backward)


def plain_convolve(
    static,
    u: Array,
    s_re: Array,
    s_im: Array,
    skip: Array | None,
    pre_gate: Array | None,
    post_gate: Array | None,
) -> Array:
    """`convolve` in plain jnp: x by FFT at `static.size`, all in float32, rounded once."""
    float32 = jnp.float32
    x = u.astype(float32) if pre_gate is None else u.astype(float32) * pre_gate.astype(float32)
    length, size = static.length, static.size
    s = lax.complex(*(band(a, static.kept, static.blocks) for a in (s_re, s_im)))
    if static.twisted:
        c = half_ifft(half_fft(x, size) * s, size, length)
    else:
        c = jnp.fft.ifft(jnp.fft.fft(x, size) * s)[..., :length].real
    if skip is not None:
        c = c + skip.astype(float32)[:, None] * x
    return (c if post_gate is None else c * post_gate.astype(float32)).astype(u.dtype)


def plain_adjoint(static, *operands):
    """`adjoint` in plain jnp: the derivative of `plain_convolve`."""
    *primals, g = operands
    return jax.vjp(partial(plain_convolve, static), *primals)[1](g)


__all__ = ["Backend", "adjoint", "convolve", "plain_adjoint", "plain_convolve"]
