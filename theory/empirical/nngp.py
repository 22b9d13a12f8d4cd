"""Empirical covariances of a network's outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from theory.empirical.arguments import Call, Leaves, both_sides
from theory.empirical.axes import output_axes

Tree = Any


def empirical_nngp_fn(
    f: Callable[..., Tree],
    trace_axes: int | Sequence[int] = (-1,),
    diagonal_axes: int | Sequence[int] = (),
) -> Callable[..., Tree]:
    """The covariance of a finite network's outputs, one sample of the NNGP kernel.

        K = f(x1) f(x2)' / (size of the traced axes)

    Args:
      f: (params, x, **kwargs) -> an array, or a pytree of them; of several outputs each has a
        kernel of its own.
      trace_axes: axes of f(x) over which pairs are averaged, such as exchangeable channels.
      diagonal_axes: axes of which equal places alone are kept.

    Returns:
      nngp_fn(x1, x2, params, **kwargs), x2 None meaning x1; compiled, one program for each shape.
      Its result has the axes of f(x1) and f(x2) in pairs, (N1, N2, ...); traced pairs are absent,
      diagonal ones are there once. Keyword arguments go to f: a tuple of two gives one to each
      side, a PRNG key `rng` is split where x1 and x2 differ; what is no array is a constant.

    Raises:
      ValueError: an axis is out of range, is in both groups, or differs in size between the sides.
    """

    @partial(jax.jit, static_argnums=0)
    def program(call: Call, params: Tree, leaves1: Leaves, leaves2: Leaves) -> Tree:
        x1, kwargs1 = call.tree1.unpack(leaves1)
        out1 = out2 = f(params, x1, **kwargs1)
        if call.tree2 is not None:
            x2, kwargs2 = call.tree2.unpack(leaves2)
            out2 = f(params, x2, **kwargs2)

        def covariance(y1: Array, y2: Array) -> Array:
            axes = output_axes(y1.shape, y2.shape, None, trace_axes, diagonal_axes)
            native = jnp.einsum(
                y1, axes.left_labels(), y2, axes.right_labels(), axes.native_labels()
            )
            return axes.finish(native)

        return jax.tree.map(covariance, out1, out2)

    def nngp_fn(x1: Tree, x2: Tree | None, params: Tree, **apply_fn_kwargs) -> Tree:
        call, leaves1, leaves2 = both_sides(x1, x2, apply_fn_kwargs)
        return program(call, params, leaves1, leaves2)

    return nngp_fn
