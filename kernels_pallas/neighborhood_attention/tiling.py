"""Where the boxes of a tiled neighborhood attention lie, as tables of integers.

Queries are cut into tiles (layout.py). The keys that a tile attends lie in a box of static size;
the tables say where it begins for every tile, and which interval each query attends itself, from
which the mask follows. They are jnp arrays: where a device holds a part of an axis (spatial.py),
the origin of that part is traced.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from kernels_pallas.neighborhood_attention import windows
from kernels_pallas.neighborhood_attention.windows import Axis, Integer


class AxisTables(NamedTuple):
    """What one axis says of its tiles; groups is 1 where all dilation groups are alike."""

    start: Array  # (tiles,) place of the box's first key, within the key array
    offset: Array  # (tiles,) how far that key is from the tile's first query, in places
    first: Array  # (groups, tiles, tile) first place that each query attends, in the key array
    stop: Array  # (groups, tiles, tile) one past the last


def places(length: int, dilation: int) -> int:
    """Places of the longest dilation group."""
    return -(-length // dilation)


def axis_tables(
    axis: Axis,
    tile: int,
    box: int,
    queries: int,
    keys: int,
    origins: tuple[Integer, Integer] | None,
) -> AxisTables:
    """The tables of one axis, for `queries` places of queries and `keys` of keys.

    Args:
      axis: of the whole problem.
      tile: places of a tile.
      box: places of a box, from `box_size`; at most `keys`.
      queries, keys: places that the arrays hold.
      origins: the first place of queries and of keys within the whole axis; None: zeros.
    """
    tiles = places(queries, tile)
    n = np.array(_group_lengths(axis), np.int32)
    n = (n[:1] if n.min() == n.max() else n)[:, None, None]
    query_origin, key_origin = (0, 0) if origins is None else origins
    local = np.minimum(np.arange(tiles * tile, dtype=np.int32), queries - 1).reshape(1, tiles, tile)
    place = jnp.minimum(jnp.asarray(local) + query_origin, n - 1)
    rule = axis.window, axis.stride, axis.causal
    first = windows.start(place, jnp.asarray(n), *rule) - key_origin
    stop = windows.end(place, jnp.asarray(n), *rule) - key_origin
    start = jnp.clip(first.min((0, 2)), 0, keys - box)
    offset = start + key_origin - (np.arange(tiles, dtype=np.int32) * tile + query_origin)
    return AxisTables(*(a.astype(jnp.int32) for a in (start, offset, first, stop)))


def tile_tables(
    tables: Sequence[AxisTables], tile: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[Array, Array, list[Array], list[Array]]:
    """The tables of whole tiles, in row-major order, from those of the axes.

    Returns:
      start, offset (tiles, rank), and for each axis first and stop (tiles, groups or 1, tokens).
    """
    rank = len(tile)
    counts = [table.start.shape[0] for table in tables]
    index = np.indices(counts).reshape(rank, -1)
    group = np.indices(dilation).reshape(rank, -1)
    token = np.indices(tile).reshape(rank, -1)
    start, offset = (
        jnp.stack([getattr(table, name)[index[i]] for i, table in enumerate(tables)], -1)
        for name in ("start", "offset")
    )
    first: list[Array] = []
    stop: list[Array] = []
    for i, table in enumerate(tables):
        groups = group[i] if table.first.shape[0] > 1 else group[0][:1]  # one: all are alike
        for made, of_axis in ((first, table.first), (stop, table.stop)):
            of_tiles = of_axis[groups][:, index[i]][:, :, token[i]]
            made.append(of_tiles.swapaxes(0, 1))
    return start, offset, first, stop


def _group_lengths(axis: Axis) -> list[int]:
    return [int(windows.group_length(axis.length, axis.dilation, g)) for g in range(axis.dilation)]


def box_size(axis: Axis, tile: int, aligned: bool) -> int:
    """The most places that a tile's queries attend together, in any group.

    aligned: tiles begin at multiples of `tile`; otherwise anywhere.
    """
    lengths = set(_group_lengths(axis))
    rule = axis.window, axis.stride, axis.causal
    p = np.arange(0, max(lengths), tile if aligned else 1)
    low, high = [], []  # of every group length, over tiles
    for n in lengths:
        low.append(windows.start(np.minimum(p, n - 1), n, *rule))
        high.append(windows.end(np.minimum(p + tile, n) - 1, n, *rule))
    return int((np.max(high, 0) - np.min(low, 0)).max())


__all__ = ["AxisTables", "axis_tables", "box_size", "places", "tile_tables"]
