"""What every implementation is given: the network as a function of one example, and its axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from theory.empirical.arguments import Call, Leaves, Packed, Side, count
from theory.empirical.axes import OutputAxes, output_axes

Tree = Any
Outputs = list[Array]


class Network(NamedTuple):
    """One side: f as a function of flat parameters and inputs.

    Attributes:
      whole: (params, leaves) -> flat outputs on all examples.
      one: the same of one example: arrays without their axes of examples. `whole` where examples
        are not known to be independent.
      axes: of examples in `leaves`.
      count: examples; None where not known to be independent.
    """

    whole: Callable[[Leaves, Leaves], Outputs]
    one: Callable[[Leaves, Leaves], Outputs]
    axes: tuple[int | None, ...]
    count: int | None

    def over_examples(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """fn(params, leaves) of one example, for all: results get a leading axis."""
        return fn if self.count is None else jax.vmap(fn, in_axes=(None, tuple(self.axes)))

    def example(self, leaves: Leaves) -> tuple[jax.ShapeDtypeStruct, ...]:
        """The shapes of one example."""
        return tuple(
            jax.ShapeDtypeStruct(
                leaf.shape if a is None else leaf.shape[:a] + leaf.shape[a + 1 :], leaf.dtype
            )
            for leaf, a in zip(leaves, self.axes, strict=True)
        )

    def rows(self, leaves: Leaves, at: Array) -> Leaves:
        """The inputs of some examples."""
        pairs = zip(leaves, self.axes, strict=True)
        return tuple(leaf if a is None else jnp.take(leaf, at, axis=a) for leaf, a in pairs)


class Setup(NamedTuple):
    """A kernel to compute.

    Attributes:
      net1, net2: both sides.
      outputs: axes of every output.
      same: whether x2 is x1.
      alike: whether one example of x2 has the program of one of x1.
      memory: bytes that features and tiles may take together.
    """

    net1: Network
    net2: Network
    outputs: tuple[OutputAxes, ...]
    same: bool
    alike: bool
    memory: int


def setup(
    f: Callable[..., Tree],
    join: Callable[[Leaves], Tree],
    params: Sequence[Array],
    call: Call,
    leaves1: Leaves,
    leaves2: Leaves,
    *,
    out_axes: Any,
    trace_axes: int | Sequence[int],
    diagonal_axes: int | Sequence[int],
    memory: int,
) -> tuple[Setup, Any]:
    """(Setup, treedef of the outputs) of a call; shapes alone are evaluated.

    Raises:
      ValueError: axes do not fit the outputs; outputs of x1 and x2 differ in structure.
      TypeError: an output is not floating.
    """
    same = call.tree2 is None
    tree2, axes2 = (call.tree1, call.axes1) if call.tree2 is None else (call.tree2, call.axes2)

    def network(tree: Packed, axes: tuple[int | None, ...], leaves: Leaves) -> tuple:
        def apply(own: Leaves, inputs: Leaves) -> Tree:
            x, kwargs = tree.unpack(inputs)
            return f(join(own), x, **kwargs)

        out = jax.eval_shape(apply, tuple(params), leaves)
        flat, treedef = jax.tree.flatten(out)
        for leaf in flat:
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                raise TypeError(
                    f"outputs of f must be floating, got {leaf.dtype} (stax.unmask_fn makes an "
                    "array of a MaskedArray)"
                )
        batch = _output_batch(out_axes, out)
        n = count(Side(leaves, tree, axes))

        def whole(own: Leaves, inputs: Leaves) -> Outputs:
            return jax.tree.leaves(apply(own, inputs))

        def one(own: Leaves, inputs: Leaves) -> Outputs:
            pairs = zip(inputs, axes, strict=True)
            full = tuple(x if a is None else jnp.expand_dims(x, a) for x, a in pairs)
            return [
                y if b is None else jnp.squeeze(y, b)
                for y, b in zip(whole(own, full), batch, strict=True)
            ]

        shapes = [leaf.shape for leaf in flat]
        return Network(whole, whole if n is None else one, axes, n), shapes, batch, treedef

    net1, shapes1, batch, treedef = network(call.tree1, call.axes1, leaves1)
    net2, shapes2, _, treedef2 = network(tree2, axes2, leaves2)
    if treedef != treedef2:
        raise ValueError(f"f(x1) and f(x2) must have one structure, got {treedef} and {treedef2}")
    outputs = tuple(
        output_axes(s1, s2, b, trace_axes, diagonal_axes)
        for s1, s2, b in zip(shapes1, shapes2, batch, strict=True)
    )
    for axes in outputs:
        if axes.batch is not None and axes.shape1[axes.batch] != net1.count:
            raise ValueError(
                f"vmap_axes says that axis {axes.batch} of an output of shape {axes.shape1} is "
                f"that of {net1.count} examples"
            )
    alike = same or (
        (tree2, axes2) == (call.tree1, call.axes1)
        and (net1.count is None) == (net2.count is None)
        and net1.example(leaves1) == net2.example(leaves2)
    )
    return Setup(net1, net2, outputs, same, alike, memory), treedef


def _output_batch(out_axes: Any, out: Tree) -> list[int | None]:
    """The axis of examples of every output."""
    found: list[int | None] = []

    def of(axis: int | None, leaf: Any) -> int | None:
        if axis is None:
            return None
        if not -leaf.ndim <= axis < leaf.ndim:
            raise ValueError(
                f"vmap_axes of outputs must be axes of them, got {axis} for {leaf.shape}"
            )
        return axis % leaf.ndim

    jax.tree.map(
        lambda axis, part: found.extend(of(axis, leaf) for leaf in jax.tree.leaves(part)),
        out_axes,
        out,
        is_leaf=lambda a: a is None,
    )
    return found
