"""Arguments of the empirical functions: two sides, keyword arguments, axes of examples."""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

Tree = Any
Leaves = tuple[Array, ...]


def split_kwargs(kwargs: dict[str, Any], x1: Tree, x2: Tree) -> tuple[dict, dict]:
    """Keyword arguments of f for both sides.

    A tuple of two gives one to each side; all else goes to both. One PRNG key `rng` is the same for
    both where x1 equals x2, else each side has its own.
    """
    kwargs1, kwargs2 = {}, {}
    for name, value in kwargs.items():
        if isinstance(value, tuple) and len(value) == 2:
            kwargs1[name], kwargs2[name] = value
        elif name == "rng" and value is not None and x2 is not None:
            kwargs1[name], kwargs2[name] = _keys(value, _equal(x1, x2))
        else:
            kwargs1[name] = kwargs2[name] = value
    return kwargs1, kwargs2


def _keys(key: Any, same: Array | bool) -> tuple[Array, Array]:
    return key, jnp.where(same, key, jax.random.fold_in(key, 1))


def _equal(x1: Tree, x2: Tree) -> Array | bool:
    leaves1, leaves2 = jax.tree.leaves(x1), jax.tree.leaves(x2)
    if [leaf.shape for leaf in leaves1] != [leaf.shape for leaf in leaves2]:
        return False
    return jnp.all(jnp.array([jnp.all(a == b) for a, b in zip(leaves1, leaves2, strict=True)]))


def is_array(value: Any) -> bool:
    """Whether a value is traced; all else is a constant of the program."""
    return isinstance(value, jax.Array | np.ndarray | np.generic)


class _Kind(enum.Enum):
    ARRAY = enum.auto()


class Packed(NamedTuple):
    """A flattened (x, kwargs): hashable, so that programs are cached by it.

    Attributes:
      treedef: of (x, kwargs).
      constants: of every leaf the value, if it is no array.
    """

    treedef: Any
    constants: tuple[Any, ...]

    def unpack(self, leaves: Leaves) -> tuple[Tree, dict[str, Any]]:
        """(x, kwargs) with arrays in their places."""
        arrays = iter(leaves)
        flat = [next(arrays) if c is _Kind.ARRAY else c for c in self.constants]
        return self.treedef.unflatten(flat)


class Side(NamedTuple):
    """The inputs of one side, flat.

    Attributes:
      leaves: arrays of x and of the keyword arguments.
      tree: puts them back, together with what is no array.
      axes: of examples in each leaf; None where a leaf is shared by all.
    """

    leaves: Leaves
    tree: Packed
    axes: tuple[int | None, ...]


def pack(x: Tree, kwargs: dict[str, Any], x_axes: Any, kwargs_axes: dict[str, Any]) -> Side:
    """The flat inputs of a side.

    Args:
      x: a pytree of arrays.
      kwargs: keyword arguments of f.
      x_axes: the axis of examples of every array of x: an int, None, or a pytree of them.
      kwargs_axes: the same for those of `kwargs` that have examples, by name.

    Raises:
      ValueError: an axis is out of range, or an unknown keyword is named.
      TypeError: x has a leaf that is no array; a keyword argument is neither array nor hashable.
    """
    for leaf in jax.tree.leaves(x):
        if not is_array(leaf):
            raise TypeError(f"inputs must be arrays, or pytrees of them; got {type(leaf).__name__}")
    if unknown := set(kwargs_axes) - set(kwargs):
        raise ValueError(
            f"vmap_axes names keyword arguments that were not given: {sorted(unknown)}"
        )
    names = sorted(kwargs)
    axes = _flat_axes(x_axes, x, "x")
    for name in names:
        axes += _flat_axes(kwargs_axes.get(name), kwargs[name], name)
    flat, treedef = jax.tree.flatten((x, {name: kwargs[name] for name in names}))
    for leaf in flat:
        if not is_array(leaf) and not isinstance(leaf, Hashable):
            raise TypeError(
                f"keyword arguments must be arrays or hashable, got {type(leaf).__name__}: {leaf!r}"
            )
    constants = tuple(_Kind.ARRAY if is_array(leaf) else leaf for leaf in flat)
    kept = [i for i, leaf in enumerate(flat) if is_array(leaf)]
    leaves = tuple(jnp.asarray(flat[i]) for i in kept)
    return Side(leaves, Packed(treedef, constants), tuple(axes[i] for i in kept))


class Call(NamedTuple):
    """The static part of a call; programs are cached by it.

    Attributes:
      tree1, tree2: of the inputs of both sides; tree2 is None where x2 is x1.
      axes1, axes2: of examples in their arrays.
    """

    tree1: Packed
    axes1: tuple[int | None, ...]
    tree2: Packed | None
    axes2: tuple[int | None, ...]


def both_sides(
    x1: Tree,
    x2: Tree | None,
    kwargs: dict[str, Any],
    x_axes: Any = None,
    kwargs_axes: dict[str, Any] | None = None,
) -> tuple[Call, Leaves, Leaves]:
    """(static part, arrays of x1, arrays of x2) of a call; `pack` and `split_kwargs` say more."""
    if x2 is x1:
        x2 = None
    kwargs1, kwargs2 = split_kwargs(kwargs, x1, x2)
    side1 = pack(x1, kwargs1, x_axes, kwargs_axes or {})
    if x2 is None:
        return Call(side1.tree, side1.axes, None, ()), side1.leaves, ()
    side2 = pack(x2, kwargs2, x_axes, kwargs_axes or {})
    return Call(side1.tree, side1.axes, side2.tree, side2.axes), side1.leaves, side2.leaves


def _flat_axes(axes: Any, tree: Tree, name: str) -> list[int | None]:
    def of(axis: int | None, leaf: Any) -> int | None:
        if axis is None or not is_array(leaf):
            return None
        if not -leaf.ndim <= axis < leaf.ndim:
            raise ValueError(
                f"vmap_axes of {name} must be axes of its arrays, got {axis} for shape {leaf.shape}"
            )
        return axis % leaf.ndim

    found: list[int | None] = []
    jax.tree.map(
        lambda axis, part: found.extend(of(axis, leaf) for leaf in jax.tree.leaves(part)),
        axes,
        tree,
        is_leaf=lambda a: a is None,
    )
    return found


def split_axes(vmap_axes: Any) -> tuple[Any, Any, dict[str, Any]]:
    """(axes of x, of outputs, of keyword arguments) of a `vmap_axes`.

    Raises:
      ValueError: examples are mapped over on one side of f only.
    """
    if isinstance(vmap_axes, tuple) and len(vmap_axes) == 3:
        x_axes, out_axes, kwargs_axes = vmap_axes
    else:
        x_axes, out_axes, kwargs_axes = vmap_axes, vmap_axes, {}
    mapped = bool(jax.tree.leaves(x_axes)) or bool(jax.tree.leaves(kwargs_axes))
    if mapped != bool(jax.tree.leaves(out_axes)):
        raise ValueError(
            "vmap_axes must map inputs and outputs, or neither; got "
            f"{x_axes!r} for x, {out_axes!r} for outputs, {kwargs_axes!r} for keyword arguments"
        )
    return x_axes, out_axes, dict(kwargs_axes or {})


def count(side: Side) -> int | None:
    """Examples of a side; None where examples are not mapped over.

    Raises:
      ValueError: its arrays disagree.
    """
    sizes = {leaf.shape[a] for leaf, a in zip(side.leaves, side.axes, strict=True) if a is not None}
    if len(sizes) > 1:
        raise ValueError(f"arrays must have as many examples along vmap_axes, got {sorted(sizes)}")
    return sizes.pop() if sizes else None


def split_params(params: Tree) -> tuple[list[Array], Callable[[Leaves], Tree]]:
    """(leaves that are differentiated, what puts all leaves back); integers are constants."""
    leaves, treedef = jax.tree.flatten(params)
    leaves = [jnp.asarray(leaf) for leaf in leaves]
    moving = [jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves]

    def join(values: Leaves) -> Tree:
        those = iter(values)
        return treedef.unflatten(
            [next(those) if m else leaf for m, leaf in zip(moving, leaves, strict=True)]
        )

    return [leaf for leaf, m in zip(leaves, moving, strict=True) if m], join
