"""The pieces of the Mosaic GPU kernels: where a block of threads is, its copies, mask and loop.

A block of threads owns one tile of rows of one head; its warpgroups own 64 rows each and share the
streamed blocks. `Here` holds what is known of the tile, in scalars. Copies are one for each run of
a block along the last axis, straight from the public layout. A place past the end of a leading
axis is read from the last place that exists and is masked like every place outside a row's
interval, so nothing but the last axis is ever padded.

The loop keeps `stages` blocks in flight. A step that has passed its own barrier knows that all
warps of its warpgroup are done with the block before it, so that is where the first warpgroup
refills that buffer, having waited for the others where there are any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from kernels_pallas.hopper import (
    INTERPRETER,
    SMEM_LIMIT,
    api,
    load,
    smem_bytes,
    store,
    tiled,
    turned,
)
from kernels_pallas.neighborhood_attention.mosaic_gpu_plan import (
    BLOCK,
    GRANULE,
    Problem,
    table_base,
)

STAGES = 4  # buffers of streamed blocks, where shared memory has room
ROWS = plgpu.Layout.WGMMA.reduce(1)  # one number for each row of a product
COLUMNS = plgpu.Layout.WGMMA.reduce(0)

Scalar = Any  # an int or a traced int32


class Here(NamedTuple):
    """Where a block of threads is; tuples have an entry for each axis.

    Attributes:
      batch, group, head, tile, warpgroup: indices; `group` counts batch * groups + group.
      groups: the dilation group of each axis.
      lengths: places of that group.
      rows: the first place of this warpgroup's block.
      first, blocks: the box; `total` is the product of `blocks`.
      interior: places that every row of the tile attends, (first, end).
      table: rows of the tables.
    """

    batch: Scalar
    group: Scalar
    head: Scalar
    tile: Scalar
    warpgroup: Scalar
    groups: tuple[Scalar, ...]
    lengths: tuple[Scalar, ...]
    rows: tuple[Scalar, ...]
    first: tuple[Scalar, ...]
    blocks: tuple[Scalar, ...]
    total: Scalar
    interior: tuple[tuple[Scalar, Scalar], ...]
    table: tuple[Scalar, ...]


def here(problem: Problem, boxes: Any) -> Here:
    """Read the grid and the table of boxes."""
    group, tile = lax.axis_index("group"), lax.axis_index("tile")
    warpgroup = lax.axis_index("warpgroup")
    batch, *groups = unravel(group, (problem.static.batch, *problem.static.dilation))
    tiles = unravel(tile, problem.tiles)
    table, lengths, rows, first, blocks, interior = [], [], [], [], [], []
    total: Scalar = jnp.int32(1)
    for i in range(len(problem.axes)):
        table.append(table_base(problem, i) + groups[i] * problem.tiles[i] + tiles[i])
        lengths.append(boxes[table[i], 4])
        begin = tiles[i] * problem.plan.tile[i]
        rows.append(begin + warpgroup * problem.plan.block[0] if i == 0 else begin)
        first.append(boxes[table[i], 0])
        blocks.append(boxes[table[i], 1])
        interior.append((boxes[table[i], 2], boxes[table[i], 3]))
        total = total * blocks[i]
    return Here(
        batch=batch,
        group=group,
        head=lax.axis_index("head"),
        tile=tile,
        warpgroup=warpgroup,
        groups=tuple(groups),
        lengths=tuple(lengths),
        rows=tuple(rows),
        first=tuple(first),
        blocks=tuple(blocks),
        total=total,
        interior=tuple(interior),
        table=tuple(table),
    )


def unravel(index: Scalar, dims: tuple[Scalar, ...]) -> list[Scalar]:
    """The coordinates of a flat index, the last fastest."""
    found = []
    for dim in dims[:0:-1]:
        found.append(lax.rem(index, jnp.int32(dim)))
        index = lax.div(index, jnp.int32(dim))
    return [index, *found[::-1]]


def block_at(problem: Problem, at: Here, step: Scalar) -> tuple[Scalar, ...]:
    """The first place of the box's block number `step`."""
    parts = unravel(step, at.blocks)
    zipped = zip(at.first, parts, problem.plan.block, strict=True)
    return tuple(first + part * size for first, part, size in zipped)


def inside(problem: Problem, at: Here, block: tuple[Scalar, ...]) -> Array:
    """Whether every row of the tile attends all of a block."""
    found: Any = True
    for place, size, (first, end) in zip(block, problem.plan.block, at.interior, strict=True):
        found = (place >= first) & (place + size <= end) & found
    return found


def each_run(problem: Problem, at: Here, block, copy: Callable[..., None]) -> None:
    """`copy(part, row, places, exists)` for each run of a block.

    `part` is its slice of the block, `row` and `places` say where it lies in an array of
    `mosaic_gpu_arrays.rows`, and `exists` is None where it always does.
    """
    static, sides = problem.static, problem.plan.block
    length = sides[-1]
    places = pl.ds(pl.multiple_of(block[-1], GRANULE), length)

    def one(run, _):
        row, exists = at.batch, None
        steps = unravel(run, sides[:-1]) if len(sides) > 1 else ()
        for i, step in enumerate(steps):
            place = block[i] + step
            real = place < at.lengths[i]
            exists = real if exists is None else exists & real
            place = jnp.minimum(place, at.lengths[i] - 1)
            row = row * static.space[i] + place * static.dilation[i] + at.groups[i]
        copy(pl.ds(pl.multiple_of(run * length, length), length), row, places, exists)
        return ()

    if problem.runs == 1:
        one(jnp.int32(0), ())
    else:
        lax.fori_loop(jnp.int32(0), jnp.int32(problem.runs), one, ())


def fetch(problem: Problem, at: Here, block, source, target, head, heads: int, barrier) -> None:
    """Start the copies of one block of `source` (rows, places, group_heads, size)."""
    which = at.groups[-1] * heads + head

    def copy(part, row, places, _):
        plgpu.copy_gmem_to_smem(source.at[row, places, which], target.at[part], barrier)

    each_run(problem, at, block, copy)


def send(problem: Problem, at: Here, block, source, target, head, heads: int) -> None:
    """Start the copies of one block of results; places that do not exist are left out."""
    which = at.groups[-1] * heads + head

    def copy(part, row, places, exists):
        def start():
            plgpu.copy_smem_to_gmem(source.at[part], target.at[row, places, which])

        start() if exists is None else pl.when(exists)(start)

    each_run(problem, at, block, copy)


def fetch_numbers(problem: Problem, at: Here, block, source, target, head, barrier) -> None:
    """Start the copy of a block's numbers from `mosaic_gpu_arrays.spread`."""
    index: Scalar = jnp.int32(0)
    for i in range(len(block) - 1):
        places = -(-problem.axes[i].length // problem.axes[i].dilation)
        index = index * places + jnp.minimum(block[i], at.lengths[i] - 1)
    index = index * (problem.row_length // GRANULE) + lax.div(block[-1], jnp.int32(GRANULE))
    plgpu.copy_gmem_to_smem(source.at[at.group, head, index], target, barrier)


def masked(problem: Problem, at: Here, gmem: dict[str, Any], block, s: Array) -> Array:
    """s, -inf where the row does not attend the column; untouched where all do.

    The tables are read where a block needs them, from the cache: kept in registers, the
    coordinates of the columns alone would take 16 of them for each axis.
    """

    def compare(s):
        for i, place in enumerate(block):
            bounds = gmem["bounds"].at[at.table[i]]
            low, high = (load(bounds.at[side, at.warpgroup], ROWS) for side in (0, 1))
            column = across(load(gmem["offsets"].at[i], COLUMNS) + place)
            s = jnp.where((column >= down(low)) & (column < down(high)), s, -jnp.inf)
        return s

    return lax.cond(inside(problem, at, block), lambda s: s, compare, s)


def down(vector: Array, columns: int = BLOCK) -> Array:
    """A number for each row, as a matrix."""
    return lax.broadcast_in_dim(vector, (BLOCK, columns), (0,))


def across(vector: Array) -> Array:
    """A number for each column, as a matrix."""
    return lax.broadcast_in_dim(vector, (BLOCK, BLOCK), (1,))


def filled(shape: tuple[int, ...], value: float, layout: Any) -> Array:
    """A constant in registers."""
    return plgpu.layout_cast(jnp.full(shape, value, jnp.float32), layout)


def products(columns: int, *pairs: tuple[Any, Any]) -> tuple[Array, ...]:
    """a @ b for each pair of references, all of them issued before the first wait."""

    def issue(*accumulators):
        for accumulator, (a, b) in zip(accumulators, pairs, strict=True):
            plgpu.wgmma(accumulator, a, b)
        return tuple(accumulator[...] for accumulator in accumulators)

    return pl.run_scoped(issue, *(plgpu.ACC((BLOCK, columns), jnp.float32) for _ in pairs))


def stream(
    problem: Problem,
    at: Here,
    total: Scalar,
    start: Callable[[Scalar, Scalar], None],
    step: Callable[[Scalar, Scalar, Callable[[], None], Any], Any],
    consumed: Any,
    carry: Any,
) -> Any:
    """The loop over streamed blocks.

    `start(index, slot)` starts the copies of block `index`; `step(index, slot, refill, carry)`
    waits for them and uses them, and calls `refill` once, behind a barrier of its warpgroup.
    `consumed` are the barriers by which warpgroups say that they are done with a slot.
    """
    stages, warpgroups = problem.plan.stages, problem.plan.warpgroups

    def begin(index, slot):
        pl.when((at.warpgroup == 0) & (index < total))(lambda: start(index, slot))

    for i in range(stages):
        begin(jnp.int32(i), i)

    def body(index, carry):
        slot = lax.rem(index, jnp.int32(stages))

        def refill():
            @pl.when((at.warpgroup == 0) & (index > 0) & (index - 1 + stages < total))
            def _():
                free = lax.rem(index - 1, jnp.int32(stages))
                if warpgroups > 1:
                    plgpu.barrier_wait(consumed.at[free])
                start(index - 1 + stages, free)

        carry = step(index, slot, refill, carry)
        if warpgroups > 1:
            plgpu.barrier_arrive(consumed.at[slot])
        return carry

    return lax.fori_loop(jnp.int32(0), total, body, carry)


def launch(
    problem: Problem, body: Any, *, out_type: Any, scratch: dict[str, Any], heads: int
) -> Any:
    """`plgpu.kernel` over (batch and groups, heads, tiles)."""
    options: dict[str, Any] = {}
    if problem.static.interpret:
        options["interpret"] = api.InterpretGPUParams(detect_races=True, on_race="raise")
    return plgpu.kernel(
        body,
        out_type=out_type,
        scratch_types=scratch,
        grid=(problem.static.batch * problem.groups, heads, int(np.prod(problem.tiles))),
        grid_names=("group", "head", "tile"),
        num_threads=problem.plan.warpgroups,
        thread_name="warpgroup",
        compiler_params=plgpu.CompilerParams(
            approx_math=True, lowering_semantics=plgpu.LoweringSemantics.Warpgroup
        ),
        **options,
    )


def fitted(problem: Problem, scratch: Callable[[Problem], dict[str, Any]]) -> Problem:
    """The problem with as many stages as fit: two blocks of threads share a processor's memory
    where each has one warpgroup."""
    room = SMEM_LIMIT if problem.plan.warpgroups > 1 else SMEM_LIMIT // 2
    for stages in range(STAGES, 2, -1):
        wider = problem._replace(plan=problem.plan._replace(stages=stages))
        if smem_bytes(scratch(wider)) <= room:
            return wider
    return problem._replace(plan=problem.plan._replace(stages=2))


def shape(dims: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
    """Shorthand for the type of a kernel's result."""
    return jax.ShapeDtypeStruct(dims, dtype)


__all__ = [
    "INTERPRETER",
    "SMEM_LIMIT",
    "Here",
    "across",
    "block_at",
    "down",
    "each_run",
    "fetch",
    "fetch_numbers",
    "filled",
    "fitted",
    "here",
    "inside",
    "launch",
    "load",
    "masked",
    "products",
    "send",
    "shape",
    "smem_bytes",
    "store",
    "stream",
    "tiled",
    "turned",
    "unravel",
]
