"""Where parameters enter a network, and with what structure.

Every path of a parameter into the network is followed while it only moves entries (a view: reshape,
transpose, broadcast, scale) up to the operation that uses it: a product, a convolution, an
elementwise product or a sum. The output y of that operation is cut: its cotangent C = df/dy and the
other factor X give df/dw. A scale by a number or a sum with something else behind it has the same
cotangent up to the scale, so the cut moves past it; weights and bias of a layer then share one. A
parameter that enters otherwise is cut itself, which gives its Jacobian.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from theory.empirical.graph import Atom, Graph, Op

Label = int  # axis a of the root: a >= 0; a place: -1 - (axis of the output)


class View(NamedTuple):
    """A value that is a parameter with its entries moved.

    Attributes:
      leaf: which parameter.
      root: number of the value whose axes `axes` names: the parameter, or a reshape of it.
      axes: root axis of every axis; None where it is broadcast.
      scale: factors, as (number or literal, whether it divides); a literal's sign may be negative.
    """

    leaf: int
    root: int
    axes: tuple[int | None, ...]
    scale: tuple[tuple[Any, bool], ...] = ()


class Patches(NamedTuple):
    """How windows of a convolution's input are taken: its dimension numbers and sizes."""

    params: dict[str, Any]
    window: tuple[int, ...]


class Use(NamedTuple):
    """A term of a parameter's Jacobian, J[o, root] = scale * sum over places of C X.

    Attributes:
      leaf, root: as a View's.
      cut: number of the value whose cotangent is C.
      c_labels: root axis or place of each axis of the cut.
      x: number of the other factor, None for 1.
      x_labels: root axis or place of each axis of X.
      patches: where X is made of windows of that value.
      scale: as a View's.
    """

    leaf: int
    root: int
    cut: int
    c_labels: tuple[Label, ...]
    x: Atom | None = None
    x_labels: tuple[Label, ...] = ()
    patches: Patches | None = None
    scale: tuple[tuple[Any, bool], ...] = ()


def find(graph: Graph, params: int) -> list[list[Use]]:
    """The uses of each of the first `params` arguments."""
    leaves = graph.ins[:params]
    views = {
        number: View(leaf, number, tuple(range(len(graph.shapes[number].shape))))
        for leaf, number in enumerate(leaves)
    }
    moving = _moving(graph, set(leaves))
    uses: list[list[Use]] = [[] for _ in leaves]
    plain = {
        views[atom].leaf for atom in graph.outs if not isinstance(atom, Literal) and atom in views
    }
    for op in graph.ops:
        for place, atom in enumerate(op.ins):
            view = None if isinstance(atom, Literal) else views.get(atom)
            if view is None:
                continue
            moved = _view(graph, op, place, view, moving)
            if moved is not None:
                views[op.outs[0]] = moved
                if op.outs[0] in graph.outs:
                    plain.add(view.leaf)
                continue
            use = USES.get(op.name, _no_use)(graph, op, place, view)
            if use is None:
                plain.add(view.leaf)
            else:
                uses[view.leaf].append(use)
    consumers = _consumers(graph)
    found = []
    for leaf, number in enumerate(leaves):
        if leaf in plain or len({use.root for use in uses[leaf]}) > 1:
            ndim = len(graph.shapes[number].shape)
            found.append([Use(leaf, number, number, tuple(range(ndim)))])
        else:
            found.append([_later(graph, use, consumers, moving) for use in uses[leaf]])
    return found


def _moving(graph: Graph, leaves: set[int]) -> set[int]:
    """Numbers of values that depend on parameters."""
    moving = set(leaves)
    for op in graph.ops:
        if any(i in moving for i in op.reads):
            moving.update(op.outs)
    return moving


def _consumers(graph: Graph) -> dict[int, list[tuple[Op | None, int]]]:
    """(operation, place) of everything that reads a value; None for the result."""
    consumers: dict[int, list[tuple[Op | None, int]]] = {}
    for op in graph.ops:
        for place, atom in enumerate(op.ins):
            if not isinstance(atom, Literal):
                consumers.setdefault(atom, []).append((op, place))
    for atom in graph.outs:
        if not isinstance(atom, Literal):
            consumers.setdefault(atom, []).append((None, 0))
    return consumers


def shape_of(graph: Graph, atom: Atom) -> tuple[int, ...]:
    """The shape of an atom."""
    return np.shape(atom.val) if isinstance(atom, Literal) else graph.shapes[atom].shape


def _factor(graph: Graph, op: Op, place: int, moving: set[int]) -> tuple[Any, bool] | None:
    """The number that an operation scales its input by: (atom, whether it divides)."""
    if op.name == "neg":
        return -1.0, False
    if op.name not in ("mul", "div") or (op.name == "div" and place == 1):
        return None
    other = op.ins[1 - place]
    if shape_of(graph, other) != () or (not isinstance(other, Literal) and other in moving):
        return None
    return other, op.name == "div"


def _view(graph: Graph, op: Op, place: int, view: View, moving: set[int]) -> View | None:
    """What an operation makes of a view, where that is a view."""
    shape, out = shape_of(graph, op.ins[place]), graph.shapes[op.outs[0]]
    scale = _factor(graph, op, place, moving)
    if scale is not None and out.shape == shape:
        return view._replace(scale=(*view.scale, scale))
    if op.name in ("copy", "copy_p"):
        return view
    if op.name == "convert_element_type":
        return view if jnp.issubdtype(out.dtype, jnp.floating) else None
    if op.name == "transpose":
        return view._replace(axes=tuple(view.axes[a] for a in op.eqn.params["permutation"]))
    if op.name == "squeeze":
        dropped = op.eqn.params["dimensions"]
        return view._replace(axes=tuple(a for i, a in enumerate(view.axes) if i not in dropped))
    if op.name == "broadcast_in_dim":
        axes: list[int | None] = [None] * len(out.shape)
        for own, to in enumerate(op.eqn.params["broadcast_dimensions"]):
            axes[to] = view.axes[own] if shape[own] == out.shape[to] else None
        return view._replace(axes=tuple(axes))
    if op.name == "reshape":
        return _reshaped(op, view, shape, out.shape)
    return None


def _reshaped(op: Op, view: View, shape: tuple, out: tuple) -> View | None:
    if [n for n in shape if n != 1] == [n for n in out if n != 1]:  # axes of size 1 alone
        named = iter([a for a, n in zip(view.axes, shape, strict=True) if n != 1])
        return view._replace(axes=tuple(None if n == 1 else next(named) for n in out))
    if any(a is None and n != 1 for a, n in zip(view.axes, shape, strict=True)):
        return None  # of something broadcast
    return view._replace(root=op.outs[0], axes=tuple(range(len(out))))


def _labels(view: View, places: tuple[int, ...]) -> tuple[Label, ...]:
    """Root axes of a view, places of the output where it is broadcast."""
    return tuple(-1 - p if a is None else a for a, p in zip(view.axes, places, strict=True))


def _sum(graph: Graph, op: Op, place: int, view: View) -> Use | None:
    if shape_of(graph, op.ins[place]) != graph.shapes[op.outs[0]].shape:
        return None
    sign = ((-1.0, False),) if op.name == "sub" and place == 1 else ()
    labels = _labels(view, tuple(range(len(view.axes))))
    return Use(view.leaf, view.root, op.outs[0], labels, scale=view.scale + sign)


def _product(graph: Graph, op: Op, place: int, view: View) -> Use | None:
    other, shape = op.ins[1 - place], graph.shapes[op.outs[0]].shape
    if not shape_of(graph, op.ins[place]) == shape_of(graph, other) == shape:
        return None
    labels = _labels(view, tuple(range(len(shape))))
    return Use(view.leaf, view.root, op.outs[0], labels, other, labels, scale=view.scale)


def _dot(graph: Graph, op: Op, place: int, view: View) -> Use | None:
    contracted, batch = op.eqn.params["dimension_numbers"]
    own, other = (contracted[place], batch[place]), (contracted[1 - place], batch[1 - place])
    ndims = [len(shape_of(graph, atom)) for atom in op.ins]
    free = [
        [a for a in range(ndim) if a not in contracted[i] and a not in batch[i]]
        for i, ndim in enumerate(ndims)
    ]
    n_batch, n_left = len(batch[0]), len(free[0])
    start = [n_batch, n_batch + n_left]  # of the free axes of both in the output
    ndim = n_batch + n_left + len(free[1])
    c_labels: list[Label] = [-1 - a for a in range(ndim)]
    x_labels: list[Label] = [0] * ndims[1 - place]
    for i, a in enumerate(free[place]):
        axis = view.axes[a]
        c_labels[start[place] + i] = -1 - (start[place] + i) if axis is None else axis
    for i, a in enumerate(free[1 - place]):
        x_labels[a] = -1 - (start[1 - place] + i)
    for i, (mine, its) in enumerate(zip(own[1], other[1], strict=True)):
        axis = view.axes[mine]
        c_labels[i] = x_labels[its] = -1 - i if axis is None else axis
    for i, (mine, its) in enumerate(zip(own[0], other[0], strict=True)):
        axis = view.axes[mine]
        x_labels[its] = -1 - (ndim + i) if axis is None else axis
    x = op.ins[1 - place]
    return Use(
        view.leaf, view.root, op.outs[0], tuple(c_labels), x, tuple(x_labels), scale=view.scale
    )


def _conv(graph: Graph, op: Op, place: int, view: View) -> Use | None:
    params = op.eqn.params
    if place != 1 or params["feature_group_count"] != 1 or params["batch_group_count"] != 1:
        return None
    numbers = params["dimension_numbers"]
    w, out = numbers.rhs_spec, numbers.out_spec
    shape = shape_of(graph, op.ins[1])
    if any(view.axes[a] is None and shape[a] != 1 for a in range(len(shape))):
        return None
    ndim = len(out)
    named = [-1 - (ndim + i) if a is None else a for i, a in enumerate(view.axes)]
    c_labels = [-1 - a for a in range(ndim)]
    c_labels[out[1]] = named[w[0]]
    # windows are (batch, channels, *output places, *window)
    x_labels = (-1 - out[0], named[w[1]], *(-1 - a for a in out[2:]), *(named[a] for a in w[2:]))
    patches = Patches(params, tuple(shape[a] for a in w[2:]))
    return Use(
        view.leaf, view.root, op.outs[0], tuple(c_labels), op.ins[0], x_labels, patches, view.scale
    )


def _no_use(graph: Graph, op: Op, place: int, view: View) -> None:
    return None


USES = {
    "add": _sum,
    "add_any": _sum,
    "sub": _sum,
    "mul": _product,
    "dot_general": _dot,
    "conv_general_dilated": _conv,
}


def _later(graph: Graph, use: Use, consumers: dict, moving: set[int]) -> Use:
    """The same use, cut as late as the cotangent is the same up to a scale."""
    while len(consumers.get(use.cut, ())) == 1:
        ((op, place),) = consumers[use.cut]
        if op is None:
            return use
        out, shape = op.outs[0], graph.shapes[use.cut].shape
        scale = _factor(graph, op, place, moving)
        if (
            graph.shapes[out].shape != shape
            or graph.shapes[out].dtype != graph.shapes[use.cut].dtype
        ):
            return use
        if scale is not None:
            use = use._replace(cut=out, scale=(*use.scale, scale))
        elif op.name in ("add", "add_any", "sub"):
            sign = ((-1.0, False),) if op.name == "sub" and place == 1 else ()
            use = use._replace(cut=out, scale=use.scale + sign)
        else:
            return use
    return use
