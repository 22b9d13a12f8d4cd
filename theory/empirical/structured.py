"""Structured derivatives: Jacobians in factors, read off the network's jaxpr.

The network of one example is traced to a jaxpr; `uses` finds what its parameters enter; one reverse
pass gives the cotangents of those places alone, parameters being constants in it. `contract` then
chooses, parameter by parameter, whether the Jacobian is formed or two Gram matrices are multiplied.

Reference: Novak, Sohl-Dickstein, Schoenholz 2022, Fast Finite Width Neural Tangent Kernel, whose
structured derivatives these are in spirit; here the form is chosen by cost, from the sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from theory.empirical.arguments import Leaves
from theory.empirical.axes import OutputAxes
from theory.empirical.contract import (
    Factors,
    Feature,
    Formed,
    form,
    forming_is_cheaper,
    inner,
    size_of,
)
from theory.empirical.factors import feature
from theory.empirical.graph import evaluate, trace
from theory.empirical.rows import cotangent_rows
from theory.empirical.setup import Network, Setup
from theory.empirical.tiles import by_tiles, nbytes, tile_size
from theory.empirical.uses import find

Features = list[list[Feature]]  # of every output, of every parameter that is used
FeaturesFn = Callable[[Leaves, Leaves], Features]
Formings = list[list[bool]]


def kernel(problem: Setup, params: Leaves, leaves1: Leaves, leaves2: Leaves) -> list[Array]:
    """The neural tangent kernel of every output by structured derivatives."""
    net1, net2 = problem.net1, problem.net2
    factored1 = factored(net1, params, leaves1)
    factored2 = factored1 if problem.alike else factored(net2, params, leaves2)
    shapes1 = jax.eval_shape(net1.over_examples(factored1), params, leaves1)
    shapes2 = shapes1
    if not problem.same and not (problem.alike and net1.count == net2.count):
        shapes2 = jax.eval_shape(net2.over_examples(factored2), params, leaves2)

    def plan(tile: int | None) -> tuple[Formings, int | None]:
        formings = [
            [_forms(left, right, axes, tile) for left, right in zip(of1, of2, strict=True)]
            for of1, of2, axes in zip(shapes1, shapes2, problem.outputs, strict=True)
        ]
        sizes = [
            _bytes(shapes, formings) // (net.count or 1)
            for shapes, net in ((shapes1, net1), (shapes2, net2))
        ]
        pair = max(
            (
                _pair_bytes(left, right, axes, forms)
                for of1, of2, axes, own in zip(
                    shapes1, shapes2, problem.outputs, formings, strict=True
                )
                for left, right, forms in zip(of1, of2, own, strict=True)
            ),
            default=0,
        )
        return formings, tile_size(problem, sizes[0], sizes[1], pair)

    formings, tile = plan(None)
    if tile is not None:  # what is cheaper for all examples need not be for those of a tile
        formings, tile = plan(tile)

    def contract(first: Features, second: Features) -> list[Array]:
        return [
            total(of1, of2, axes)
            for of1, of2, axes in zip(first, second, problem.outputs, strict=True)
        ]

    mapped = None not in net1.axes and net1.count is not None and bool(jax.tree.leaves(shapes1))
    if tile is None and mapped and problem.alike and not problem.same:
        first, second = _both(problem, factored1, params, leaves1, leaves2)
        form_all = jax.vmap(lambda features: _formed(features, formings))
        native = contract(form_all(first), form_all(second))
        return [axes.finish(part) for axes, part in zip(problem.outputs, native, strict=True)]
    features1 = _forming(factored1, formings)
    features2 = features1 if problem.same else _forming(factored2, formings)
    return by_tiles(problem, features1, features2, contract, params, leaves1, leaves2, tile)


def _both(
    problem: Setup, features: FeaturesFn, params: Leaves, leaves1: Leaves, leaves2: Leaves
) -> tuple[Features, Features]:
    """Features of both sides from one pass over all examples: half of a program to compile."""
    net, n1 = problem.net1, problem.net1.count
    joined = tuple(
        jnp.concatenate([left, right], axis=a)
        for left, right, a in zip(leaves1, leaves2, net.axes, strict=True)
        if a is not None
    )
    found = net.over_examples(features)(params, joined)
    return jax.tree.map(lambda f: f[:n1], found), jax.tree.map(lambda f: f[n1:], found)


def total(left: list[Feature], right: list[Feature], axes: OutputAxes) -> Array:
    """The sum over parameters of inner products of Jacobians, in the native layout."""
    parts = [inner(a, b, axes) for a, b in zip(left, right, strict=True)]
    return sum(parts[1:], start=parts[0]) if parts else jnp.zeros(axes.native_shape())


def factored(net: Network, params: Leaves, leaves: Leaves) -> FeaturesFn:
    """(params, inputs) -> features of one example."""
    shapes = [jax.ShapeDtypeStruct(p.shape, p.dtype) for p in params]
    graph = trace(net.one, tuple(shapes), net.example(leaves))
    used = [uses for uses in find(graph, len(params)) if uses]
    cuts = {use.cut: graph.shapes[use.cut] for uses in used for use in uses}

    def features(own: Leaves, example: Leaves) -> Features:
        def shifted(shifts: dict[int, Array]) -> tuple[list[Any], dict[int, Any]]:
            return evaluate(graph, (*own, *example), shifts)

        zeros = {cut: jnp.zeros(aval.shape, aval.dtype) for cut, aval in cuts.items()}
        outputs, pull, values = jax.vjp(shifted, zeros, has_aux=True)
        found = []
        for out, (rows,) in zip(outputs, cotangent_rows(pull, outputs), strict=True):
            found.append(
                [
                    feature(uses, rows, values, graph.shapes[uses[0].root].shape, out.ndim)
                    for uses in used
                ]
            )
        return found

    return features


def _forming(factors: FeaturesFn, formings: Formings) -> FeaturesFn:
    return lambda own, example: _formed(factors(own, example), formings)


def _formed(features: Features, formings: Formings) -> Features:
    """The features of one example, Jacobians formed where `formings` says so."""
    return [
        [
            form(f) if now and isinstance(f, Factors) else f
            for f, now in zip(of_output, now_of, strict=True)
        ]
        for of_output, now_of in zip(features, formings, strict=True)
    ]


def _bytes(shapes: Features, formings: Formings) -> int:
    """Bytes of features, and of the Jacobians that are formed of them."""
    total_bytes = nbytes(shapes)
    for of_output, now_of in zip(shapes, formings, strict=True):
        for f, now in zip(of_output, now_of, strict=True):
            if now and isinstance(f, Factors):  # (.., B, M, n) and (B, M, c) make (.., B, c, n)
                entries = f.c.size // max(1, f.c.shape[-2]) * f.x.shape[-1]
                total_bytes += entries * f.c.dtype.itemsize
    return total_bytes


def _forms(left: Feature, right: Feature, axes: OutputAxes, tile: int | None) -> bool:
    if isinstance(left, Formed) or isinstance(right, Formed):
        return True

    def of_tile(shape: Any) -> Any:
        n = shape.shape[0] if tile is None else min(tile, shape.shape[0])
        return jax.ShapeDtypeStruct((n, *shape.shape[1:]), shape.dtype)

    if axes.batch is not None:
        left, right = (Factors(of_tile(f.c), of_tile(f.x)) for f in (left, right))
    return forming_is_cheaper(size_of(left, right, axes))


def _pair_bytes(left: Feature, right: Feature, axes: OutputAxes, forms: bool) -> int:
    """Bytes of the native entries of one pair of examples, with their places."""
    outputs = [a for a in range(axes.ndim) if a != axes.batch and a not in axes.trace]
    entries = 1
    for a in outputs:
        entries *= axes.shape1[a] * (1 if a in axes.diagonal else axes.shape2[a])
    if isinstance(left, Factors) and isinstance(right, Factors) and not forms:
        entries *= left.x.shape[-3] * left.x.shape[-2] * right.x.shape[-2]
    return 2 * entries * jax.tree.leaves(left)[0].dtype.itemsize
