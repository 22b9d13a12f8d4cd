"""The neural tangent kernel row by row, as products with unit vectors.

    Theta[:, j] = J(x1) (J(x2)' e_j)

A reverse pass over the second side, one example at a time where examples are independent, then a
forward pass over all of the first.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import Array

from theory.empirical.arguments import Leaves
from theory.empirical.axes import OutputAxes
from theory.empirical.setup import Setup
from theory.empirical.tiles import nbytes


def kernel(problem: Setup, params: Leaves, leaves1: Leaves, leaves2: Leaves) -> list[Array]:
    """The neural tangent kernel of every output by NTK-vector products."""
    return [
        _of_output(problem, k, axes, params, leaves1, leaves2)
        for k, axes in enumerate(problem.outputs)
    ]


def _of_output(
    problem: Setup, k: int, axes: OutputAxes, params: Leaves, leaves1: Leaves, leaves2: Leaves
) -> Array:
    net1, net2 = problem.net1, problem.net2
    paired = axes.batch is not None and not axes.batch_is_free

    def products(inputs1: Leaves, inputs2: Leaves) -> Array:
        """(*output of x2, *output of x1) of one example of x2, and one or all of x1."""
        out, pull = jax.vjp(lambda p: net2.one(p, inputs2)[k], params)
        first = net1.one if paired else net1.whole

        def row(unit: Array) -> Array:
            (direction,) = pull(unit)
            return jax.jvp(lambda p: first(p, inputs1)[k], (params,), (direction,))[1]

        basis = jnp.eye(out.size, dtype=out.dtype).reshape(out.size, *out.shape)
        at_once = max(1, problem.memory // max(1, nbytes(params)))
        rows = (
            jax.lax.map(row, basis, batch_size=at_once)
            if at_once < out.size
            else jax.vmap(row)(basis)
        )
        return rows.reshape(*out.shape, *rows.shape[1:])

    order = axes.order()
    if axes.batch is None:
        found = products(leaves1, leaves2)
        left = list(range(axes.ndim))
    else:
        entries = math.prod(axes.shape2) // max(1, axes.shape2[axes.batch])
        at_once = max(1, problem.memory // max(1, nbytes(params) * entries))
        assert net2.count is not None
        if paired:

            def one(i: Array) -> Array:
                return products(_example(net1.axes, leaves1, i), _example(net2.axes, leaves2, i))

            left = list(order[1:])
        else:

            def one(i: Array) -> Array:
                return products(leaves1, _example(net2.axes, leaves2, i))

            left = list(range(axes.ndim))
        at = jnp.arange(net2.count)
        found = (
            jax.vmap(one)(at) if at_once >= net2.count else jax.lax.map(one, at, batch_size=at_once)
        )
    right = [axes.right(a) for a in order]
    return jnp.einsum(found, right + left, axes.final_labels()) / axes.trace_size


def _example(axes: tuple[int | None, ...], leaves: Leaves, i: Array) -> Leaves:
    return tuple(
        leaf if a is None else jax.lax.dynamic_index_in_dim(leaf, i, a, keepdims=False)
        for leaf, a in zip(leaves, axes, strict=True)
    )
