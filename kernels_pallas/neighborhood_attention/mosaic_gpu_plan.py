"""How the Mosaic GPU kernels cut a neighbourhood: blocks, boxes and the tables that name them.

A *block* is 64 places of one dilation group, a box such as (8, 8) or (2, 4, 8), because wgmma has
64 rows. A *tile* is one block for each warpgroup, stacked along the first axis; tiles lie on
multiples of their size. What the rows of a tile need along the other side (the keys of queries, or
the queries of keys) is an interval on each axis, and the *box* that holds it is cut into blocks
which begin anywhere on the leading axes and on a multiple of 8 on the last one: the copy engine
moves 8 rows of a swizzled tile at a time. Rows are queries forward and for dQ, keys for dK and dV,
with the inverse intervals of windows.py.

All of it is a product over axes, so the tables are per axis, one row for each (group, tile)."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Int

from kernels_pallas.neighborhood_attention import windows
from kernels_pallas.neighborhood_attention.kernel import Static
from kernels_pallas.neighborhood_attention.windows import Axis

BLOCK = 64  # M of wgmma
GRANULE = 8  # rows of a swizzled tile: where a box may begin on the last axis
WARPGROUPS = 2  # in a block of threads, where the wider tile visits few blocks in vain
WIDER = 1.25  # how much more work two warpgroups may visit to share the blocks that they load


class Plan(NamedTuple):
    """How one kernel is cut. `stages` buffers of streamed blocks are in flight."""

    block: tuple[int, ...]
    warpgroups: int
    stages: int

    @property
    def tile(self) -> tuple[int, ...]:
        """Places of a tile on each axis."""
        return (self.block[0] * self.warpgroups, *self.block[1:])


class Problem(NamedTuple):
    """What a kernel is built for: the static facts, the cut and the direction."""

    static: Static
    axes: tuple[Axis, ...]
    plan: Plan
    inverse: bool  # rows are keys

    @property
    def groups(self) -> int:
        """Dilation groups of the whole problem."""
        return math.prod(self.static.dilation)

    @property
    def tiles(self) -> tuple[int, ...]:
        """Tiles on each axis, of the longest group."""
        return tuple(_tiles(a, t) for a, t in zip(self.axes, self.plan.tile, strict=True))

    @property
    def row_length(self) -> int:
        """Places that the last axis of a group is padded to: whole tiles."""
        return self.tiles[-1] * self.plan.tile[-1]

    @property
    def runs(self) -> int:
        """Pieces of a block that are contiguous along the last axis: copies for each block."""
        return BLOCK // self.plan.block[-1]


def boxes(axis: Axis, tile: int, block: int, last: bool, inverse: bool) -> np.ndarray:
    """The boxes of an axis: int32 (groups * tiles, 5) of first place, blocks, interior and length.

    The blocks cover [first, first + blocks * block); those inside [interior_first, interior_end)
    are attended whole by every row of the tile. A tile that lies past its group's end has no
    blocks; `length` is the group's. On the last axis boxes begin on a multiple of `GRANULE` and
    end within the padding.
    """
    n = windows.group_length(axis.length, axis.dilation, np.arange(axis.dilation))[:, None]
    tiles = _tiles(axis, tile)
    begin = np.arange(tiles)[None] * tile
    first, final = np.minimum(begin, n - 1), np.minimum(begin + tile, n) - 1
    low, interior_end = _interval(axis, inverse, first, n)
    interior_first, high = _interval(axis, inverse, np.maximum(final, first), n)
    if last:
        low = low // GRANULE * GRANULE
    count = np.where(begin < n, -(-(high - low) // block), 0)
    if last:
        low = np.minimum(low, tiles * tile - count * block)
    columns = np.broadcast_arrays(low, count, interior_first, interior_end, n)
    return np.stack(columns, axis=-1).reshape(-1, 5).astype(np.int32)


def bounds(axis: Axis, tile: int, inverse: bool) -> Int[Array, "groups_tiles 2 tile"]:
    """The interval that each place of each tile needs; empty past the end of the group."""
    n = windows.group_length(axis.length, axis.dilation, jnp.arange(axis.dilation))[:, None]
    place = jnp.arange(_tiles(axis, tile) * tile)[None]
    low, high = _interval(axis, inverse, jnp.minimum(place, n - 1), n)
    both = jnp.stack([jnp.where(place < n, x, 0) for x in (low, high)], axis=1)
    return both.reshape(axis.dilation, 2, -1, tile).swapaxes(1, 2).reshape(-1, 2, tile)


class Tables(NamedTuple):
    """What the kernels look up; the rows of all axes one after another, see `table_row`.

    Attributes:
      boxes: int32 (rows, 5), as `boxes` says.
      bounds: int32 (rows, 2, warpgroups, 64), the intervals of a tile's places.
      offsets: int32 (rank, 64), the coordinates of a block's places within the block.
    """

    boxes: np.ndarray
    bounds: Array
    offsets: np.ndarray


def tables(problem: Problem) -> Tables:
    """The tables of a problem; small: 8 bytes a place of each axis and 64 / block times that."""
    plan, inverse = problem.plan, problem.inverse
    rank, warpgroups = len(problem.axes), plan.warpgroups
    spread = np.unravel_index(np.arange(BLOCK * warpgroups), plan.tile)
    cuts, intervals = [], []
    for i, axis in enumerate(problem.axes):
        cuts.append(boxes(axis, plan.tile[i], plan.block[i], i == rank - 1, inverse))
        places = bounds(axis, plan.tile[i], inverse)
        intervals.append(places[:, :, spread[i]].reshape(-1, 2, warpgroups, BLOCK))
    offsets = np.stack(np.unravel_index(np.arange(BLOCK), plan.block)).astype(np.int32)
    return Tables(np.concatenate(cuts), jnp.concatenate(intervals).astype(jnp.int32), offsets)


def table_base(problem: Problem, axis: int) -> int:
    """Where the rows of an axis begin in the tables; (group, tile) is group * tiles + tile on."""
    pairs = zip(problem.static.dilation, problem.tiles, strict=True)
    return sum(groups * tiles for groups, tiles in list(pairs)[:axis])


def visits(
    axes: tuple[Axis, ...], tile: tuple[int, ...], block: tuple[int, ...], inverse: bool
) -> int:
    """Pairs of a tile and a block that a schedule computes, for one head: a product over axes."""
    counts = [
        boxes(axis, tile[i], block[i], i == len(axes) - 1, inverse)[:, 1].sum(dtype=np.int64)
        for i, axis in enumerate(axes)
    ]
    return math.prod(int(count) for count in counts)


@lru_cache(maxsize=1024)
def choose(axes: tuple[Axis, ...], inverse: bool, warpgroups: int = WARPGROUPS) -> Plan:
    """The block that visits least, and two warpgroups where that visits at most `WIDER` as much.

    Counted, not measured, and from the boxes themselves: waste.py knows aligned tiles and boxes
    that begin anywhere, and these begin anywhere but on the last axis. `stages` is 2: the kernels
    raise it to what fits in shared memory.
    """

    def cost(block: tuple[int, ...], count: int) -> int:
        return count * visits(axes, Plan(block, count, 2).tile, block, inverse)

    shapes = sorted(_shapes(len(axes)), key=lambda block: -block[-1])  # ties: the longest run
    if warpgroups > 1:
        narrow, wide = (min(shapes, key=lambda b: cost(b, count)) for count in (1, warpgroups))
        if cost(wide, warpgroups) <= WIDER * cost(narrow, 1):
            return Plan(wide, warpgroups, 2)
        return Plan(narrow, 1, 2)
    return Plan(min(shapes, key=lambda b: cost(b, 1)), 1, 2)


def _shapes(rank: int) -> list[tuple[int, ...]]:
    """Every block of 64 places with sides that are powers of two and a last side of 8 or more."""
    if rank == 1:
        return [(BLOCK,)]
    if rank == 2:
        return [(BLOCK // last, last) for last in (8, 16, 32)]
    lasts = [(first, last) for last in (8, 16) for first in (1, 2, 4, 8) if first * last <= BLOCK]
    return [(first, BLOCK // (first * last), last) for first, last in lasts]


def _tiles(axis: Axis, tile: int) -> int:
    longest = -(-axis.length // axis.dilation)
    return -(-longest // tile)


def _interval(axis: Axis, inverse: bool, place, n):
    facts = (place, n, axis.window, axis.stride, axis.causal)
    if inverse:
        return windows.inverse_start(*facts), windows.inverse_end(*facts)
    return windows.start(*facts), windows.end(*facts)


__all__ = [
    "BLOCK",
    "GRANULE",
    "Plan",
    "Problem",
    "Tables",
    "bounds",
    "boxes",
    "choose",
    "table_base",
    "tables",
    "visits",
]
