"""What one program of a kernel holds and what it walks over, as integers per axis.

A program holds a tile of one dilation group: queries when it computes outputs or dQ, keys when it
computes dK and dV. It walks over tiles of the other kind, and the two cases are one: what a query
attends and what attends a key are both intervals [lo, hi) per axis, and both ends never decrease.
So for a held tile, with places first .. last on an axis,

    box        lo(first) <= place < hi(last)      all that any of its rows needs
    common     lo(last) <= place < hi(first)      what every one of its rows needs

and a walked tile that lies within `common` on each axis is interior: no mask. Tiles are powers of
two on each axis, so that a row's place is a shift and an and. Everything here takes traced int32
and runs inside kernels; nothing depends on a backend.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, reduce
from itertools import product
from math import prod
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from kernels_pallas.neighborhood_attention import waste, windows
from kernels_pallas.neighborhood_attention.windows import Axis

Integer = Any  # int or a traced int32


class Held(NamedTuple):
    """A held tile: scalars per axis, and per row of the tile arrays of the shape of `flat`."""

    n: tuple[Integer, ...]  # places of the group
    places: tuple[Array, ...]
    real: Array  # bool: the row is a token, and not padding of a partial tile
    lo: tuple[Array, ...]  # what each row needs of the other kind
    hi: tuple[Array, ...]
    box: tuple[tuple[Integer, Integer], ...]
    common: tuple[tuple[Integer, Integer], ...]


def needs(axis: Axis, inverse: bool, place: Integer, n: Integer) -> tuple[Integer, Integer]:
    """[lo, hi): the keys that a query needs, or with `inverse` the queries that need a key."""
    facts = place, n, axis.window, axis.stride, axis.causal
    if inverse:
        return windows.inverse_start(*facts), windows.inverse_end(*facts)
    return windows.start(*facts), windows.end(*facts)


def places(flat: Array, tile: Sequence[int], origin: Sequence[Integer]) -> tuple[Array, ...]:
    """The place on each axis of the row `flat` of a tile that begins at `origin`."""
    made, shift = [], 0
    for extent, first in zip(reversed(tile), reversed(origin), strict=True):
        inner = (flat >> shift) & (extent - 1)
        made.append(inner + first)
        shift += extent.bit_length() - 1
    return tuple(reversed(made))


def hold(
    axes: Sequence[Axis],
    inverse: bool,
    group: Sequence[Integer],
    origin: Sequence[Integer],
    tile: Sequence[int],
    flat: Array,
) -> Held:
    """The tile that begins at place `origin` of a dilation group; `flat` numbers its rows.

    An origin beyond the group (groups differ in length by one) gives a tile with no real row.
    """
    n = tuple(
        windows.group_length(axis.length, axis.dilation, g)
        for axis, g in zip(axes, group, strict=True)
    )
    at = places(flat, tile, origin)
    each = [
        needs(axis, inverse, jnp.minimum(p, m - 1), m)
        for axis, p, m in zip(axes, at, n, strict=True)
    ]
    box, common = [], []
    for axis, m, begin, extent in zip(axes, n, origin, tile, strict=True):
        first, last = jnp.minimum(begin, m - 1), jnp.minimum(begin + extent, m) - 1
        last = jnp.maximum(first, last)
        lo_first, hi_first = needs(axis, inverse, first, m)
        lo_last, hi_last = needs(axis, inverse, last, m)
        box.append((lo_first, hi_last))
        common.append((lo_last, hi_first))
    return Held(
        n,
        at,
        every(p < m for p, m in zip(at, n, strict=True)),
        tuple(lo for lo, _ in each),
        tuple(hi for _, hi in each),
        tuple(box),
        tuple(common),
    )


def interior(held: Held, origin: Sequence[Integer], tile: Sequence[int]) -> Array:
    """Whether every row of the held tile needs every row of the walked tile at `origin`."""
    return every(
        (lo <= first) & (first + extent <= hi)
        for (lo, hi), first, extent in zip(held.common, origin, tile, strict=True)
    )


def needed(held: Held, walked: Sequence[Array], spread: Callable[[Array], Array]) -> Array:
    """Which held row needs which walked row, `spread` giving held rows an axis of their own.

    Walked rows that are no tokens are needed by none: hi never exceeds the group's length.
    """
    return every(
        (spread(lo) <= place) & (place < spread(hi))
        for lo, hi, place in zip(held.lo, held.hi, walked, strict=True)
    )


def unravel(flat: Integer, counts: Sequence[Integer]) -> tuple[Integer, ...]:
    """A flat index over counts, the last axis fastest; counts may be traced."""
    made = []
    for count in reversed(counts):
        count = jnp.asarray(count, jnp.int32)
        made.append(lax.rem(flat, count))
        flat = lax.div(flat, count)
    return tuple(reversed(made))


def cdiv(a: Integer, by: int) -> Integer:
    """ceil(a / by) for a >= 0 and a power of two."""
    return (a + (by - 1)) >> (by.bit_length() - 1)


def every(conditions) -> Array:
    """All of them."""
    return reduce(lambda a, b: a & b, conditions)


def longest(axis: Axis) -> int:
    """Places of an axis' longest dilation group."""
    return -(-axis.length // axis.dilation)


def tile_counts(axes: Sequence[Axis], tile: Sequence[int]) -> tuple[int, ...]:
    """Tiles per axis that cover the longest group."""
    return tuple(-(-longest(axis) // extent) for axis, extent in zip(axes, tile, strict=True))


def shapes(axes: Sequence[Axis], tokens: int, granule: int = 1) -> list[tuple[int, ...]]:
    """Tiles of `tokens` rows (a power of two), no axis longer than its group needs.

    The last axis is at least `granule` long, and longer than its group where the whole group has
    fewer than `tokens` places.
    """
    bits, least = tokens.bit_length() - 1, granule.bit_length() - 1
    most = [(longest(axis) - 1).bit_length() for axis in axes]
    most[-1] = max(most[-1], bits - sum(most[:-1]), least)
    ranges = [range(min(m, bits) + 1) for m in most]
    splits = [split for split in product(*ranges) if sum(split) == bits and split[-1] >= least]
    return [tuple(1 << b for b in split) for split in splits]


@lru_cache(maxsize=1024)
def best(
    axes: tuple[Axis, ...],
    held_tokens: int,
    walked_tokens: int,
    aligned: tuple[bool, ...],
    granule: int = 1,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The held tile and the walked tile with which a forward pass visits the fewest scores.

    Of equal ones, those nearest to cubes.

    Args:
      axes: the neighbourhood.
      held_tokens, walked_tokens: rows of a tile, powers of two.
      aligned: for each axis, whether walked tiles lie on multiples of their extent.
      granule: the least extent of a tile on the last axis.
    """

    def rank(choice: tuple[tuple[int, ...], tuple[int, ...]]) -> tuple[int, int, int]:
        held, walked = choice
        visited = [
            waste.visited([axis], [q], [k], whole)
            for axis, q, k, whole in zip(axes, held, walked, aligned, strict=True)
        ]
        return prod(visited), sum(held), sum(walked)

    of_held, of_walked = (shapes(axes, n, granule) for n in (held_tokens, walked_tokens))
    return min(product(of_held, of_walked), key=rank)


def check_tile(name: str, tile: Sequence[int], rank: int, least: int = 16) -> None:
    """Refuse a tile that the arithmetic here cannot take.

    Raises:
      ValueError: not one power of two per axis, or fewer than `least` rows.
    """
    powers = all(isinstance(t, int) and t >= 1 and t & (t - 1) == 0 for t in tile)
    if len(tile) != rank or not powers or prod(tile) < least:
        raise ValueError(
            f"{name} is {tuple(tile)}; accepted: {rank} powers of two with a product >= {least}"
        )


def tokens_at_most(axes: Sequence[Axis], most: int, least: int = 16) -> int:
    """Rows of a tile: `most`, fewer where the whole group is smaller, at least `least`."""
    whole = 1
    for axis in axes:
        whole *= 1 << (longest(axis) - 1).bit_length()
    return max(least, min(most, whole))


__all__ = [
    "Held",
    "best",
    "cdiv",
    "check_tile",
    "hold",
    "interior",
    "longest",
    "needed",
    "needs",
    "places",
    "shapes",
    "tile_counts",
    "tokens_at_most",
    "unravel",
]
