"""What a Triton program holds and walks over, and how it reads and writes the rows of an operand.

Rows are tokens of the public layout, addressed one by one: operands are (batch, tokens, heads,
features), or (batch, tokens, heads) for one number a row, and lie whole in memory. Register tiles
are powers of two, so loads and stores are masked to the rows and features that exist.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from kernels_pallas.neighborhood_attention import walk, windows
from kernels_pallas.neighborhood_attention.kernel import Static


class Plan(NamedTuple):
    """How a program cuts its work; every extent is a power of two, at least 16 rows a tile."""

    held: tuple[int, ...]  # places per axis of the tile that a program holds
    walked: tuple[int, ...]  # places per axis of a chunk that it walks over
    warps: int = 4
    stages: int = 2


class Rows(NamedTuple):
    """Rows of a tile."""

    token: Array  # int32, flat in space
    real: Array  # bool: the row is a token


class Program(NamedTuple):
    """What a program is about: its place in the grid, its held tile, and how it walks."""

    static: Static
    plan: Plan
    batch: Any
    head: Any  # of the held rows
    group: tuple[Any, ...]
    held: walk.Held
    rows: Rows
    counts: tuple[Any, ...]  # chunks per axis
    chunks: Any  # of the whole walk


class Chunk(NamedTuple):
    """A chunk of the walk."""

    rows: Rows
    places: tuple[Array, ...]
    interior: Any  # scalar bool


def program_of(static: Static, plan: Plan, heads: int, inverse: bool) -> Program:
    """The program that runs, of one a held tile, group, head and batch entry; tiles fastest.

    Args:
      static, plan: the call and how it is cut.
      heads: held heads.
      inverse: keys are held and queries walked over, instead of the other way round.
    """
    axes, rank = windows.axes_of(static), len(static.space)
    counts = (static.batch, heads, *static.dilation, *walk.tile_counts(axes, plan.held))
    batch, head, *rest = walk.unravel(pl.program_id(0), counts)
    group, tile = tuple(rest[:rank]), rest[rank:]
    origin = tuple(t * extent for t, extent in zip(tile, plan.held, strict=True))
    held = walk.hold(axes, inverse, group, origin, plan.held, lax.iota(jnp.int32, prod(plan.held)))
    some = walk.every(first < n for first, n in zip(origin, held.n, strict=True))
    steps = tuple(
        walk.cdiv(hi - lo, extent) for (lo, hi), extent in zip(held.box, plan.walked, strict=True)
    )
    chunks = jnp.where(some, prod(steps[1:], start=steps[0]), 0)
    rows = Rows(_tokens(static, group, held.places), held.real)
    return Program(static, plan, batch, head, group, held, rows, steps, chunks)


def chunk_of(program: Program, index: Any) -> Chunk:
    """The chunk of that index in the program's walk."""
    held, tile = program.held, program.plan.walked
    at = walk.unravel(index, program.counts)
    origin = tuple(lo + i * extent for (lo, _), i, extent in zip(held.box, at, tile, strict=True))
    places = walk.places(lax.iota(jnp.int32, prod(tile)), tile, origin)
    real = walk.every(p < n for p, n in zip(places, held.n, strict=True))
    rows = Rows(_tokens(program.static, program.group, places), real)
    return Chunk(rows, places, walk.interior(held, origin, tile))


def _tokens(static: Static, group, places) -> Any:
    """The flat token of each place of a dilation group."""
    token = 0
    for length, dilation, g, place in zip(
        static.space, static.dilation, group, places, strict=True
    ):
        token = token * length + (place * dilation + g)
    return token


def masked(program: Program, chunk: Chunk, s: Array, lost: Array | None) -> Array:
    """Scores, held by walked rows, with -inf where a pair does not attend.

    Interior chunks skip the work, unless keys are `lost` (a shape that broadcasts to s).
    """

    def apply(s: Array) -> Array:
        places = [p[None, :] for p in chunk.places]
        return jnp.where(walk.needed(program.held, places, lambda a: a[:, None]), s, -jnp.inf)

    if lost is not None:
        return jnp.where(lost, -jnp.inf, apply(s))
    return lax.cond(chunk.interior, lambda s: s, apply, s)


def width(size: int) -> int:
    """Columns of a register tile for rows of `size` values."""
    return max(16, 1 << (size - 1).bit_length())


def load(ref: Any, batch: Any, rows: Rows, head: Any) -> Array:
    """(rows, width) of an operand (batch, tokens, heads, features), 0 where there is nothing."""
    at, exists = _values(ref, batch, rows, head)
    return plgpu.load(at, mask=exists, other=0.0)


def store(ref: Any, batch: Any, rows: Rows, head: Any, value: Array) -> None:
    """Write (rows, width), rounded to the operand's dtype."""
    at, exists = _values(ref, batch, rows, head)
    plgpu.store(at, value.astype(ref.dtype), mask=exists)


def _values(ref: Any, batch: Any, rows: Rows, head: Any) -> tuple[Any, Array]:
    columns = lax.iota(jnp.int32, width(ref.shape[-1]))[None, :]
    exists = rows.real[:, None] & (columns < ref.shape[-1])
    return ref.at[batch, rows.token[:, None], head, columns], exists


def load_numbers(ref: Any, batch: Any, rows: Rows, head: Any, other: float) -> Array:
    """(rows,) of an operand (batch, tokens, heads), `other` where there is no token."""
    return plgpu.load(ref.at[batch, rows.token, head], mask=rows.real, other=other)


def store_numbers(ref: Any, batch: Any, rows: Rows, head: Any, value: Array) -> None:
    """Write (rows,) of an operand (batch, tokens, heads)."""
    plgpu.store(ref.at[batch, rows.token, head], value, mask=rows.real)


def lost_keys(mask_ref: Any, batch: Any, rows: Rows) -> Array | None:
    """(rows,) bool: the keys that the validity mask takes away; None where there is no mask."""
    if mask_ref is None:
        return None
    valid = plgpu.load(mask_ref.at[batch, rows.token], mask=rows.real, other=0)
    return valid.astype(jnp.int32) == 0


__all__ = [
    "Chunk",
    "Plan",
    "Program",
    "Rows",
    "chunk_of",
    "load",
    "load_numbers",
    "lost_keys",
    "masked",
    "program_of",
    "store",
    "store_numbers",
    "width",
]
