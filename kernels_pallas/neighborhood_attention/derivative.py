"""Neighborhood attention in plain JAX, differentiable in every mode, its first derivative by hand.

JAX would differentiate blocked.forward by keeping or recomputing every step's scores and their
exponentials several times. A `custom_vjp` with our adjoint would be faster and would forbid jvp.
So the function has a `custom_jvp`, and its tangent is a primitive of our own:

    attend    (q, k, v, ...) -> (out, lse)                              blocked.forward
    tangent   (operands, results, dq, dk, dv, dbias) -> (dout, dlse)    JAX's JVP of attend
              its transpose is blocked.adjoint, which reads out and lse instead of recomputing

Forward mode runs JAX's own JVP; reverse mode keeps operands and results and runs the adjoint; and
as all of it is plain JAX code, every further derivative is JAX's.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from kernels_pallas.neighborhood_attention import blocked
from kernels_pallas.neighborhood_attention.blocked import Operands, Problem
from kernels_pallas.varying import alike


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def attend(problem: Problem, operands: Operands) -> tuple[Array, Array]:
    """(out, lse) of blocked.forward, both in the dtype that is computed in."""
    return blocked.forward(problem, operands)


@attend.defjvp
def _attend_jvp(problem: Problem, primals: Any, tangents: Any) -> Any:
    (operands,), (moving,) = primals, tangents
    results = attend(problem, operands)
    return results, tuple(_tangent(problem, operands, results, _moving(moving)))


def _moving(operands: Operands) -> tuple[Array | None, ...]:
    """What has tangents: q, k, v and the bias."""
    return operands.q, operands.k, operands.v, operands.bias


def _tangent(problem: Problem, operands: Operands, results: Any, moving: Any) -> list[Array]:
    flat, tree = jax.tree.flatten((operands, results, moving))
    return tangent_p.bind(*alike(*flat), problem=problem, tree=tree)


def _tangent_plain(*flat: Array, problem: Problem, tree: Any) -> list[Array]:
    operands, _, moving = jax.tree.unflatten(tree, flat)

    def of_moving(q, k, v, bias):
        return blocked.forward(problem, operands._replace(q=q, k=k, v=v, bias=bias))

    return list(jax.jvp(of_moving, _moving(operands), moving)[1])


tangent_p = Primitive("neighborhood_attention_tangent")
tangent_p.multiple_results = True


@tangent_p.def_abstract_eval
def _tangent_shapes(*flat: Any, problem: Problem, tree: Any) -> list[Any]:
    del problem
    _, results, _ = jax.tree.unflatten(tree, flat)
    return [aval.update(weak_type=False) for aval in results]


@tangent_p.def_impl
@partial(jax.jit, static_argnames=("problem", "tree"))
def _tangent_compiled(*flat: Array, problem: Problem, tree: Any) -> list[Array]:
    return tangent_p.bind(*flat, problem=problem, tree=tree)


mlir.register_lowering(tangent_p, mlir.lower_fun(_tangent_plain, multiple_results=True))


def _tangent_jvp(primals: Any, tangents: Any, *, problem: Problem, tree: Any) -> Any:
    tangents = [ad.instantiate_zeros(t) for t in tangents]
    plain = partial(_tangent_plain, problem=problem, tree=tree)
    return jax.jvp(plain, tuple(primals), tuple(tangents))


ad.primitive_jvps[tangent_p] = _tangent_jvp


def _tangent_transpose(cotangents: Any, *flat: Any, problem: Problem, tree: Any) -> list[Any]:
    operands, (out, lse), moving = jax.tree.unflatten(tree, flat)
    count = len(jax.tree.leaves((operands, (out, lse))))
    nothing = [None] * len(flat)
    if all(type(c) is ad.Zero for c in cotangents):
        return nothing
    dout, dlse = (ad.instantiate_zeros(c) for c in cotangents)
    want_bias = moving[3] is not None and ad.is_undefined_primal(moving[3])
    pulled = blocked.adjoint(problem, operands, out, lse, dout, dlse, want_bias)
    wanted = [
        cotangent if ad.is_undefined_primal(one) else None
        for cotangent, one in zip(pulled, moving, strict=True)
        if one is not None
    ]
    return [*nothing[:count], *wanted]


ad.primitive_transposes[tangent_p] = _tangent_transpose


def _tangent_batch(flat: Any, dims: Any, *, problem: Problem, tree: Any) -> Any:
    """The mapped axis joins the batch, unless a bias or an origin is mapped."""
    mapped = jax.tree.unflatten(tree, [d is not None for d in dims])
    (_, _, _, _, bias, origins), _, (_, _, _, dbias) = mapped
    if any(jax.tree.leaves((bias, origins, dbias))):
        plain = partial(_tangent_plain, problem=problem, tree=tree)
        results = jax.vmap(plain, in_axes=tuple(dims))(*flat)
        return results, [0] * len(results)
    size = next(x.shape[d] for x, d in zip(flat, dims, strict=True) if d is not None)
    has_batch = jax.tree.leaves(_with_batch(jax.tree.unflatten(tree, flat)))
    folded, batch = [], None
    for x, d, batched in zip(flat, dims, has_batch, strict=True):
        if batched:
            x = jnp.broadcast_to(x, (size, *x.shape)) if d is None else jnp.moveaxis(x, d, 0)
            batch = x.shape[1]
            x = x.reshape(-1, *x.shape[2:])
        folded.append(x)
    results = tangent_p.bind(*folded, problem=problem, tree=tree)
    return [r.reshape(size, batch, *r.shape[1:]) for r in results], [0] * len(results)


def _with_batch(operands: Any) -> Any:
    """In the structure of the operands, which of them have a batch."""
    of, results, moving = operands

    def every(tree: Any, value: bool) -> Any:
        return jax.tree.map(lambda _: value, tree)

    has = every(of, True)._replace(bias=every(of.bias, False), origins=every(of.origins, False))
    return has, every(results, True), (*every(moving[:3], True), every(moving[3], False))


batching.primitive_batchers[tangent_p] = _tangent_batch

__all__ = ["attend"]
