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
def compute(rule: Rule, request: Request, x1: Tree, x2: Tree, masks1: Tree, masks2: Tree,
            pattern1: Array | None, pattern2: Array | None) -> Result:
    """Every covariance of the outputs, from arrays (N, *space, channels); x2 None means x1."""
    symmetric = x2 is None
    side1 = one_side(rule, request, x1, masks1, pattern1, both=request.both and symmetric)
    side2 = side1 if symmetric else one_side(rule, request, x2, masks2, pattern2, both=False)
    other = x1 if symmetric else x2
    facts = jax.tree.map(inputs.facts_of, x1)

    def tile(rows: Array, columns: Array, counts: tuple[int, int]) -> Tree:
        def cut(tree, start, count):
            return jax.tree.map(lambda a: lax.dynamic_slice_in_dim(a, start, count, 0), tree)

        def cut_last(tree, start, count):
            return jax.tree.map(lambda a: lax.dynamic_slice_in_dim(a, start, count, -1), tree)

        a, b = cut(x1, rows, counts[0]), cut(other, columns, counts[1])
        left = jax.tree.map(lambda t: t[..., :, None], cut_last(side1.tape, rows, counts[0]))
        right = jax.tree.map(lambda t: t[..., None, :], cut_last(side2.tape, columns, counts[1]))
        blocks = jax.tree.map(
            lambda u, v: inputs.cross_block(u, v, diagonal=not request.full, both=request.both), a, b
        )
        return _narrowed(cross_pass(rule, blocks, facts, left, right), request.narrow)

    n1, n2 = inputs.batch_of(x1), inputs.batch_of(other)
    out = _over_tiles(tile, n1, n2, request.tile, symmetric)
    return assemble(out, side1, side2, symmetric)


def one_side(rule: Rule, request: Request, x: Tree, masks: Tree, pattern: Array | None, *,
             both: bool) -> SelfPass:
    """The self pass of one set of inputs, in chunks of `request.chunk` examples."""
    facts = jax.tree.map(inputs.facts_of, x)

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
            shape = part.shape[:at] + (part.shape[at] * part.shape[at + 1],) + part.shape[at + 2 :]
            return jnp.take(part.reshape(shape), flat, axis=at)

        return of

    return SelfPass(
        jax.tree.map(join(-1), parts.blocks),
        jax.tree.map(join(0), parts.masks),
        jax.tree.map(join(-1), parts.tape),
    )


def _over_tiles(tile, n1: int, n2: int, counts: tuple[int, int], symmetric: bool) -> Tree:
    """All tiles' outputs in one array each."""
    t1, t2 = min(counts[0], n1), min(counts[1], n2)
    if symmetric:
        t1 = t2 = min(t1, t2)
    if (t1, t2) == (n1, n2):
        return parts_of(tile(jnp.int32(0), jnp.int32(0), (t1, t2)))
    rows, columns = np.meshgrid(np.arange(-(-n1 // t1)), np.arange(-(-n2 // t2)), indexing="ij")
    keep = rows <= columns if symmetric else np.full(rows.shape, True)
    starts = np.stack(
        [np.minimum(rows[keep] * t1, n1 - t1), np.minimum(columns[keep] * t2, n2 - t2)], -1
    ).astype(np.int32)
    body = jax.checkpoint(lambda i, j: tile(i, j, (t1, t2)))  # nothing of a tile is kept for a gradient
    shapes = jax.eval_shape(lambda: parts_of(body(jnp.int32(0), jnp.int32(0))))
    empty = jax.tree.map(lambda s: jnp.zeros((*s.shape[:-2], n1, n2), s.dtype), shapes)

    def step(out, start):
        i, j = start[0], start[1]
        blocks = body(i, j)
        parts = parts_of(blocks)
        out = jax.tree.map(partial(_put, i=i, j=j), out, parts)
        if symmetric:
            out = jax.tree.map(partial(_put, i=j, j=i), out, parts_of(blocks, transposed=True))
        return out, None

    return lax.scan(step, empty, jnp.asarray(starts))[0]


def _put(whole: Array, part: Array, i: Array, j: Array) -> Array:
    zero = jnp.zeros((), i.dtype)
    return lax.dynamic_update_slice(whole, part, (*(zero,) * (whole.ndim - 2), i, j))


def _narrowed(blocks: Tree, narrow: bool) -> Tree:
    if not narrow:
        return blocks
    return jax.tree.map(Block.to_diagonal, blocks, is_leaf=lambda leaf: isinstance(leaf, Block))


def parts_of(blocks: Tree, transposed: bool = False) -> tuple[Tree, Tree]:
    """(nngp, ntk) of each block; transposed: of (x', x), which swaps p with q as well."""

    def of(block: Block) -> tuple[Array, Array | None]:
        block = block.materialised()
        values = block.nngp, block.ntk
        return jax.tree.map(lambda v: _swap(v, block), values) if transposed else values

    leaves, tree = jax.tree.flatten(blocks, is_leaf=lambda leaf: isinstance(leaf, Block))
    parts = [of(leaf) for leaf in leaves]
    return tree.unflatten([p[0] for p in parts]), tree.unflatten([p[1] for p in parts])


def _swap(value: Array, block: Block) -> Array:
    if not block.diagonal:
        for axis in range(block.rank):
            value = jnp.swapaxes(value, 2 * axis, 2 * axis + 1)
    return jnp.swapaxes(value, -1, -2)


def assemble(blocks: tuple[Tree, Tree], side1: SelfPass, side2: SelfPass, symmetric: bool) -> Result:
    """The result, from (nngp, ntk) of all pairs; where symmetric, (x, x) is the self pass's."""
    nngp, ntk = blocks
    cov1, own = parts_of(side1.blocks)
    cov2 = None if symmetric else parts_of(side2.blocks)[0]
    if symmetric:

        def exact(whole: Array, of_self: Array) -> Array:
            at = np.arange(whole.shape[-1])
            return whole.at[..., at, at].set(of_self, unique_indices=True)

        nngp = jax.tree.map(exact, nngp, cov1)
        ntk = jax.tree.map(exact, ntk, own)
    masks2 = None if symmetric else side2.masks
    return Result(nngp, ntk, cov1, cov2, side1.masks, masks2)
