"""Move dilation groups to the batch and make the tokens of a tile contiguous, and back.

Place p of group g on an axis with dilation d is index i = p d + g. An axis padded to m t d places
is (m, t, d) in memory: tile, row within the tile, group. Both layouts are a pad, a reshape, one
transpose and a reshape; in one dimension without dilation the transpose moves only heads.

    to_groups  (batch, *space, heads, features) -> (batch groups, heads, *places, features)
    to_tiles   (batch, *space, heads, features) -> (batch groups, heads, tiles, rows, features)

Groups, tiles and rows are counted with the last axis fastest, the batch slowest. All groups are
padded to one length, with zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import jax.numpy as jnp
from jax import Array


def padded(length: int, dilation: int, tile: int) -> int:
    """Places of a group after padding: its longest length rounded up to a multiple of `tile`."""
    places = -(-length // dilation)
    return -(-places // tile) * tile


def to_tiles(x: Array, dilation: Sequence[int], tile: Sequence[int]) -> Array:
    """(batch, *space, heads, features) to (batch * groups, heads, tiles, rows, features).

    Args:
      x: the array, of any dtype.
      dilation: groups of each space axis.
      tile: places of a tile on each space axis.
    """
    rank = len(tile)
    batch, *space, heads, features = x.shape
    places = [padded(n, d, t) for n, d, t in zip(space, dilation, tile, strict=True)]
    x = _split(x, space, dilation, tile, places)
    tiles = x.shape[1:-2:3]
    order = (0, *_every(rank, 3), 1 + 3 * rank, *_every(rank, 1), *_every(rank, 2), 2 + 3 * rank)
    return x.transpose(order).reshape(
        batch * prod(dilation), heads, prod(tiles), prod(tile), features
    )


def from_tiles(
    x: Array, space: Sequence[int], dilation: Sequence[int], tile: Sequence[int]
) -> Array:
    """The inverse of `to_tiles`; padding is cut off."""
    rank, groups = len(tile), prod(dilation)
    total, heads, _, _, features = x.shape
    tiles = [padded(n, d, t) // t for n, d, t in zip(space, dilation, tile, strict=True)]
    x = x.reshape(total // groups, *dilation, heads, *tiles, *tile, features)
    return _join(x, rank, space)


def to_groups(x: Array, dilation: Sequence[int], places: Sequence[int] | None = None) -> Array:
    """(batch, *space, heads, features) to (batch * groups, heads, *places, features).

    Args:
      x: the array, of any dtype.
      dilation: groups of each space axis.
      places: of each space axis after padding; the longest group's when None.
    """
    rank = len(dilation)
    batch, *space, heads, features = x.shape
    places = places or [padded(n, d, 1) for n, d in zip(space, dilation, strict=True)]
    x = _split(x, space, dilation, (1,) * rank, places)
    order = (0, *_every(rank, 3), 1 + 3 * rank, *_every(rank, 1), *_every(rank, 2), 2 + 3 * rank)
    return x.transpose(order).reshape(batch * prod(dilation), heads, *places, features)


def from_groups(x: Array, space: Sequence[int], dilation: Sequence[int]) -> Array:
    """The inverse of `to_groups`; padding is cut off."""
    rank, groups = len(dilation), prod(dilation)
    total, heads, *places, features = x.shape
    x = x.reshape(total // groups, *dilation, heads, *places, *(1,) * rank, features)
    return _join(x, rank, space)


def _split(
    x: Array,
    space: Sequence[int],
    dilation: Sequence[int],
    tile: Sequence[int],
    places: Sequence[int],
) -> Array:
    """Padded to `places`, and each space axis as three: tile, row of the tile, group."""
    batch, heads, features = x.shape[0], *x.shape[-2:]
    pad = [(0, p * d - n) for p, d, n in zip(places, dilation, space, strict=True)]
    x = jnp.pad(x, [(0, 0), *pad, (0, 0), (0, 0)])
    split = [s for p, t, d in zip(places, tile, dilation, strict=True) for s in (p // t, t, d)]
    return x.reshape(batch, *split, heads, features)


def _join(x: Array, rank: int, space: Sequence[int]) -> Array:
    """From (batch, *groups, heads, *tiles, *rows, features) to the public layout."""
    order = [0]
    for axis in range(rank):
        order += [2 + rank + axis, 2 + 2 * rank + axis, 1 + axis]
    x = x.transpose(*order, 1 + rank, 2 + 3 * rank)
    whole = [prod(x.shape[1 + 3 * a : 4 + 3 * a]) for a in range(rank)]
    x = x.reshape(x.shape[0], *whole, *x.shape[-2:])
    return x[(slice(None), *(slice(n) for n in space))]


def _every(rank: int, offset: int) -> list[int]:
    """The positions of one of the three parts of every axis after `_split`."""
    return [3 * axis + offset for axis in range(rank)]


__all__ = ["from_groups", "from_tiles", "padded", "to_groups", "to_tiles"]
