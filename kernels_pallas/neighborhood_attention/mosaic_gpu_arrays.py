"""The arrays of the Mosaic GPU kernels and the public layout, in plain jnp.

Tokens are read and written in place: a dilation group is a matter of indices. With the leading axes
and the batch as rows, and the last axis split into places and groups,

    (batch, *space, heads, size)  ->  (rows, places, groups of the last axis * heads, size)

is a reshape, but for padding of the last axis to whole tiles. Numbers that go with the tokens of a
block (the LSE, delta, the mask) have to be contiguous for each block, wherever it begins: `spread`
copies them, eight times their size, which is D / 16 times less than q in 16 bits."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Shaped

from kernels_pallas.neighborhood_attention.mosaic_gpu_plan import BLOCK, GRANULE, Problem


def rows(
    problem: Problem, x: Shaped[Array, "batch *space heads size"]
) -> Shaped[Array, "rows places group_heads size"]:
    """Tokens as the kernels read them; zeros past the end of the last axis."""
    *_, length, heads, size = x.shape
    dilation = problem.axes[-1].dilation
    wanted = problem.row_length * dilation
    if wanted != length:
        x = jnp.pad(x, [(0, 0)] * (x.ndim - 3) + [(0, wanted - length), (0, 0), (0, 0)])
    return x.reshape(-1, problem.row_length, dilation * heads, size)


def from_rows(
    problem: Problem, x: Shaped[Array, "rows places group_heads size"]
) -> Shaped[Array, "batch *space heads size"]:
    """The inverse of `rows`."""
    static, axis = problem.static, problem.axes[-1]
    wanted = problem.row_length * axis.dilation
    full = x.reshape(static.batch, *static.space[:-1], wanted, -1, x.shape[-1])
    return full if wanted == axis.length else full[..., : axis.length, :, :]


def spread(
    problem: Problem, x: Shaped[Array, "batch *space channels"], fill: float
) -> Shaped[Array, "batch_groups channels places 64"]:
    """The 64 numbers of the block that begins at each place, `fill` past the end of an axis.

    On the last axis blocks begin at multiples of 8; `places` runs over the axes, the last fastest.
    """
    block, axes = problem.plan.block, problem.axes
    rank = len(axes)
    for i, axis in enumerate(axes):
        places = problem.row_length if i == rank - 1 else -(-axis.length // axis.dilation)
        pad = [(0, 0)] * x.ndim
        at = 1 + 3 * i  # each axis handled so far has become (place, group, within the block)
        pad[at] = (0, places * axis.dilation - axis.length)
        x = jnp.pad(x, pad, constant_values=fill)
        x = x.reshape(*x.shape[:at], places, axis.dilation, *x.shape[at + 1 :])
        begin = jnp.arange(0, places, GRANULE if i == rank - 1 else 1)
        index = begin[:, None] + jnp.arange(block[i])
        x = jnp.moveaxis(x, at, -1)
        taken = jnp.take(x, index.reshape(-1), axis=-1, mode="fill", fill_value=fill)
        taken = taken.reshape(*x.shape[:-1], len(begin), block[i])
        x = jnp.moveaxis(taken, (-2, -1), (at, at + 2))
    # (batch, place, group, within, place, group, within, .., channels)
    place, group, within = (tuple(range(1 + j, 1 + 3 * rank, 3)) for j in range(3))
    x = x.transpose(0, *group, x.ndim - 1, *place, *within)
    channels = x.shape[1 + rank]
    return x.reshape(
        -1, channels, x.size // (x.shape[0] * problem.groups * channels * BLOCK), BLOCK
    )


def from_tiles(
    problem: Problem, x: Float[Array, "batch_groups heads tiles warpgroups 64"]
) -> Float[Array, "batch *space heads"]:
    """Numbers that were written tile by tile, in the public layout."""
    static, axes, tile = problem.static, problem.axes, problem.plan.tile
    rank = len(axes)
    x = x.reshape(static.batch, *static.dilation, x.shape[1], *problem.tiles, *tile)
    order = [0]
    for i in range(rank):
        order += [2 + rank + i, 2 + 2 * rank + i, 1 + i]
    x = x.transpose(*order, 1 + rank)
    counts = zip(problem.tiles, tile, static.dilation, strict=True)
    x = x.reshape(static.batch, *(t * s * d for t, s, d in counts), -1)
    return x[tuple(slice(0, length) for length in (static.batch, *static.space))]


__all__ = ["from_rows", "from_tiles", "rows", "spread"]
