"""Results of tiles as the result of the whole: arrays, named tuples, Kernels, and trees of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from theory.batching.cuts import Side, Tile
from theory.kernel import Kernel

ROWS = ("cov1", "mask1")  # fields whose first axis is the batch of x1
COLUMNS = ("cov2", "mask2")
SHAPES = ("shape1", "shape2")
Arrays = dict[str, Any]  # "NODE.FIELD" -> an array


class Node(NamedTuple):
    """One array, named tuple or Kernel of a result, without its arrays.

    Attributes:
      make: a dict of fields -> the node.
      fields: names, "" for a plain array.
      static: the fields that are no arrays, as (name, value).
    """

    make: Callable[..., Any]
    fields: tuple[str, ...]
    static: tuple[tuple[str, Any], ...]


@jax.tree_util.register_static
class Skeleton(NamedTuple):
    """A result without its arrays: static, so that a compiled function can return it."""

    tree: Any
    nodes: tuple[Node, ...]


def take_apart(result: Any) -> tuple[Arrays, Skeleton]:
    """A result's arrays by name, and what is left of it.

    Raises:
      TypeError: it holds something that is neither an array nor one of the known nodes.
    """
    leaves, tree = jax.tree.flatten(result, is_leaf=_is_node)
    arrays, nodes = {}, []
    for i, leaf in enumerate(leaves):
        if isinstance(leaf, Kernel):
            make, values = Kernel, leaf.asdict()
        elif _is_node(leaf):
            make, values = type(leaf), leaf._asdict()
        else:
            make, values = _bare, {"": leaf}
        static = []
        for name, value in values.items():
            if isinstance(value, jax.Array | np.ndarray):
                arrays[f"{i}.{name}"] = value
            elif name == "" or any(isinstance(v, jax.Array) for v in jax.tree.leaves(value)):
                raise TypeError(
                    f"a kernel function to batch must return arrays, named tuples of arrays, or "
                    f"Kernels, got {type(value).__name__}"
                )
            else:
                static.append((name, value))
        nodes.append(Node(make, tuple(values), tuple(static)))
    return arrays, Skeleton(tree, tuple(nodes))


def put_together(arrays: Arrays, skeleton: Skeleton, n1: int, n2: int) -> Any:
    """The result of the whole, from its arrays and a tile's skeleton."""
    leaves = []
    for i, node in enumerate(skeleton.nodes):
        values = dict(node.static)
        for name, n in zip(SHAPES, (n1, n2), strict=True):
            if values.get(name) is not None:
                values[name] = (n, *values[name][1:])
        for name in node.fields:
            if f"{i}.{name}" in arrays:
                values[name] = arrays[f"{i}.{name}"]
        leaves.append(node.make(**values) if node.make is not _bare else values[""])
    return jax.tree.unflatten(skeleton.tree, leaves)


def spatial_pairs(shapes: Arrays, ranks: tuple[int, ...] | None) -> dict[str, int] | None:
    """Axes after the batch that come in pairs (p, q), for each array; None where it is not known.

    Args:
      shapes: arrays of a tile, or their shapes.
      ranks: spatial axes of each node's activations; None: an unknown kernel function, of which
        only matrices without further axes are understood.
    """
    pairs = {}
    for key, value in shapes.items():
        node, name = key.split(".")
        if name in (*ROWS, *COLUMNS):
            continue
        further = len(value.shape) - 2
        if ranks is None and further:
            return None
        pairs[key] = 0 if ranks is None or further == ranks[int(node)] else further // 2
    return pairs


def mirrored(value: Any, pairs: int) -> Any:
    """Covariances of (x', x) from those of (x, x'); arrays (N1, N2, p, q, ..)."""
    order = [1, 0]
    for pair in range(pairs):
        order += [3 + 2 * pair, 2 + 2 * pair]
    return value.transpose(*order, *range(len(order), value.ndim))


def blank(shapes: Arrays, sides: tuple[Side, Side], host: bool) -> Arrays:
    """Room for the whole of every array of a tile."""
    zeros = np.zeros if host else jnp.zeros
    n1, n2 = (side.n for side in sides)
    made = {}
    for key, value in shapes.items():
        axes = _batch_axes(key.split(".")[1])
        batch = tuple((n1, n2)[axis] for axis in axes)
        made[key] = zeros((*batch, *value.shape[len(axes) :]), value.dtype)
    return made


def put(
    whole: Arrays,
    part: Arrays,
    tile: Tile,
    sides: tuple[Side, Side],
    *,
    symmetric: bool,
    pairs: dict[str, int] | None,
) -> Arrays:
    """The whole with what a tile owns of each array.

    Args:
      whole: arrays; those of NumPy are changed in place, those of JAX are used up.
      part: the tile's.
      tile, sides: where it lies.
      symmetric: whether x1 is x2.
      pairs: of `spatial_pairs`; where given and x1 is x2, the mirrored tile is put as well.
    """
    out = dict(whole)
    at = (tile.row, tile.column)
    owned = [side.owned(i) for side, i in zip(sides, at, strict=True)]
    within = [side.within(i) for side, i in zip(sides, at, strict=True)]
    for key, target in whole.items():
        axes = _batch_axes(key.split(".")[1])
        if len(axes) == 1:
            (axis,) = axes
            if tile.itself if symmetric else at[1 - axis] == 0:
                out[key] = write(target, part[key], within[axis : axis + 1], owned[axis : axis + 1])
            continue
        out[key] = write(target, part[key], within, owned)
        if symmetric and pairs is not None and not tile.itself:
            out[key] = write(out[key], part[key], within, owned[::-1], pairs[key])
    return out


def write(
    target: Any, part: Any, within: list[slice], owned: list[slice], pairs: int | None = None
) -> Any:
    """target[owned] = part[within], mirrored with `pairs`; in place if the target is NumPy."""
    if isinstance(target, np.ndarray):
        target[tuple(owned)] = _taken(part, within, pairs)
        return target
    starts = tuple(s.start for s in owned) + (0,) * (target.ndim - len(owned))
    return _update(target, part, starts, tuple((s.start, s.stop) for s in within), pairs)


@partial(jax.jit, static_argnums=(3, 4), donate_argnums=0)
def _update(
    target: Array,
    part: Array,
    starts: tuple[int, ...],
    within: tuple[tuple[int, int], ...],
    pairs: int | None,
) -> Array:
    value = _taken(part, [slice(*bounds) for bounds in within], pairs)
    return lax.dynamic_update_slice(target, value, starts)


def _taken(part: Any, within: list[slice], pairs: int | None) -> Any:
    value = part[tuple(within)]
    return value if pairs is None else mirrored(value, pairs)


def _batch_axes(field: str) -> tuple[int, ...]:
    """Which sides' batches an array has: 0 for x1, 1 for x2."""
    return (0,) if field in ROWS else (1,) if field in COLUMNS else (0, 1)


def _is_node(leaf: Any) -> bool:
    return isinstance(leaf, Kernel) or hasattr(leaf, "_asdict")


def _bare(value: Any) -> Any:
    return value
