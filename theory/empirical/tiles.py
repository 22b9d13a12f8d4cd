"""Kernels by tiles of examples, so that Jacobians of all of them are never held at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from theory.empirical.arguments import Leaves
from theory.empirical.axes import OutputAxes
from theory.empirical.setup import Setup

Features = Any  # of a tile of examples: a pytree, examples in front
FeaturesFn = Callable[[Leaves, Leaves], Features]  # (params, inputs)
Contract = Callable[[Features, Features], list[Array]]  # native tiles of every output


def by_tiles(
    problem: Setup,
    features1: FeaturesFn,
    features2: FeaturesFn,
    contract: Contract,
    params: Leaves,
    leaves1: Leaves,
    leaves2: Leaves,
    tile: int | None,
) -> list[Array]:
    """The kernel of every output, from features of examples and their inner products.

    Args:
      problem: the networks and their axes.
      features1, features2: (params, inputs) -> features of one example of either side.
      contract: (features of x1, features of x2) -> native arrays, one for each output.
      params, leaves1, leaves2: flat parameters and inputs.
      tile: examples of each side that are worked on together; None for all.

    Returns:
      The kernels in their final layout.
    """
    net1, net2 = problem.net1, problem.net2
    fn1, fn2 = net1.over_examples(features1), net2.over_examples(features2)
    if tile is None or net1.count is None or net2.count is None:
        first = fn1(params, leaves1)
        native = contract(first, first if problem.same else fn2(params, leaves2))
    elif all(axes.batch_is_free for axes in problem.outputs):
        native = _free(problem, fn1, fn2, contract, params, leaves1, leaves2, tile)
    else:  # x1[i] with x2[i] alone

        def step(rows: Array) -> list[Array]:
            first = fn1(params, net1.rows(leaves1, rows))
            same = problem.same
            return contract(first, first if same else fn2(params, net2.rows(leaves2, rows)))

        native = [
            _merge(part, 1, _place(axes, axes.batch), net1.count)
            for part, axes in zip(
                jax.lax.map(step, _tiles(net1.count, tile)), problem.outputs, strict=True
            )
        ]
    return [axes.finish(part) for axes, part in zip(problem.outputs, native, strict=True)]


def _free(problem, fn1, fn2, contract, params, leaves1, leaves2, tile) -> list[Array]:
    net1, net2 = problem.net1, problem.net2
    rows1, rows2 = _tiles(net1.count, tile), _tiles(net2.count, tile)

    def outer(rows: Array) -> list[Array]:
        first = fn1(params, net1.rows(leaves1, rows))
        return jax.lax.map(
            lambda other: contract(first, fn2(params, net2.rows(leaves2, other))), rows2
        )

    found = []
    for part, axes in zip(jax.lax.map(outer, rows1), problem.outputs, strict=True):
        merged = _merge(part, 2, _place(axes, axes.ndim + axes.batch), net2.count, first=1)
        found.append(_merge(merged, 1, _place(axes, axes.batch), net1.count))
    return found


def _tiles(count: int, tile: int) -> Array:
    """(tiles, tile) rows; the last tile repeats the last example."""
    return jnp.minimum(jnp.arange(0, count, tile)[:, None] + jnp.arange(tile), count - 1)


def _place(axes: OutputAxes, label: int | None) -> int:
    assert label is not None
    return axes.native_labels().index(label)


def _merge(part: Array, leading: int, place: int, count: int, first: int = 0) -> Array:
    """Tiles along axis `first` of `leading` put before the axis `place` of the native array."""
    at = leading + place
    moved = jnp.moveaxis(part, first, at - 1)
    shape = moved.shape
    joined = moved.reshape(*shape[: at - 1], shape[at - 1] * shape[at], *shape[at + 1 :])
    return jax.lax.slice_in_dim(joined, 0, count, axis=at - 1)


def tile_size(problem: Setup, bytes1: int, bytes2: int, pair_bytes: int) -> int | None:
    """Examples of a tile, so that features of both sides and their products fit in memory.

    Args:
      problem: how much memory there is, and how many examples.
      bytes1, bytes2: of features of one example of either side.
      pair_bytes: of one pair of examples while it is worked on.

    Returns:
      Examples of each side, at least one; None where all fit.
    """
    n1, n2 = problem.net1.count, problem.net2.count
    kinds = {axes.batch_is_free for axes in problem.outputs}
    if n1 is None or n2 is None or len(kinds) != 1:
        return None
    (free,) = kinds

    def needed(rows1: int, rows2: int) -> int:
        pairs = rows1 * rows2 if free else rows1
        return rows1 * bytes1 + (0 if problem.same else rows2 * bytes2) + pairs * pair_bytes

    if needed(n1, n2) <= problem.memory:
        return None
    low, high = (
        1,
        max(n1, n2),
    )  # the largest size that fits; tiles of one set differ from each other
    while low < high:
        middle = (low + high + 1) // 2
        pairs = middle**2 if free else middle
        if middle * (bytes1 + bytes2) + pairs * pair_bytes <= problem.memory:
            low = middle
        else:
            high = middle - 1
    largest = max(n1, n2)
    return math.ceil(largest / math.ceil(largest / low))


def nbytes(tree: Any) -> int:
    """Bytes of a pytree of arrays or shapes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
