"""Neighborhood attention tile by tile in plain JAX: a forward and an adjoint schedule.

A loop over tiles of queries; each step slices the tile's box of keys and values (static size),
computes all scores of the box at once, masks them and is done: no online softmax, no scratch but
one step's. Arrays that are as large as the problem are the operands and results only, so memory is
linear in the number of tokens.

    forward   s = k q',  p = exp(s - max s),  out = p' v / sum p,  lse = max s + log sum p
    adjoint   p = exp(s - lse),  dp = v dout',  ds = p (dp - delta),  delta = dout . out - dlse
              dq = ds' k,  dk += ds q,  dv += p' dout

Scores lie keys first, queries last: the softmax then reduces over slow axes, the masks of the axes
broadcast, and every matrix product but one of each schedule reads its operands as they lie (that
one reads a transposed box, sliced from a transposed copy). The adjoint computes each score once and
adds boxes into dk and dv in the order of the loop, so it is deterministic.

Every operation here has a derivative in JAX; derivative.py says which function runs when.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial, reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from kernels_pallas.neighborhood_attention import layout, tiling
from kernels_pallas.neighborhood_attention.windows import Axis, Integer
from kernels_pallas.validate import compute_dtype
from kernels_pallas.varying import alike, zeros_like


class Plan(NamedTuple):
    """How the work is cut."""

    tile: tuple[int, ...]  # places of a tile of queries on each axis
    per_step: int = 1  # tiles that one step of the loop computes


class Problem(NamedTuple):
    """The static facts of a schedule; shapes are the operands' own."""

    axes: tuple[Axis, ...]
    scale: float
    plan: Plan


class Operands(NamedTuple):
    """What attention reads, in the public layout (batch, *space, heads, features)."""

    q: Array
    k: Array
    v: Array
    mask: Array | None
    bias: Array | None
    # Where arrays hold a part of the axes: for each, the first place of queries and of keys.
    origins: tuple[tuple[Integer, Integer], ...] | None


class _Keys(NamedTuple):
    """What every step slices its boxes from."""

    k: Array  # (batch, groups, kv_heads, *places, head_dim)
    v: Array  # (batch, groups, kv_heads, *places, value_dim)
    valid: Array | None  # (batch, groups, 1, *places, 1)
    bias: Array | None  # (kv_heads, queries heads of each, *offsets with a margin)
    box: tuple[int, ...]


class _Tiles(NamedTuple):
    """What a step reads of its tiles; scanned over, so each has a leading axis of steps."""

    q: Array  # (per_step, batch, groups, kv_heads, query heads of each * tokens, head_dim), scaled
    start: Array  # (per_step, rank) place of the box
    offset: Array  # (per_step, rank) where the tile begins in the bias
    first: list[Array]  # for each axis (per_step, groups or 1, tokens): the place attended first
    stop: list[Array]


def forward(problem: Problem, operands: Operands) -> tuple[Array, Array]:
    """(out, lse), both in the dtype that is computed in."""
    keys, tiles = _prepare(problem, operands)
    multiply = partial(jnp.matmul, precision=_precision(operands.q))
    values = jnp.moveaxis(keys.v, -1, 3)
    axes = tuple(range(4, 4 + len(keys.box)))

    def step(tile: _Tiles):
        lead = tile.q.shape[:4]
        s = _scores(problem, keys, tile, multiply)
        largest = lax.stop_gradient(s.max(axes, keepdims=True))
        largest = jnp.where(largest > -jnp.inf, largest, 0)  # a query with no valid key
        p = jnp.exp(s - largest)
        total, largest = p.sum(axes).reshape(*lead, -1), largest.reshape(*lead, -1)
        v = _boxes(values, tile.start, keys.box, 4).reshape(*lead, -1, math.prod(keys.box))
        out = multiply(v, p.reshape(*lead, math.prod(keys.box), -1))
        some = total > 0
        total = jnp.where(some, total, 1)
        return out / total[..., None, :], jnp.where(some, jnp.log(total) + largest, -jnp.inf)

    out, lse = lax.map(jax.checkpoint(step), tiles)
    restored = partial(_uncut, problem, operands.q)
    return restored(out.swapaxes(-1, -2)), restored(lse[..., None])[..., 0]


def adjoint(
    problem: Problem,
    operands: Operands,
    out: Array,
    lse: Array,
    dout: Array,
    dlse: Array,
    want_bias: bool,
) -> tuple[Array, Array, Array, Array | None]:
    """The cotangents of q, k, v and, when wanted, bias, each in the dtype of its operand."""
    keys, tiles = _prepare(problem, operands)
    multiply = partial(jnp.matmul, precision=_precision(operands.q))
    cut = partial(_cut, problem, operands.k.shape[-2])
    transposed = jnp.moveaxis(keys.k, -1, 3)
    delta = (dout * out).sum(-1, keepdims=True) - dlse[..., None]
    lse = jnp.where(lse > -jnp.inf, lse, jnp.inf)[..., None]  # p = 0 where no key is valid
    shared = [a.swapaxes(-1, -2) for a in (cut(delta), cut(lse))]

    def step(carry, x):
        dk, dv, dbias = carry
        tile, dout, delta, lse = x
        lead, size = tile.q.shape[:4], math.prod(keys.box)
        s, pull = _scores_and_pull(problem, keys, tile, multiply, want_bias)
        p = jnp.exp(s.reshape(*lead, size, -1) - lse)
        v = _boxes(keys.v, tile.start, keys.box, 3).reshape(*lead, size, -1)
        ds = p * (multiply(v, dout.swapaxes(-1, -2)) - delta)
        k = _boxes(transposed, tile.start, keys.box, 4).reshape(*lead, -1, size)
        dk = _add(dk, multiply(ds, tile.q), tile.start, keys.box)
        dv = _add(dv, multiply(p, dout), tile.start, keys.box)
        if pull is not None:
            dbias = dbias + pull(ds.reshape(s.shape))[0]
        return (dk, dv, dbias), multiply(k, ds)

    zero_bias = zeros_like(keys.bias) if want_bias and keys.bias is not None else None
    carry = (*map(zeros_like, alike(keys.k, keys.v)), zero_bias)
    xs = (tiles, cut(dout), *shared)
    (dk, dv, dbias), dq = lax.scan(jax.checkpoint(step), carry, xs)
    dq = problem.scale * _uncut(problem, operands.q, dq.swapaxes(-1, -2))
    dilation = tuple(axis.dilation for axis in problem.axes)
    space = operands.k.shape[1:-2]
    dk, dv = (
        layout.from_groups(a.reshape(-1, *a.shape[2:]), space, dilation).astype(operands.k.dtype)
        for a in (dk, dv)
    )
    if operands.mask is not None:
        dk, dv = (jnp.where(operands.mask[..., None, None], a, 0) for a in (dk, dv))
    if dbias is not None and operands.bias is not None:
        dbias = _without_margin(problem, keys.box, dbias, operands.bias)
    return dq.astype(operands.q.dtype), dk, dv, dbias


# One step.


def _scores(problem: Problem, keys: _Keys, tile: _Tiles, multiply: Callable) -> Array:
    """s (per_step, batch, groups, kv_heads, *box, query heads of each, tokens); masked: -inf."""
    return _scores_and_pull(problem, keys, tile, multiply, False)[0]


def _scores_and_pull(
    problem: Problem, keys: _Keys, tile: _Tiles, multiply: Callable, want_bias: bool
) -> tuple[Array, Callable | None]:
    """The scores, and the function that takes their cotangent to that of the bias table."""
    lead, rank = tile.q.shape[:4], len(keys.box)
    tokens = math.prod(problem.plan.tile)
    k = _boxes(keys.k, tile.start, keys.box, 3).reshape(*lead, math.prod(keys.box), -1)
    s = multiply(k, tile.q.swapaxes(-1, -2)).reshape(*lead, *keys.box, -1, tokens)
    pull = None
    if keys.bias is not None:
        spread = partial(_spread_bias, problem, keys.box, tile.offset)
        if want_bias:
            relative, pull_one = jax.vjp(spread, keys.bias)
            pull = lambda ds: pull_one(ds.sum((1, 2), keepdims=True))  # noqa: E731
        else:
            relative = spread(keys.bias)
        s = s + relative
    conditions = []
    for i, (first, stop) in enumerate(zip(tile.first, tile.stop, strict=True)):
        place = tile.start[:, i, None] + jnp.arange(keys.box[i], dtype=jnp.int32)
        place = place[:, None, :, None]
        inside = (place >= first[:, :, None]) & (place < stop[:, :, None])
        box = [keys.box[i] if j == i else 1 for j in range(rank)]
        conditions.append(inside.reshape(lead[0], 1, first.shape[1], 1, *box, 1, tokens))
    if keys.valid is not None:
        conditions.append(_boxes(keys.valid, tile.start, keys.box, 3)[..., None])
    return jnp.where(reduce(jnp.logical_and, conditions), s, -jnp.inf), pull


def _boxes(x: Array, start: Array, box: tuple[int, ...], lead: int) -> Array:
    """The boxes of x at every row of `start`, on the axes from `lead` on, stacked in front."""
    sizes = (*x.shape[:lead], *box, *x.shape[lead + len(box) :])
    cut = [lax.dynamic_slice(x, _corner(x, one, lead), sizes) for one in start]
    return cut[0][None] if len(cut) == 1 else jnp.stack(cut)


def _add(x: Array, parts: Array, start: Array, box: tuple[int, ...]) -> Array:
    """x with every part added at its box, one after another."""
    sizes = (*x.shape[:3], *box, x.shape[-1])
    for part, one in zip(parts, start, strict=True):
        corner = _corner(x, one, 3)
        summed = lax.dynamic_slice(x, corner, sizes) + part.reshape(sizes)
        x = lax.dynamic_update_slice(x, summed, corner)
    return x


def _corner(x: Array, start: Array, lead: int) -> list[Array]:
    zero = jnp.zeros_like(start[0])
    after = x.ndim - lead - start.shape[0]
    return [*[zero] * lead, *start, *[zero] * after]


def _spread_bias(problem: Problem, box: tuple[int, ...], offset: Array, table: Array) -> Array:
    """The bias of every key of a box for every query of a tile, (per_step, 1, 1, kv_heads, ...)."""
    rank, tile = len(box), problem.plan.tile
    sizes = [b + t - 1 for b, t in zip(box, tile, strict=True)]
    spread = []
    for one in offset:
        x = lax.dynamic_slice(table, _corner(table, one, 2), (*table.shape[:2], *sizes))
        for i, (b, t) in enumerate(zip(box, tile, strict=True)):
            # Key c and query u are c - u apart: query u reads the run that begins t - 1 - u later.
            runs = [lax.slice_in_dim(x, t - 1 - u, t - 1 - u + b, axis=2 + i) for u in range(t)]
            x = jnp.stack(runs, -1)
        x = x.transpose(0, *range(2, 2 + rank), 1, *range(2 + rank, 2 + 2 * rank))
        spread.append(x.reshape(1, 1, table.shape[0], *box, table.shape[1], math.prod(tile)))
    return jnp.stack(spread)


# Before and after the loop.


def _prepare(problem: Problem, operands: Operands) -> tuple[_Keys, _Tiles]:
    """What the loop reads: boxes' sources and scanned tiles."""
    q, k, v, mask, bias, origins = operands
    wide, rank, tile = compute_dtype(q.dtype), len(problem.axes), problem.plan.tile
    dilation = tuple(axis.dilation for axis in problem.axes)
    if mask is not None:  # what is masked is never read: neither a NaN nor a gradient passes
        k, v = (jnp.where(mask[..., None, None], a, 0) for a in (k, v))
    k, v = (_grouped(a.astype(wide), dilation) for a in (k, v))
    valid = None if mask is None else _grouped(mask[..., None, None], dilation)
    box = tuple(
        tiling.box_size(axis, t, aligned=origins is None)
        for axis, t in zip(problem.axes, tile, strict=True)
    )
    short = [max(0, b - n) for b, n in zip(box, k.shape[3:-1], strict=True)]
    if any(short):  # a part of an axis that is shorter than a box
        pad = [(0, 0)] * 3 + [(0, n) for n in short] + [(0, 0)]
        k, v = jnp.pad(k, pad), jnp.pad(v, pad)
        valid = None if valid is None else jnp.pad(valid, pad)
    queries = tuple(tiling.places(n, d) for n, d in zip(q.shape[1:-2], dilation, strict=True))
    tables = [
        tiling.axis_tables(
            axis, t, box[i], queries[i], k.shape[3 + i], None if origins is None else origins[i]
        )
        for i, (axis, t) in enumerate(zip(problem.axes, tile, strict=True))
    ]
    start, offset, first, stop = tiling.tile_tables(tables, tile, dilation)
    margin = [b + t for b, t in zip(box, tile, strict=True)]
    if bias is not None:
        heads = bias.shape[0]
        bias = jnp.pad(bias.astype(wide), [(0, 0), *((m, m) for m in margin)])
        bias = bias.reshape(k.shape[2], heads // k.shape[2], *bias.shape[1:])
    shift = [axis.window - t + m for axis, t, m in zip(problem.axes, tile, margin, strict=True)]
    offset = offset + jnp.asarray(shift, jnp.int32)
    per_step = problem.plan.per_step
    start, offset, *rest = (_stepped(a, per_step, "edge") for a in (start, offset, *first, *stop))
    q = _cut(problem, k.shape[2], (problem.scale * q.astype(wide)))
    return _Keys(k, v, valid, bias, box), _Tiles(q, start, offset, rest[:rank], rest[rank:])


def _grouped(x: Array, dilation: tuple[int, ...]) -> Array:
    """(batch, *space, heads, features) -> (batch, groups, heads, *places, features)."""
    groups = layout.to_groups(x, dilation)
    return groups.reshape(x.shape[0], math.prod(dilation), *groups.shape[1:])


def _cut(problem: Problem, kv_heads: int, x: Array) -> Array:
    """(batch, *space, heads, features) as steps of tiles, the rows of one key head together."""
    batch, features = x.shape[0], x.shape[-1]
    dilation = tuple(axis.dilation for axis in problem.axes)
    x = jnp.moveaxis(layout.to_tiles(x, dilation, problem.plan.tile), 2, 0)
    x = x.reshape(x.shape[0], batch, math.prod(dilation), kv_heads, -1, features)
    return _stepped(x, problem.plan.per_step, "constant")


def _uncut(problem: Problem, like: Array, x: Array) -> Array:
    """The inverse of `_cut`, for the space and heads of `like`."""
    (batch, *space, heads, _), features = like.shape, x.shape[-1]
    dilation, tile = tuple(axis.dilation for axis in problem.axes), problem.plan.tile
    tiles = math.prod(
        layout.padded(n, d, t) // t for n, d, t in zip(space, dilation, tile, strict=True)
    )
    x = x.reshape(-1, *x.shape[2:])[:tiles]
    x = x.reshape(tiles, batch * math.prod(dilation), heads, math.prod(tile), features)
    return layout.from_tiles(jnp.moveaxis(x, 0, 2), space, dilation, tile)


def _stepped(x: Array, per_step: int, mode: str) -> Array:
    """(tiles, ...) -> (steps, per_step, ...), the last step filled up."""
    missing = -x.shape[0] % per_step
    if missing:
        x = jnp.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1), mode=mode)
    return x.reshape(-1, per_step, *x.shape[1:])


def _without_margin(problem: Problem, box: tuple[int, ...], dbias: Array, bias: Array) -> Array:
    margin = [b + t for b, t in zip(box, problem.plan.tile, strict=True)]
    inner = tuple(slice(m, -m) for m in margin)
    return dbias.reshape(bias.shape[0], *dbias.shape[2:])[(slice(None), *inner)].astype(bias.dtype)


def _precision(q: Array) -> str | None:
    """Of matrix products: all bits of float32 and float64; the platform's own for 16 bits."""
    return "highest" if q.dtype.itemsize > 2 else None


__all__ = ["Operands", "Plan", "Problem", "adjoint", "forward"]
