"""A convolution as one operation that JAX differentiates in every mode and that we schedule.

y = filter(x, f) is linear in the signals x and linear in the filter f (a tuple of arrays). Written
as plain jnp code it can be differentiated, but its derivative keeps large spectra and walks over
memory again and again. A `custom_vjp` would be faster and would forbid jvp. So it is a JAX
primitive, with two relatives that close it under differentiation:

    filter   y = filter(x, f)
    tangent  (x, f, dx, df) -> filter(dx, f) + filter(x, df)    its derivative, linear in dx, df
    adjoint  (x, f, g) -> the cotangents of x and f, or of one  the transpose of tangent

filter's JVP is tangent (or filter again, when only one operand moves); transposing gives adjoint,
transposing adjoint gives tangent. Derivatives of tangent and adjoint themselves, and vmap over a
filter, go through the plain code, so that every mode of any order is right and the first order of
reverse mode, which training runs, is fast and keeps nothing but x and f.

`Bilinear` holds the plain code, which defines the values on every platform and lowers everywhere
but on CPU, and the CPU's schedules.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from kernels_pallas.varying import alike


class Bilinear(NamedTuple):
    """A bilinear operation and its schedules on CPU; hashable, compared by value.

    Attributes:
      plain: (facts, x, *f) -> y, of x's shape and dtype, differentiable jnp code.
      forward: the same on CPU.
      adjoint: (facts, x, f, g, want) -> (cotangent of x, tuple of cotangents of f) on CPU; want
        says which of the two is read, and the other may be None.
      facts: static facts, given to all three.
    """

    plain: Callable[..., Array]
    forward: Callable[..., Array]
    adjoint: Callable[..., tuple[Array | None, tuple[Array, ...] | None]]
    facts: Hashable


def apply(operation: Bilinear, x: Array, f: tuple[Array, ...]) -> Array:
    """filter(x, f)."""
    return cast(Array, filter_p.bind(*alike(x, *f), operation=operation))


# What each primitive computes, in plain code and as scheduled on CPU.


def _filter_plain(x: Array, *f: Array, operation: Bilinear) -> Array:
    return operation.plain(operation.facts, x, *f)


def _filter_cpu(x: Array, *f: Array, operation: Bilinear) -> Array:
    return operation.forward(operation.facts, x, *f)


def _tangent_of(compute: Callable[..., Array], *operands: Array, operation: Bilinear) -> Array:
    half = len(operands) // 2
    x, *f = operands[:half]
    dx, *df = operands[half:]
    return compute(dx, *f, operation=operation) + compute(x, *df, operation=operation)


_tangent_plain = partial(_tangent_of, _filter_plain)
_tangent_cpu = partial(_tangent_of, _filter_cpu)


def _adjoint_plain(
    x: Array, *rest: Array, operation: Bilinear, want: tuple[bool, bool]
) -> list[Array]:
    *f, g = rest
    _, pull = jax.vjp(partial(operation.plain, operation.facts), x, *f)
    of_x, *of_f = pull(g)
    return _wanted(of_x, of_f, want)


def _adjoint_cpu(
    x: Array, *rest: Array, operation: Bilinear, want: tuple[bool, bool]
) -> list[Array]:
    *f, g = rest
    of_x, of_f = operation.adjoint(operation.facts, x, tuple(f), g, want)
    return _wanted(of_x, of_f, want)


def _wanted(of_x: Any, of_f: Any, want: tuple[bool, bool]) -> list[Any]:
    return ([of_x] if want[0] else []) + (list(of_f) if want[1] else [])


# Shapes, evaluation, lowering.


def _like(aval: Any) -> Any:
    return aval.update(weak_type=False)


def _define(name: str, plain: Callable, cpu: Callable, avals: Callable, multiple: bool) -> Any:
    """A primitive with its shapes, its evaluation and its lowering."""
    primitive = Primitive(name)
    primitive.multiple_results = multiple
    primitive.def_abstract_eval(avals)

    @partial(jax.jit, static_argnames=("operation", "want"))
    def compiled(*operands: Array, **facts: Any) -> Any:
        return primitive.bind(*operands, **facts)

    primitive.def_impl(compiled)
    mlir.register_lowering(primitive, mlir.lower_fun(plain, multiple_results=multiple))
    mlir.register_lowering(
        primitive, mlir.lower_fun(cpu, multiple_results=multiple), platform="cpu"
    )
    return primitive


def _shape_of_x(x: Any, *rest: Any, operation: Bilinear) -> Any:
    del rest, operation
    return _like(x)


def _shapes_of_cotangents(
    x: Any, *rest: Any, operation: Bilinear, want: tuple[bool, bool]
) -> list[Any]:
    del operation
    return _wanted(_like(x), [_like(a) for a in rest[:-1]], want)


filter_p = _define("long_conv_filter", _filter_plain, _filter_cpu, _shape_of_x, False)
tangent_p = _define("long_conv_tangent", _tangent_plain, _tangent_cpu, _shape_of_x, False)
adjoint_p = _define("long_conv_adjoint", _adjoint_plain, _adjoint_cpu, _shapes_of_cotangents, True)


# Derivatives.


def _filter_jvp(primals: Any, tangents: Any, *, operation: Bilinear) -> Any:
    (x, *f), (dx, *df) = primals, tangents
    y = apply(operation, x, tuple(f))
    if all(type(d) is ad.Zero for d in df):
        return y, apply(operation, ad.instantiate_zeros(dx), tuple(f))
    df = [ad.instantiate_zeros(d) for d in df]
    if type(dx) is ad.Zero:
        return y, apply(operation, x, tuple(df))
    return y, tangent_p.bind(*alike(x, *f, dx, *df), operation=operation)


def _plain_jvp(plain: Callable, primals: Any, tangents: Any, **facts: Any) -> Any:
    tangents = [ad.instantiate_zeros(t) for t in tangents]
    return jax.jvp(partial(plain, **facts), tuple(primals), tuple(tangents))


ad.primitive_jvps[filter_p] = _filter_jvp
ad.primitive_jvps[tangent_p] = partial(_plain_jvp, _tangent_plain)
ad.primitive_jvps[adjoint_p] = partial(_plain_jvp, _adjoint_plain)


def _pull(operation: Bilinear, x: Any, f: Any, g: Any, want: tuple[bool, bool]) -> list[Any]:
    """The cotangents of x and of every f, None for those not wanted."""
    pulled = adjoint_p.bind(*alike(x, *f, g), operation=operation, want=want)
    of_x = pulled[0] if want[0] else None
    return [of_x, *(pulled[want[0] :] if want[1] else [None] * len(f))]


def _only_unknown(pulled: list[Any], operands: Any) -> list[Any]:
    """The cotangents of the operands that are linear, None for the others."""
    unknown = map(ad.is_undefined_primal, operands)
    return [c if linear else None for c, linear in zip(pulled, unknown, strict=True)]


def _filter_transpose(g: Any, x: Any, *f: Any, operation: Bilinear) -> list[Any]:
    if type(g) is ad.Zero:
        return [None] * (1 + len(f))
    if ad.is_undefined_primal(x):  # x is not read, and g has its shape
        return _pull(operation, g, f, g, (True, False))
    zeros = [ad.instantiate_zeros(ad.Zero(a.aval)) if ad.is_undefined_primal(a) else a for a in f]
    return _only_unknown(_pull(operation, x, zeros, g, (False, True)), (x, *f))


def _tangent_transpose(g: Any, *operands: Any, operation: Bilinear) -> list[Any]:
    if type(g) is ad.Zero:
        return [None] * len(operands)
    half = len(operands) // 2
    (x, *f), (dx, *df) = operands[:half], operands[half:]
    want = ad.is_undefined_primal(dx), any(map(ad.is_undefined_primal, df))
    pulled = _pull(operation, x, f, g, want)
    return [None] * half + _only_unknown(pulled, (dx, *df))


def _adjoint_transpose(
    cotangents: Any, x: Any, *rest: Any, operation: Bilinear, want: tuple[bool, bool]
) -> list[Any]:
    *f, _ = rest
    nothing = [None] * (1 + len(f))
    if all(type(c) is ad.Zero for c in cotangents):
        return [*nothing, None]
    given = [ad.instantiate_zeros(c) for c in cotangents]
    if want == (True, True):
        of_g = tangent_p.bind(*alike(x, *f, *given), operation=operation)
    elif want[0]:
        of_g = apply(operation, given[0], tuple(f))
    else:
        of_g = apply(operation, x, tuple(given))
    return [*nothing, of_g]


ad.primitive_transposes[filter_p] = _filter_transpose
ad.primitive_transposes[tangent_p] = _tangent_transpose
ad.primitive_transposes[adjoint_p] = _adjoint_transpose


# vmap.


def _batch_filter(operands: Any, dims: Any, *, operation: Bilinear) -> Any:
    """One filter for all: the mapped axis joins the batch. Else vmap of the plain code."""
    x, *f = operands
    if all(d is None for d in dims[1:]):
        x = jnp.moveaxis(x, dims[0], 0)
        folded = apply(operation, x.reshape(-1, *x.shape[2:]), tuple(f))
        return folded.reshape(x.shape), 0
    return _batch_plain(_filter_plain, operands, dims, operation=operation)


def _batch_plain(plain: Callable, operands: Any, dims: Any, **facts: Any) -> Any:
    results = jax.vmap(partial(plain, **facts), in_axes=tuple(dims))(*operands)
    return results, [0] * len(results) if isinstance(results, list) else 0


batching.primitive_batchers[filter_p] = _batch_filter
batching.primitive_batchers[tangent_p] = partial(_batch_plain, _tangent_plain)
batching.primitive_batchers[adjoint_p] = partial(_batch_plain, _adjoint_plain)

__all__ = ["Bilinear", "apply"]
