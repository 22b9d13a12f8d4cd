"""The arguments of a kernel function: what is cut with the examples, what is passed whole.

x1, x2            cut; a Kernel as x1 is cut along both of its batch axes
name=(v1, v2)     a pair of arrays, one a side with the batch first: cut with x1 and with x2
rng               a key of its own for each tile of rows and each tile of columns
other arrays      passed whole (`params`, which is never cut, among them)
anything else     static: part of the compiled program
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from theory.kernel import Kernel
from theory.stax.masked import MaskedArray

Tree = Any
WHOLE = ("params",)  # never cut, though it may be a pair of arrays


class Arrays(NamedTuple):
    """What a program is handed.

    Attributes:
      x1, x2: inputs; x2 None where it is x1, or where x1 is a Kernel.
      sides: name -> a pair of arrays with the batch first, or None.
      rng: a PRNG key, a pair of them (one a side), or None.
      whole: the leaves of `Static.tree` that are arrays; None for the others.
    """

    x1: Tree
    x2: Tree
    sides: dict[str, tuple[Any, Any]]
    rng: Any
    whole: tuple[Any, ...]


class Static(NamedTuple):
    """What a program is compiled for: the tree of (args, kwargs), its leaves but for arrays."""

    tree: Any
    leaves: tuple[Any, ...]


def split(x1: Tree, x2: Tree, args: tuple, kwargs: dict[str, Any]) -> tuple[Arrays, Static]:
    """The arguments of one call, sorted by what is done to them.

    Args:
      x1, x2: inputs, or Kernels and None; x2 the same object as x1 means None.
      args: the arguments after x2.
      kwargs: those by name.

    Raises:
      ValueError: sizes that do not agree.
      TypeError: x2 beside a Kernel.
    """
    if x2 is x1:
        x2 = None
    x1, x2 = _broadcast_masks(x1), _broadcast_masks(x2)
    if kernels_in(x1) and x2 is not None:
        raise TypeError("x1 is a Kernel, which has both sides: x2 must be None")
    n1, n2 = counts_of(x1, x2)
    sides, rest = {}, dict(kwargs)
    for name, value in kwargs.items():
        if name not in (*WHOLE, "rng") and _is_pair(value):
            sides[name] = _checked_pair(name, value, n1, n2, symmetric=_is_symmetric(x1, x2))
            del rest[name]
    rng = rest.pop("rng", None)
    leaves, tree = jax.tree.flatten((args, rest))
    whole = tuple(leaf if is_array(leaf) else None for leaf in leaves)
    static = tuple(None if is_array(leaf) else leaf for leaf in leaves)
    return Arrays(x1, x2, sides, rng, whole), Static(tree, static)


def call(
    kernel_fn, arrays: Arrays, static: Static, at: Array, sizes: tuple[int, int], itself: bool
) -> Any:
    """kernel_fn on one tile.

    Args:
      kernel_fn: (x1, x2, *args, **kwargs) -> covariances.
      arrays, static: of `split`.
      at: (4,) int, the first example of the tile's rows and columns, and their indices.
      sizes: examples of its rows and columns.
      itself: whether rows and columns are the same examples.
    """
    whole = sizes == counts_of(arrays.x1, arrays.x2)
    pairs = zip(arrays.whole, static.leaves, strict=True)
    leaves = [constant if array is None else array for array, constant in pairs]
    args, kwargs = jax.tree.unflatten(static.tree, leaves)

    def cut(tree: Tree, side: int) -> Tree:
        return jax.tree.map(lambda a: lax.dynamic_slice_in_dim(a, at[side], sizes[side], 0), tree)

    for name, (v1, v2) in arrays.sides.items():
        kwargs[name] = (cut(v1, 0), cut(v2, 1))
    if arrays.rng is not None:
        kwargs["rng"] = _keys_of_tile(arrays.rng, at, whole, symmetric(arrays), itself)
    if kernels_in(arrays.x1):
        x1 = jax.tree.map(
            lambda k: _cut_kernel(k, at, sizes, itself), arrays.x1, is_leaf=_is_kernel
        )
        return kernel_fn(x1, None, *args, **kwargs)
    other = arrays.x1 if arrays.x2 is None else arrays.x2
    return kernel_fn(cut(arrays.x1, 0), None if itself else cut(other, 1), *args, **kwargs)


def counts_of(x1: Tree, x2: Tree) -> tuple[int, int]:
    """Examples of both sides.

    Raises:
      ValueError: parts of one side differ in them, or there are none.
    """
    if kernels_in(x1):
        sizes = {leaf.nngp.shape[:2] for leaf in jax.tree.leaves(x1, is_leaf=_is_kernel)}
        if len(sizes) > 1:
            raise ValueError(f"all Kernels must have as many examples, got {sorted(sizes)}")
        return sizes.pop()

    def count(x: Tree, name: str) -> int:
        sizes = {np.shape(leaf)[0] for leaf in jax.tree.leaves(x) if np.ndim(leaf)}
        if len(sizes) != 1 or sizes == {0}:
            raise ValueError(
                f"all parts of {name} must be arrays with the same number >= 1 of examples first, "
                f"got {sorted(sizes)}"
            )
        return sizes.pop()

    n1 = count(x1, "x1")
    return n1, n1 if x2 is None else count(x2, "x2")


def is_array(leaf: Any) -> bool:
    """Whether it is an array of NumPy or of JAX."""
    return isinstance(leaf, jax.Array | np.ndarray | np.generic)


def kernels_in(x: Tree) -> bool:
    """Whether a tree of inputs is one of Kernels."""
    leaves = jax.tree.leaves(x, is_leaf=_is_kernel)
    return bool(leaves) and all(_is_kernel(leaf) for leaf in leaves)


def _is_kernel(leaf: Any) -> bool:
    return isinstance(leaf, Kernel)


def _is_symmetric(x1: Tree, x2: Tree) -> bool:
    if kernels_in(x1):
        return all(k.x1_is_x2 for k in jax.tree.leaves(x1, is_leaf=_is_kernel))
    return x2 is None


def symmetric(arrays: Arrays) -> bool:
    """Whether x1 is x2."""
    return _is_symmetric(arrays.x1, arrays.x2)


def _broadcast_masks(x: Tree) -> Tree:
    """Masks as large as what they mask, so that both can be cut."""

    def of(part):
        if isinstance(part, MaskedArray):
            return part._replace(mask=jnp.broadcast_to(part.mask, part.masked_value.shape))
        return part

    return jax.tree.map(of, x, is_leaf=lambda part: isinstance(part, MaskedArray))


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, tuple | list)
        and len(value) == 2
        and any(is_array(v) for v in value)
        and all(v is None or is_array(v) for v in value)
    )


def _checked_pair(name: str, value: Any, n1: int, n2: int, *, symmetric: bool) -> tuple[Any, Any]:
    if symmetric:
        value = (value[0], value[0])
    for v, n, side in zip(value, (n1, n2), ("x1", "x2"), strict=True):
        if v is not None and (np.ndim(v) == 0 or np.shape(v)[0] != n):
            raise ValueError(
                f"{name} is a pair of arrays, one for each side, with the examples first; that of "
                f"{side} must have {n} of them, got shape {np.shape(v)}"
            )
    return tuple(value)


def _keys_of_tile(rng: Any, at: Array, whole: bool, one_side: bool, itself: bool) -> Any:
    """What a tile is given: one key where it is x1 against itself, else one of each side.

    Tiles of the same rows share their rows' key, as tiles of the same columns do. Where one tile is
    the whole, it is given what the caller gave.
    """
    if whole:
        return rng
    if isinstance(rng, tuple | list):
        first, second = rng
    elif one_side:
        first = second = rng
    else:
        first, second = jax.random.split(rng)
    own = jax.random.fold_in(first, at[2])
    return own if itself else (own, jax.random.fold_in(first if one_side else second, at[3]))


def _cut_kernel(k: Kernel, at: Array, sizes: tuple[int, int], itself: bool) -> Kernel:
    def rows(a):
        return None if a is None else lax.dynamic_slice_in_dim(a, at[0], sizes[0], 0)

    def columns(a):
        return None if a is None else lax.dynamic_slice_in_dim(a, at[1], sizes[1], 0)

    def both(a):
        cut = rows(a)
        return None if cut is None else lax.dynamic_slice_in_dim(cut, at[1], sizes[1], 1)

    one = k.x1_is_x2
    assert k.shape1 is not None
    shape2 = k.shape1 if k.shape2 is None else k.shape2
    return k.replace(
        nngp=both(k.nngp),
        ntk=both(k.ntk),
        cov1=rows(k.cov1),
        cov2=None if itself else columns(k.cov1 if one else k.cov2),
        mask1=rows(k.mask1),
        mask2=None if itself else columns(k.mask1 if one else k.mask2),
        x1_is_x2=itself,
        shape1=(sizes[0], *k.shape1[1:]),
        shape2=(sizes[1], *shape2[1:]),
    )
