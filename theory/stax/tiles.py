"""Kernel matrices tile by tile: memory follows the tile, and symmetry halves the work.

Each side is run against itself once, in chunks, which gives its tape; then tiles of (rows of x1,
rows of x2) run through the network one after another, and only their outputs are kept. Where x1 is
x2, tiles above the diagonal are mirrored, and the pairs (x, x) come from the self pass, whose
variances are closed forms: near correlation 1 the general formulas lose half of the digits.

The last tile of a side that the tile does not divide starts earlier, and overlaps its neighbour.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from theory.stax import inputs
from theory.stax.block import Block
from theory.stax.rule import Rule
from theory.stax.run import SelfPass, cross_pass, self_pass

Tree = Any


class Request(NamedTuple):
    """What is computed: static, hashable.

    Attributes:
      both: NNGP and NTK, else the NNGP alone.
      full: whether inputs are held for every pair of places.
      narrow: whether outputs are cut to equal places, where the network gives more.
      tile: (rows, columns) of examples.
      chunk: examples a step of the self pass.
    """

    both: bool
    full: bool
    narrow: bool
    tile: tuple[int, int]
    chunk: int


class Result(NamedTuple):
    """Outputs, in trees as the network's; the layout of blocks, batch last.

    Attributes:
      nngp, ntk: (*spatial, N1, N2); ntk None where not asked for.
      cov1, cov2: (*spatial, N); cov2 None where x1 is x2.
      mask1, mask2: (N, *space) or None.
    """

    nngp: Tree
    ntk: Tree
    cov1: Tree
    cov2: Tree
    mask1: Tree
    mask2: Tree


@partial(jax.jit, static_argnames=("rule", "request"))
def compute(
    rule: Rule,
    request: Request,
    x1: Tree,
    x2: Tree,
    masks1: Tree,
    masks2: Tree,
    pattern1: Array | None,
    pattern2: Array | None,
) -> Result:
    """Every covariance of the outputs, from arrays (N, *space, channels); x2 None means x1."""
    facts = jax.tree.map(inputs.facts_of, x1)
    side1, side2 = _sides(rule, request, facts, (x1, masks1, pattern1), (x2, masks2, pattern2))
    symmetric = x2 is None
    other = x1 if symmetric else x2

    def tile(i: Array, j: Array, counts: tuple[int, int]) -> Tree:
        cut = lambda tree, start, count, axis: jax.tree.map(  # noqa: E731
            lambda a: lax.dynamic_slice_in_dim(a, start, count, axis), tree
        )
        a, b = cut(x1, i, counts[0], 0), cut(other, j, counts[1], 0)
        left, right = cut(side1.tape, i, counts[0], -1), cut(side2.tape, j, counts[1], -1)
        blocks = jax.tree.map(
            lambda u, v: inputs.cross_block(u, v, diagonal=not request.full, both=request.both),
            a,
            b,
        )
        # Short inner loops are slow: with places to sum over, pairs are one axis and not two.
        listed = any(leaf.ndim > 2 for leaf in jax.tree.leaves(x1))
        if listed:
            blocks = _map_blocks(_as_list, blocks)
            left = jax.tree.map(lambda t: jnp.repeat(t, counts[1], -1), left)
            right = jax.tree.map(lambda t: jnp.tile(t, counts[0]), right)
        else:
            left = jax.tree.map(lambda t: t[..., :, None], left)
            right = jax.tree.map(lambda t: t[..., None, :], right)
        out = _narrowed(cross_pass(rule, blocks, facts, left, right), request.narrow)
        return _map_blocks(partial(_as_tile, counts=counts), out) if listed else out

    n1, n2 = inputs.batch_of(x1), inputs.batch_of(other)
    pairs = _over_tiles(tile, side1.blocks if symmetric else None, n1, n2, request.tile)
    masks2 = None if symmetric else side2.masks
    cov2 = None if symmetric else parts_of(side2.blocks)[0]
    return Result(*pairs, parts_of(side1.blocks)[0], cov2, side1.masks, masks2)


def _sides(rule: Rule, request: Request, facts: Tree, one, two) -> tuple[SelfPass, SelfPass]:
    """The self passes of both sides, in one program for both."""
    if two[0] is None:
        side = one_side(rule, request, facts, *one, both=request.both)
        return side, side
    if (None if one[2] is None else one[2].shape[1:]) != (
        None if two[2] is None else two[2].shape[1:]
    ):  # graphs that are no one array, such as lists of edges: a program for each side
        return (
            one_side(rule, request, facts, *one, both=False),
            one_side(rule, request, facts, *two, both=False),
        )
    n1, n2 = inputs.batch_of(one[0]), inputs.batch_of(two[0])
    x = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), one[0], two[0])
    masks = jax.tree.map(lambda _, a, b: _joined_masks(a, b, n1, n2), facts, one[1], two[1])
    pattern = None if one[2] is None else jnp.concatenate([one[2], two[2]])
    side = one_side(rule, request, facts, x, masks, pattern, both=False)

    def part(cut) -> SelfPass:
        at_end, at_start = lambda a: a[..., cut], lambda a: a[cut]
        return SelfPass(
            jax.tree.map(at_end, side.blocks),
            jax.tree.map(at_start, side.masks),
            jax.tree.map(at_end, side.tape),
        )

    return part(slice(None, n1)), part(slice(n1, None))


def _joined_masks(a: Array | None, b: Array | None, n1: int, n2: int) -> Array | None:
    """The masks of both sides; a side without one is not masked."""
    if a is None:
        if b is None:
            return None
        a = jnp.zeros((n1, *b.shape[1:]), bool)
    if b is None:
        b = jnp.zeros((n2, *a.shape[1:]), bool)
    return jnp.concatenate([a, b])


def one_side(
    rule: Rule,
    request: Request,
    facts: Tree,
    x: Tree,
    masks: Tree,
    pattern: Array | None,
    *,
    both: bool,
) -> SelfPass:
    """The self pass of one set of inputs, in chunks of `request.chunk` examples."""

    def run(x, masks, pattern):
        blocks = jax.tree.map(
            lambda u: inputs.self_block(u, diagonal=not request.full, both=both), x
        )
        out = self_pass(rule, blocks, masks, facts, pattern)
        return out._replace(blocks=_narrowed(out.blocks, request.narrow))

    n, chunk = inputs.batch_of(x), request.chunk
    if n <= chunk:
        return run(x, masks, pattern)
    starts = np.minimum(np.arange(0, n, chunk), n - chunk)

    def step(_, start):
        cut = partial(lax.dynamic_slice_in_dim, start_index=start, slice_size=chunk, axis=0)
        return None, run(*jax.tree.map(cut, (x, masks, pattern)))

    _, parts = lax.scan(step, None, jnp.asarray(starts))
    # every example from the last chunk that holds it
    chosen = np.minimum(np.arange(n) // chunk, len(starts) - 1)
    flat = jnp.asarray(chosen * chunk + np.arange(n) - starts[chosen])

    def join(axis):
        def of(part):  # (chunks, .., chunk, ..) with the batch at `axis` of a part
            part = jnp.moveaxis(part, 0, axis if axis >= 0 else axis - 1)
            at = axis % (part.ndim - 1)
            shape = (*part.shape[:at], len(starts) * chunk, *part.shape[at + 2 :])
            return jnp.take(part.reshape(shape), flat, axis=at)

        return of

    return SelfPass(
        jax.tree.map(join(-1), parts.blocks),
        jax.tree.map(join(0), parts.masks),
        jax.tree.map(join(-1), parts.tape),
    )


def _over_tiles(tile, own: Tree, n1: int, n2: int, counts: tuple[int, int]) -> tuple[Tree, Tree]:
    """(nngp, ntk) of all pairs, from tiles; `own`, the blocks of the pairs (x, x), if x1 is x2."""
    symmetric = own is not None
    t1, t2 = min(counts[0], n1), min(counts[1], n2)
    if symmetric:
        t1 = t2 = min(t1, t2)

    def parts(i: Array, j: Array) -> tuple[Tree, Tree]:
        out = parts_of(tile(i, j, (t1, t2)))
        return with_own(out, own, i, j) if symmetric else out

    if (t1, t2) == (n1, n2):
        return parts(jnp.int32(0), jnp.int32(0))
    rows, columns = np.meshgrid(np.arange(-(-n1 // t1)), np.arange(-(-n2 // t2)), indexing="ij")
    keep = rows <= columns if symmetric else np.full(rows.shape, True)
    starts = np.stack(
        [np.minimum(rows[keep] * t1, n1 - t1), np.minimum(columns[keep] * t2, n2 - t2)], -1
    ).astype(np.int32)
    body = jax.checkpoint(parts)  # nothing of a tile is kept for a gradient
    shapes = jax.eval_shape(body, jnp.int32(0), jnp.int32(0))
    empty = jax.tree.map(lambda s: jnp.zeros((*s.shape[:-2], n1, n2), s.dtype), shapes)
    first = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

    # A tile is copied into the result one step after it was made. XLA on a CPU fuses a copy in
    # place with what makes the copied, which then runs in one thread, and once for each copy.
    def put(out, part, start):
        i, j = start[0], start[1]
        out = jax.tree.map(partial(_put, i=i, j=j), out, part)
        if symmetric:
            out = jax.tree.map(partial(_put, i=j, j=i), out, _transposed(part, own))
        return out

    def step(carry, start):
        out, before = carry
        return (put(out, *before), (body(start[0], start[1]), start)), None

    order = jnp.asarray(starts)
    (out, last), _ = lax.scan(step, (empty, (first, order[0])), order)
    return put(out, *last)


def with_own(parts: tuple[Tree, Tree], own: Tree, i: Array, j: Array) -> tuple[Tree, Tree]:
    """Tiles whose first pair is (i, j), the pairs (x, x) in them taken from their own blocks."""

    def exact(part: Array, of_self: Array) -> Array:
        t1, t2 = part.shape[-2:]
        same = (i + lax.iota(i.dtype, t1))[:, None] == (j + lax.iota(j.dtype, t2))[None, :]
        rows = lax.dynamic_slice_in_dim(of_self, i, t1, -1)
        return jnp.where(same, rows[..., :, None], part)

    return jax.tree.map(exact, parts, parts_of(own))


def _transposed(parts: tuple[Tree, Tree], like: Tree) -> tuple[Tree, Tree]:
    """Tiles of (x', x) from those of (x, x'): the batch axes swap, and so do p and q."""

    def swap(block: Block, value: Array | None) -> Array | None:
        if value is None:
            return None
        for axis in range(0 if block.diagonal else block.rank):
            value = jnp.swapaxes(value, 2 * axis, 2 * axis + 1)
        return jnp.swapaxes(value, -1, -2)

    leaf = {"is_leaf": lambda node: isinstance(node, Block)}
    return jax.tree.map(swap, like, parts[0], **leaf), jax.tree.map(swap, like, parts[1], **leaf)


def _put(whole: Array, part: Array, i: Array, j: Array) -> Array:
    zero = jnp.zeros((), i.dtype)
    return lax.dynamic_update_slice(whole, part, (*(zero,) * (whole.ndim - 2), i, j))


def _narrowed(blocks: Tree, narrow: bool) -> Tree:
    if not narrow:
        return blocks
    return _map_blocks(Block.to_diagonal, blocks)


def _map_blocks(f, blocks: Tree) -> Tree:
    return jax.tree.map(f, blocks, is_leaf=lambda leaf: isinstance(leaf, Block))


def _as_list(block: Block) -> Block:
    """Batch (N1, N2) as (N1 N2,)."""
    return block.linear(lambda v: v.reshape(*v.shape[:-2], -1))


def _as_tile(block: Block, counts: tuple[int, int]) -> Block:
    """Batch (N1 N2,) as (N1, N2)."""
    return block.linear(lambda v: v.reshape(*v.shape[:-1], *counts))


def parts_of(blocks: Tree) -> tuple[Tree, Tree]:
    """(nngp, ntk) of a tree of blocks, as two trees; ntk None where it is not held."""
    leaves, tree = jax.tree.flatten(blocks, is_leaf=lambda leaf: isinstance(leaf, Block))
    leaves = [leaf.materialised() for leaf in leaves]
    return tree.unflatten([b.nngp for b in leaves]), tree.unflatten([b.ntk for b in leaves])
