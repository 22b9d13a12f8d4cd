"""Products with a kernel matrix that is never held: it is computed tile by tile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

Tree = Any
TILE_ENTRIES = 2**24  # of a kernel tile, 128 MiB in float64
DIAGONAL_TILE = 16


def kernel_matvec(
    kernel_fn: Callable[..., Any],
    x1: Tree,
    x2: Tree = None,
    get: str = "ntk",
    *,
    shift: float | Array = 0.0,
    tile: int | None = None,
    **kernel_fn_kwargs: Any,
) -> Callable[[Array], Array]:
    """v -> K(x1, x2) v + shift v.

    With x2 None, K is symmetric: tiles above the diagonal serve twice, and each product computes
    half of the kernel.

    Args:
      kernel_fn: (x1, x2, get, **kwargs) -> (N1, N2), tileable over examples.
      x1: (N1, ..), or a tree of such.
      x2: (N2, ..); None: x1.
      get: "nngp" or "ntk".
      shift: added to the diagonal; only with x2 None.
      tile: examples of x1 and of x2 at a time; None: 4096.
      **kernel_fn_kwargs: for `kernel_fn`, the same for all tiles.

    Returns:
      (N2, columns) or (N2,) -> (N1, columns) or (N1,).

    Raises:
      ValueError: tile < 1; a shift with x2; of the product: a kernel that is no matrix.
    """
    side = int(TILE_ENTRIES**0.5) if tile is None else tile
    if side < 1:
        raise ValueError(f"tile must be at least 1, got {tile}")
    if x2 is not None and shift != 0:
        raise ValueError(
            f"shift must be 0 where x2 is given, as that kernel has no diagonal; got {shift}"
        )
    left = [_part(x1, start, side) for start in range(0, size(x1), side)]
    right = left if x2 is None else [_part(x2, start, side) for start in range(0, size(x2), side)]

    def block(a: Tree, b: Tree) -> Array:
        return as_matrix(kernel_fn(a, b, get, **kernel_fn_kwargs))

    def symmetric(v: Array) -> list[Array]:
        parts = [v[i * side : (i + 1) * side] for i in range(len(left))]
        sums = [shift * part for part in parts]
        for i, a in enumerate(left):
            sums[i] = sums[i] + _dot(block(a, None), parts[i])
            for j in range(i + 1, len(left)):
                k = block(a, left[j])
                sums[i], sums[j] = sums[i] + _dot(k, parts[j]), sums[j] + _dot(k.T, parts[i])
        return sums

    def product(v: Float[Array, "n *columns"]) -> Float[Array, "rows *columns"]:
        if x2 is None:
            return jnp.concatenate(symmetric(v))
        parts = [v[j * side : (j + 1) * side] for j in range(len(right))]
        return jnp.concatenate(
            [
                sum(
                    (_dot(block(a, b), part) for b, part in zip(right, parts, strict=True)),
                    jnp.zeros(()),
                )
                for a in left
            ]
        )

    return product


def kernel_diagonal(
    kernel_fn: Callable[..., Any], x: Tree, get: str = "ntk", **kernel_fn_kwargs: Any
) -> Float[Array, "n"]:
    """The diagonal of K(x, x), from blocks of 16 along it."""
    blocks = [
        as_matrix(kernel_fn(_part(x, start, DIAGONAL_TILE), None, get, **kernel_fn_kwargs))
        for start in range(0, size(x), DIAGONAL_TILE)
    ]
    return jnp.concatenate([jnp.diagonal(block) for block in blocks])


def kernel_column(
    kernel_fn: Callable[..., Any], x: Tree, get: str = "ntk", **kernel_fn_kwargs: Any
) -> Callable[[int], Array]:
    """i -> K(x, x_i), (n,)."""

    def column(i: int) -> Array:
        return as_matrix(kernel_fn(x, _part(x, i, 1), get, **kernel_fn_kwargs))[:, 0]

    return column


def size(x: Tree) -> int:
    """Examples in a tree of inputs."""
    return jax.tree.leaves(x)[0].shape[0]


def as_matrix(kernel: Array) -> Float[Array, "n m"]:
    """A kernel that must be a matrix.

    Raises:
      ValueError: it has spatial or output axes.
    """
    if kernel.ndim != 2:
        raise ValueError(
            f"kernel_fn must give a matrix (N1, N2), got {kernel.shape}: outputs must "
            "have no spatial axes (end with Flatten or GlobalAvgPool) nor axes of channels"
        )
    return kernel


def _part(x: Tree, start: int, count: int) -> Tree:
    return jax.tree.map(lambda leaf: leaf[start : start + count], x)


def _dot(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision="highest")
