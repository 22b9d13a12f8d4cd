"""What one program computes for one signal of one channel: the same for every block backend.

Pure functions of matrices that are already in fast memory, in products of two matrices, arithmetic
by element and (at order 3) one swap of axes each way: they lower for Triton and for TPU and run as
plain JAX. Signals are viewed as `shape.signal`, spectra as `shape.spectrum` (monarch.py).

Numerics: every product's operands are rounded to the dtype of the tables' matrices and summed in
float32; gates, skip, twiddles and the spectrum are multiplied in float32.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jax.lax import DotAlgorithmPreset, Precision

from kernels_pallas.long_conv.monarch import Dot, Pair, Shape, Tables, inverse, multiply, transform


class Signals(NamedTuple):
    """One signal's inputs and, in the backward pass, its cotangent."""

    u: Any
    pre: Any = None
    post: Any = None
    g: Any = None


class Slopes(NamedTuple):
    """What one signal gives in the backward pass."""

    u: Array
    pre: Array | None
    post: Array | None
    w: Pair  # X conj(G), to be summed over the batch
    skip: Array  # gc x, to be summed over everything


def dot_in(dtype: Any, precision: Precision | DotAlgorithmPreset | None) -> Dot:
    """The matrix product with operands rounded to `dtype`, sums and result in float32."""

    def dot(a: Any, b: Any) -> Array:
        return lax.dot_general(
            a.astype(dtype),
            b.astype(dtype),
            (((1,), (0,)), ((), ())),
            precision=precision,
            preferred_element_type=jnp.float32,
        )

    return dot


def convolve(shape: Shape, tables: Tables, dot: Dot, s: Pair, skip: Any, signals: Signals) -> Array:
    """y of one signal in float32; `skip` is a number, an array of one, or None."""
    x = gated(signals.u, signals.pre)
    c = inverse(shape, tables, dot, multiply(transform(shape, tables, dot, x), s))
    return finish(signals, skip, c)["y"]


def adjoint(shape: Shape, tables: Tables, dot: Dot, s: Pair, skip: Any, signals: Signals) -> Slopes:
    """The slopes of one signal in float32: see kernel.py for the formulas."""
    x, gc = gated(signals.u, signals.pre), gated(signals.g, signals.post)
    x_hat, g_hat = transform(shape, tables, dot, x), transform(shape, tables, dot, gc)
    dx = inverse(shape, tables, dot, multiply(g_hat, s, conjugate=True))
    c = None
    if signals.post is not None:
        c = inverse(shape, tables, dot, multiply(x_hat, s))
    made = finish(signals, skip, c, dx)
    return Slopes(
        u=made["u"],
        pre=made.get("pre"),
        post=made.get("post"),
        w=multiply(x_hat, g_hat, conjugate=True),
        skip=gc * x,
    )


def finish(signals: Signals, skip: Any, c: Array | None, dx: Array | None = None) -> dict[str, Any]:
    """Skip and gates after the inverse transforms, in float32.

    {"y"} from c = conv(x) where `signals` has no g; else {"u"} and, for each gate there is, {"pre"}
    and {"post"}, from dx = the adjoint of conv at gc and, with a post gate, c.
    """
    pre, post, g = (None if a is None else a.astype(jnp.float32) for a in signals[1:])
    u = signals.u.astype(jnp.float32)
    x = u if pre is None else u * pre
    if c is not None and skip is not None:
        c = c + skip * x
    if g is None:
        assert c is not None
        return {"y": c if post is None else c * post}
    assert dx is not None
    if skip is not None:
        dx = dx + skip * (g if post is None else g * post)
    made = {"u": dx if pre is None else dx * pre}
    if pre is not None:
        made["pre"] = dx * u
    if post is not None:
        assert c is not None
        made["post"] = g * c
    return made


def gated(a: Any, gate: Any) -> Array:
    """a times its gate, if it has one, in float32."""
    wide = a.astype(jnp.float32)
    return wide if gate is None else wide * gate.astype(jnp.float32)


__all__ = ["Signals", "Slopes", "adjoint", "convolve", "dot_in", "finish", "gated"]
