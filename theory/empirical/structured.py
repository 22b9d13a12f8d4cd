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
    factored2 = factored1 if problem.same else factored(net2, params, leaves2)
    shapes1 = jax.eval_shape(net1.over_examples(factored1), params, leaves1)
    shapes2 = jax.eval_shape(net2.over_examples(factored2), params, leaves2)

    def plan(tile: int | None) -> tuple[FeaturesFn, FeaturesFn, int | None]:
        formings = [
            [_forms(left, right, axes, tile) for left, right in zip(of1, of2, strict=True)]
            for of1, of2, axes in zip(shapes1, shapes2, problem.outputs, strict=True)
        ]
        features1 = _forming(factored1, formings)
        features2 = features1 if problem.same else _forming(factored2, formings)
        sizes = [
            (nbytes(shapes) + nbytes(jax.eval_shape(net.over_examples(fn), params, leaves)))
            // (net.count or 1)
            for net, shapes, fn, leaves in (
                (net1, shapes1, features1, leaves1),
                (net2, shapes2, features2, leaves2),
            )
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
        return features1, features2, tile_size(problem, sizes[0], sizes[1], pair)

    features1, features2, tile = plan(None)
    if tile is not None:  # what is cheaper for all examples need not be for those of a tile
        features1, features2, tile = plan(tile)

    def contract(first: Features, second: Features) -> list[Array]:
        return [
            total(of1, of2, axes)
            for of1, of2, axes in zip(first, second, problem.outputs, strict=True)
        ]

    return by_tiles(problem, features1, features2, contract, params, leaves1, leaves2, tile)


def total(left: list[Feature], right: list[Feature], axes: OutputAxes) -> Array:
    """The sum over parameters of inner products of Jacobians, in the native layout."""
    return sum((inner(a, b, axes) for a, b in zip(left, right, strict=True)), start=jnp.zeros(()))


def factored(net: Network, params: Leaves, leaves: Leaves) -> FeaturesFn:
    """(params, inputs) -> features of one example."""
    shapes = [jax.ShapeDtypeStruct(p.shape, p.dtype) for p in params]
    inputs = [
        jax.ShapeDtypeStruct(
            leaf.shape if a is None else leaf.shape[:a] + leaf.shape[a + 1 :], leaf.dtype
        )
        for leaf, a in zip(leaves, net.axes, strict=True)
    ]
    graph = trace(net.one, tuple(shapes), tuple(inputs))
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
    def features(own: Leaves, example: Leaves) -> Features:
        return [
            [
                form(f) if now and isinstance(f, Factors) else f
                for f, now in zip(of, own_, strict=True)
            ]
            for of, own_ in zip(factors(own, example), formings, strict=True)
        ]

    return features


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
