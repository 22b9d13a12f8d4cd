"""Contraction of Jacobians that reverse mode gives."""

from __future__ import annotations

import math

import jax
from jax import Array

from theory.empirical.arguments import Leaves
from theory.empirical.contract import Formed
from theory.empirical.rows import cotangent_rows
from theory.empirical.setup import Network, Setup
from theory.empirical.structured import Features, FeaturesFn, total
from theory.empirical.tiles import by_tiles, nbytes, tile_size


def kernel(problem: Setup, params: Leaves, leaves1: Leaves, leaves2: Leaves) -> list[Array]:
    """The neural tangent kernel of every output from formed Jacobians."""
    features1, features2 = jacobian(problem.net1), jacobian(problem.net2)

    def contract(first: Features, second: Features) -> list[Array]:
        return [
            total(of1, of2, axes)
            for of1, of2, axes in zip(first, second, problem.outputs, strict=True)
        ]

    sizes, pair = [], 0
    for net, shape in ((problem.net1, "shape1"), (problem.net2, "shape2")):
        entries = sum(math.prod(getattr(axes, shape)) for axes in problem.outputs)
        sizes.append(nbytes(params) * entries // (net.count or 1))
    for axes in problem.outputs:
        free = [a for a in range(axes.ndim) if a not in (axes.batch, *axes.trace)]
        itemsize = max((p.dtype.itemsize for p in params), default=4)
        entries = math.prod(
            axes.shape1[a] * (1 if a in axes.diagonal else axes.shape2[a]) for a in free
        )
        pair = max(pair, 2 * itemsize * entries)
    tile = tile_size(problem, sizes[0], sizes[1], pair)
    return by_tiles(problem, features1, features2, contract, params, leaves1, leaves2, tile)


def jacobian(net: Network) -> FeaturesFn:
    """(params, inputs) -> formed Jacobians of one example."""

    def features(own: Leaves, example: Leaves) -> Features:
        outputs, pull = jax.vjp(lambda p: net.one(p, example), own)
        found = []
        for out, (rows,) in zip(outputs, cotangent_rows(pull, outputs), strict=True):
            found.append([Formed(row.reshape(*out.shape, -1)) for row in rows])
        return found

    return features
