"""The TPU kernels' arrays and block specifications, and the call that ties them to the tables.

The grid is (batch and group, held head, a held tile's place on each axis, walked head, step). Four
forms of an array, the last place axis always split so that only whole rows of registers move:

    held      (batch groups, heads, .., m, t, features)   by held tiles
    walked    (batch groups, heads, .., m, t, features)   by walked tiles, from any leading place
    rows      (batch groups, heads, *tiles, 1, held rows)   numbers of held rows, along the lanes
    scalars   (batch groups, heads, .., m, 1, t)          numbers of walked rows, by walked tiles
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from kernels_pallas.neighborhood_attention import layout, walk
from kernels_pallas.neighborhood_attention import mosaic_tpu_plan as plans
from kernels_pallas.neighborhood_attention.kernel import Static
from kernels_pallas.neighborhood_attention.mosaic_tpu_plan import Geometry, Step


class Operand(NamedTuple):
    """An array in one of the four forms and how the grid cuts it."""

    array: Any  # an Array, or the ShapeDtypeStruct of a result
    spec: pl.BlockSpec


class Ids(NamedTuple):
    """A place in the grid."""

    batch_group: Any
    head: Any  # of the held tile
    tiles: tuple[Any, ...]
    part: Any  # which of the walked heads that share the held one
    c: Any  # step of the walk


class Walk(NamedTuple):
    """A walk of a call, and which heads go together: one of group and shared is 1."""

    static: Static
    geo: Geometry
    heads: int  # held heads
    group: int  # walked heads per held head
    shared: int  # held heads per walked head


def of_queries(static: Static, plan: plans.Plan) -> Walk:
    """Queries held, keys walked over."""
    geo = plans.geometry(static, plan, inverse=False)
    return Walk(static, geo, static.heads, 1, static.heads // static.kv_heads)


def of_keys(static: Static, plan: plans.Plan) -> Walk:
    """Keys held, queries of every head of their group walked over."""
    geo = plans.geometry(static, plan, inverse=True)
    return Walk(static, geo, static.kv_heads, static.heads // static.kv_heads, 1)


def held(on: Walk, x: Array) -> Operand:
    """x (batch, *space, heads, features) by held tiles."""
    array = _split_last(on, x, on.geo.held_places, on.geo.plan.held[-1])
    return Operand(array, _held_spec(on, x.shape[-1]))


def held_result(on: Walk, features: int) -> Operand:
    """A result by held tiles, of the call's dtype; `from_held` brings it back."""
    *leading, last = on.geo.held_places
    extent = on.geo.plan.held[-1]
    shape = (_batch_groups(on), on.heads, *leading, last // extent, extent, features)
    return Operand(jax.ShapeDtypeStruct(shape, on.static.dtype), _held_spec(on, features))


def from_held(on: Walk, x: Array) -> Array:
    """The inverse of `held`."""
    x = x.reshape(*x.shape[:2], *on.geo.held_places, x.shape[-1])
    return layout.from_groups(x, on.static.space, on.static.dilation)


def walked(on: Walk, x: Array) -> Operand:
    """x (batch, *space, heads, features) by walked tiles."""
    array = _split_last(on, x, on.geo.walked_places, on.geo.plan.walked[-1])
    return Operand(array, _walked_spec(on, (on.geo.plan.walked[-1], x.shape[-1]), one_head=False))


def rows(on: Walk, x: Array) -> Operand:
    """x (batch, *space, heads), one number a held row; a single head serves all."""
    tiled = layout.to_tiles(x[..., None], on.static.dilation, on.geo.plan.held)
    array = tiled.reshape(*tiled.shape[:2], *on.geo.tiles, 1, prod(on.geo.plan.held))
    return Operand(array, _rows_spec(on, one_head=x.shape[-1] == 1))


def rows_result(on: Walk) -> Operand:
    """A float32 result with one number a held row; `from_rows` brings it back."""
    shape = (_batch_groups(on), on.heads, *on.geo.tiles, 1, prod(on.geo.plan.held))
    return Operand(jax.ShapeDtypeStruct(shape, jnp.float32), _rows_spec(on, one_head=False))


def from_rows(on: Walk, x: Array) -> Array:
    """The inverse of `rows`."""
    tiled = x.reshape(*x.shape[:2], prod(on.geo.tiles), x.shape[-1], 1)
    return layout.from_tiles(tiled, on.static.space, on.static.dilation, on.geo.plan.held)[..., 0]


def scalars(on: Walk, x: Array) -> Operand:
    """x (batch, *space, heads), one number a walked row; a single head serves all."""
    extent = on.geo.plan.walked[-1]
    array = _split_last(on, x[..., None], on.geo.walked_places, extent).swapaxes(-1, -2)
    return Operand(array, _walked_spec(on, (1, extent), one_head=x.shape[-1] == 1))


def column(box: Array) -> Array:
    """The numbers (.., 1, t) of a walked tile as (rows, 1), one down each sublane."""
    extent = box.shape[-1]
    runs = prod(box.shape[:-1])
    spread = jnp.broadcast_to(box.reshape(runs, 1, extent), (runs, extent, extent))
    spread = spread.reshape(runs * extent, extent)
    row = lax.broadcasted_iota(jnp.int32, spread.shape, 0) & (extent - 1)
    lane = lax.broadcasted_iota(jnp.int32, spread.shape, 1)
    return jnp.where(row == lane, spread, 0.0).sum(1, keepdims=True)


def matrix(ref: Any) -> Array:
    """A held or walked tile (.., t, features) as (rows, features)."""
    return ref[...].reshape(prod(ref.shape[:-1]), ref.shape[-1])


def call(
    body: Callable[..., None],
    on: Walk,
    operands: dict[str, Operand],
    results: dict[str, Operand],
    scratch: dict[str, tuple[int, int]],
) -> dict[str, Array]:
    """Run body(on, ids, step, bounds, refs) over the grid.

    Args:
      body: `bounds` are refs (2, held rows) per axis, `refs` those of operands, results and
        float32 scratch by name; it runs once a step.
      on: the walk.
      operands, results: in one of the four forms, by name.
      scratch: shapes by name.
    """
    geo, names = on.geo, (*operands, *results, *scratch)
    limits = plans.bounds(geo)
    rank = len(geo.axes)

    def run(table, *refs) -> None:
        ids = _ids(rank, tuple(pl.program_id(i) for i in range(rank + 4)))
        step = plans.step(geo, table, ids.batch_group, ids.tiles, ids.c)
        body(on, ids, step, refs[:rank], dict(zip(names, refs[rank:], strict=True)))

    made = pl.pallas_call(
        run,
        out_shape=[r.array for r in results.values()],
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=1,
            grid=(_batch_groups(on), on.heads, *geo.tiles, on.group, geo.steps),
            in_specs=[
                *(_bounds_spec(on, a) for a in range(rank)),
                *(operand.spec for operand in operands.values()),
            ],
            out_specs=[r.spec for r in results.values()],
            scratch_shapes=[pltpu.VMEM(shape, jnp.float32) for shape in scratch.values()],
        ),
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel",) * (rank + 2) + ("arbitrary",) * 2
        ),
        interpret=on.static.interpret,
        name="neighborhood_attention",
    )(plans.table(geo), *limits, *(operand.array for operand in operands.values()))
    return dict(zip(results, made, strict=True))


def masked(on: Walk, s: Array, step: Step, bounds: Any) -> Array:
    """Scores (walked rows, held rows), -inf where a pair does not attend."""
    tile = on.geo.plan.walked
    flat = lax.broadcasted_iota(jnp.int32, (prod(tile), 1), 0)
    places = walk.places(flat, tile, step.origin)
    attends = walk.every(
        (limits[0:1, :] <= place) & (place < limits[1:2, :])
        for limits, place in zip(bounds, places, strict=True)
    )
    return jnp.where(attends, s, -jnp.inf)


def _ids(rank: int, ids: tuple) -> Ids:
    return Ids(ids[0], ids[1], ids[2 : 2 + rank], ids[2 + rank], ids[3 + rank])


def _batch_groups(on: Walk) -> int:
    return on.static.batch * prod(on.static.dilation)


def _split_last(on: Walk, x: Array, places: tuple[int, ...], extent: int) -> Array:
    grouped = layout.to_groups(x, on.static.dilation, places)
    *leading, last, features = grouped.shape
    return grouped.reshape(*leading, last // extent, extent, features)


def _held_spec(on: Walk, features: int) -> pl.BlockSpec:
    *leading, last = on.geo.plan.held

    def index(*ids):
        at = _ids(len(on.geo.axes), ids[:-1])
        return (at.batch_group, at.head, *at.tiles, 0, 0)

    return pl.BlockSpec((None, None, *leading, 1, last, features), index)


def _rows_spec(on: Walk, one_head: bool) -> pl.BlockSpec:
    rank = len(on.geo.axes)

    def index(*ids):
        at = _ids(rank, ids[:-1])
        return (at.batch_group, 0 if one_head else at.head, *at.tiles, 0, 0)

    return pl.BlockSpec((None,) * (2 + rank) + (1, prod(on.geo.plan.held)), index)


def _walked_spec(on: Walk, last_two: tuple[int, int], one_head: bool) -> pl.BlockSpec:
    """Blocks that begin at any element of the leading place axes."""
    *leading, last = on.geo.plan.walked

    def index(*ids):
        at = _ids(len(on.geo.axes), ids[:-1])
        step = plans.step(on.geo, ids[-1], at.batch_group, at.tiles, at.c)
        head = lax.div(at.head, jnp.int32(on.shared)) * on.group + at.part
        *begin, end = step.origin
        tile = end >> (last.bit_length() - 1)
        return (at.batch_group, 0 if one_head else head, *begin, tile, 0, 0)

    shape = (*(pl.Element(extent) for extent in leading), pl.Element(1), *map(pl.Element, last_two))
    return pl.BlockSpec((None, None, *shape), index)


def _bounds_spec(on: Walk, axis: int) -> pl.BlockSpec:
    def index(*ids):
        at = _ids(len(on.geo.axes), ids[:-1])
        return (plans.kinds(on.geo, at.batch_group)[axis], at.tiles[axis], 0, 0)

    return pl.BlockSpec((None, None, 2, prod(on.geo.plan.held)), index)


__all__ = [
    "Ids",
    "Operand",
    "Walk",
    "call",
    "column",
    "from_held",
    "from_rows",
    "held",
    "held_result",
    "masked",
    "matrix",
    "of_keys",
    "of_queries",
    "rows",
    "rows_result",
    "scalars",
    "walked",
]
