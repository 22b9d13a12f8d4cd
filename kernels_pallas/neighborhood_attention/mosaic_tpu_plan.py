"""What the TPU kernels know before they run: tiles, and tables of boxes.

A held tile is (t_1, .., t_r) places of one dilation group. What it needs of the other kind is a box
[lo, hi) per axis (walk.py), which is covered by walked tiles: from lo itself on the leading axes,
from the multiple of the tile below lo on the last one, whose extents are multiples of a register's
sublanes. Everything about an axis depends on the tile's place on it and on whether the group is
one of the longer ones (the first L mod d) or a place shorter, its kind. So the tables are a few
integers for each axis, kind and tile, whatever the rank:

    base, count              where the first walked tile begins, and how many there are
    common_lo, common_hi     what every held row needs: a walked tile within it needs no mask
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from kernels_pallas.neighborhood_attention import walk, windows
from kernels_pallas.neighborhood_attention.kernel import Static
from kernels_pallas.neighborhood_attention.windows import Axis

FIELDS = 4
HELD_TOKENS = WALKED_TOKENS = 256
GRANULE = 16  # sublanes of a 16-bit register; a 32-bit one has 8


class Plan(NamedTuple):
    """How the work is cut; extents are powers of two, the last one at least GRANULE."""

    held: tuple[int, ...]
    walked: tuple[int, ...]


class Geometry(NamedTuple):
    """One kind of walk of a call: over keys, or with `inverse` over queries."""

    axes: tuple[Axis, ...]
    inverse: bool
    plan: Plan
    tiles: tuple[int, ...]  # held tiles per axis
    steps: int  # walked tiles of the largest box
    held_places: tuple[int, ...]  # padded extents of arrays that are held, per axis
    walked_places: tuple[int, ...]  # and of arrays that are walked over


def default_plan(static: Static, backward: bool = False) -> Plan:
    """Tiles by rule, not by measurement: 256 rows each, shapes by least waste."""
    del backward
    axes = windows.axes_of(static)
    aligned = (*(False,) * (len(axes) - 1), True)
    tokens = (
        walk.tokens_at_most(axes, most, least=GRANULE) for most in (HELD_TOKENS, WALKED_TOKENS)
    )
    return Plan(*walk.best(axes, *tokens, aligned, GRANULE))


@lru_cache(maxsize=256)
def geometry(static: Static, plan: Plan, inverse: bool) -> Geometry:
    """The static facts of a walk.

    Raises:
      ValueError: a tile that is not one power of two per axis, the last at least GRANULE.
    """
    axes = windows.axes_of(static)
    for name, tile in plan._asdict().items():
        walk.check_tile(f"plan.{name}", tile, len(axes))
        if tile[-1] < GRANULE:
            raise ValueError(f"plan.{name} is {tile}; accepted: a last extent >= {GRANULE}")
    tiles = walk.tile_counts(axes, plan.held)
    counts, reach = [], []
    for a in range(len(axes)):
        table = _axis_table(axes, plan, inverse, a)
        counts.append(int(table[..., 1].max()))
        reach.append(int((table[..., 0] + table[..., 1] * plan.walked[a]).max()))
    last = plan.walked[-1]
    reach[-1] = -(-reach[-1] // last) * last
    whole = [walk.longest(axis) for axis in axes]
    return Geometry(
        axes,
        inverse,
        plan,
        tiles,
        prod(counts),
        tuple(count * extent for count, extent in zip(tiles, plan.held, strict=True)),
        tuple(max(r, -(-n // last) * last if a == len(axes) - 1 else n)
              for a, (r, n) in enumerate(zip(reach, whole, strict=True))),
    )  # fmt: skip


def table(geo: Geometry) -> np.ndarray:
    """The tables of every axis, int32 and flat: axis, kind, tile, field."""
    parts = [_axis_table(geo.axes, geo.plan, geo.inverse, a) for a in range(len(geo.axes))]
    return np.concatenate([part.ravel() for part in parts]).astype(np.int32)


def table_size(static: Static, plan: Plan) -> int:
    """Integers of `table`."""
    axes = windows.axes_of(static)
    tiles = walk.tile_counts(axes, plan.held)
    return sum(FIELDS * len(_lengths(axis)) * t for axis, t in zip(axes, tiles, strict=True))


@lru_cache(maxsize=256)
def _axis_table(axes: tuple[Axis, ...], plan: Plan, inverse: bool, a: int) -> np.ndarray:
    """(kinds, tiles, FIELDS) of one axis."""
    axis, extent, step = axes[a], plan.held[a], plan.walked[a]
    rows = []
    for n in _lengths(axis):
        begin = np.arange(walk.tile_counts([axis], [extent])[0]) * extent
        first = np.minimum(begin, n - 1)
        last = np.minimum(begin + extent, n) - 1
        last = np.maximum(first, last)
        lo_first, hi_first = walk.needs(axis, inverse, first, n)
        lo_last, hi_last = walk.needs(axis, inverse, last, n)
        base = lo_first // step * step if a == len(axes) - 1 else lo_first
        count = np.maximum(1, -(-(hi_last - base) // step))
        rows.append(np.stack([base, count, lo_last, hi_first], -1))
    return np.stack(rows)


def _lengths(axis: Axis) -> list[int]:
    """The lengths that groups have: kind 0, and kind 1 where groups differ."""
    n = walk.longest(axis)
    return [n] if axis.length % axis.dilation == 0 else [n, n - 1]


def bounds(geo: Geometry) -> list[Array]:
    """Per axis int32 (kinds, tiles, 2, held rows): lo and hi of every held row.

    They are computed in the program, not stored in it.
    """
    flat = lax.iota(jnp.int32, prod(geo.plan.held))
    made = []
    for a, axis in enumerate(geo.axes):
        n = jnp.asarray(_lengths(axis), jnp.int32)[:, None, None]
        row = walk.places(flat, geo.plan.held, (0,) * len(geo.axes))[a]
        begin = lax.iota(jnp.int32, geo.tiles[a]) * geo.plan.held[a]
        place = jnp.minimum(begin[None, :, None] + row[None, None, :], n - 1)
        made.append(jnp.stack(walk.needs(axis, geo.inverse, place, n), 2))
    return made


def kinds(geo: Geometry, batch_group: Any) -> tuple[Any, ...]:
    """The kind of a dilation group on each axis, from the index of (batch, group)."""
    dilation = [axis.dilation for axis in geo.axes]
    group = walk.unravel(lax.rem(batch_group, jnp.int32(prod(dilation))), dilation)
    return tuple(
        jnp.int32(0) if len(_lengths(axis)) == 1
        else (g >= axis.length % axis.dilation).astype(jnp.int32)
        for axis, g in zip(geo.axes, group, strict=True)
    )  # fmt: skip


class Step(NamedTuple):
    """One step of a walk: scalars."""

    origin: tuple[Any, ...]  # of the walked tile, per axis
    wanted: Any  # bool: False for steps beyond the box, which stay at its last tile
    interior: Any  # bool: every held row needs all of it


def step(geo: Geometry, table_ref: Any, batch_group: Any, tiles: Sequence[Any], c: Any) -> Step:
    """Step c of the walk of a held tile, from the tables; for index maps and kernels."""
    facts, offset = [], 0
    for a, (kind, tile) in enumerate(zip(kinds(geo, batch_group), tiles, strict=True)):
        at = offset + (kind * geo.tiles[a] + tile) * FIELDS
        facts.append([table_ref[at + field] for field in range(FIELDS)])
        offset += len(_lengths(geo.axes[a])) * geo.tiles[a] * FIELDS
    counts = [count for _, count, _, _ in facts]
    total = prod(counts[1:], start=counts[0])
    index = walk.unravel(jnp.minimum(c, total - 1), counts)
    origin = tuple(
        base + i * extent
        for (base, *_), i, extent in zip(facts, index, geo.plan.walked, strict=True)
    )
    interior = walk.every(
        (lo <= first) & (first + extent <= hi)
        for (_, _, lo, hi), first, extent in zip(facts, origin, geo.plan.walked, strict=True)
    )
    return Step(origin, c < total, interior)


__all__ = [
    "GRANULE",
    "Geometry",
    "Plan",
    "Step",
    "bounds",
    "default_plan",
    "geometry",
    "kinds",
    "step",
    "table",
    "table_size",
]
