"""Sums over the neighbours of a graph of each example's places."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from theory.stax.affine import check_axes, written
from theory.stax.layer import Layer, layer_of
from theory.stax.mixing import by_weights, full_always, mixed
from theory.stax.positions import member
from theory.stax.rule import Rule, no_params


class AggregateImplementation(enum.Enum):
    """How a graph is given: weights of all pairs of places, or a list of edges."""

    DENSE = "DENSE"
    SPARSE = "SPARSE"


def _itself(pattern: Any) -> Any:
    return pattern


def Aggregate(
    aggregate_axis: int | Sequence[int] | None = None,
    batch_axis: int = 0,
    channel_axis: int = -1,
    to_dense: Callable[[Any], Array] | None = _itself,
    implementation: str | AggregateImplementation = "DENSE",
) -> Layer:
    """Each place becomes the weighted sum of those with an edge to it.

        y_P = sum_p A_pP x_p,     K'_PQ = sum_pq A_pP K_pq A'_qQ,     Theta' likewise

    Graphs are data, one an example: `apply_fn(.., pattern=A)` and
    `kernel_fn(x1, x2, pattern=(A1, A2))`. Without one (None) the side is left as it is.

    Args:
      aggregate_axis: the spatial axes, of (batch, *space, channels), over which places are joined;
        the others stay apart. None means all.
      batch_axis, channel_axis: 0 and -1; others are refused.
      to_dense: makes the weights from a pattern, with "DENSE".
      implementation: "DENSE": a pattern is (batch, *sizes, *sizes), the sizes of the aggregated
        axes in ascending order, from p to P. "SPARSE": int (batch, edges, axes, 2), or
        (batch, edges, 2) for one axis, from [.., 0] to [.., 1], each of weight 1; edges may
        repeat, and one with a negative coordinate is padding. Coordinates beyond an axis wrap.

    Cost of the covariances of a pair of examples, V places and E edges: V³ or V (V + E).

    Raises:
      ValueError: an argument outside of what is described; when used, inputs without such axes, or
        a pattern that does not fit.

    References:
      Du et al. 2019, Graph Neural Tangent Kernel.
    """
    check_axes(batch_axis, channel_axis)
    how = member(AggregateImplementation, implementation, "implementation")
    dense = how is AggregateImplementation.DENSE
    if dense and not callable(to_dense):
        raise ValueError(f"to_dense must be a function of a pattern, got {to_dense!r}")
    given = (aggregate_axis,) if isinstance(aggregate_axis, int) else aggregate_axis
    name = written(
        "Aggregate", aggregate_axis=(aggregate_axis, None), implementation=(how.value, "DENSE")
    )

    def axes_of(rank: int) -> tuple[int, ...]:
        """The aggregated ones of the spatial axes."""
        if given is None:
            axes = tuple(range(rank))
        else:
            axes = tuple(a % (rank + 2) - 1 if -rank - 2 <= a < rank + 2 else -1 for a in given)
        if not axes or len(set(axes)) < len(axes) or not all(0 <= a < rank for a in axes):
            raise ValueError(
                f"aggregate_axis must name spatial axes, each once, of inputs with {rank} of them, "
                f"got {aggregate_axis!r}"
            )
        return tuple(sorted(axes))

    def weights_of(pattern: Any, n: int, sizes: tuple[int, ...], dtype: Any) -> Array:
        """(P, p, N) from a pattern."""
        assert to_dense is not None
        a = jnp.asarray(to_dense(pattern))
        if a.shape != (n, *sizes, *sizes):
            raise ValueError(
                f"a dense pattern must have shape {(n, *sizes, *sizes)}, got {a.shape}"
            )
        return a.astype(dtype).reshape(n, prod(sizes), prod(sizes)).transpose(2, 1, 0)

    def edges_of(pattern: Any, n: int, sizes: tuple[int, ...]) -> Array:
        """(2, edges, N) places, those of padding being -1."""
        pattern = jnp.asarray(pattern)
        if pattern.ndim == 3 and len(sizes) == 1:
            pattern = pattern[:, :, None]
        expected = (n, "edges", len(sizes), 2)
        fits = pattern.ndim == 4 and (pattern.shape[0], *pattern.shape[2:]) == (n, len(sizes), 2)
        if not fits or not jnp.issubdtype(pattern.dtype, jnp.integer):
            raise ValueError(
                f"a sparse pattern must be ints of shape {expected}, got {pattern.dtype} "
                f"{pattern.shape}"
            )
        place = jnp.zeros((*pattern.shape[:2], 2), pattern.dtype)
        for i, size in enumerate(sizes):
            place = place * size + pattern[:, :, i] % size
        place = jnp.where((pattern < 0).any((2, 3))[..., None], -1, place)
        return place.transpose(2, 1, 0)

    def side_of(pattern: Any, n: int, sizes: tuple[int, ...], dtype: Any) -> Array | None:
        if pattern is None:
            return None
        return weights_of(pattern, n, sizes, dtype) if dense else edges_of(pattern, n, sizes)

    def apply(params, x, context):
        axes = axes_of(x.ndim - 2)
        sizes = tuple(x.shape[a + 1] for a in axes)
        side = side_of(context.pattern, x.shape[0], sizes, x.dtype)
        if side is None:
            return x
        front = range(1, len(axes) + 1)
        moved = jnp.moveaxis(x, [a + 1 for a in axes], front)
        flat = moved.reshape(x.shape[0], prod(sizes), *moved.shape[len(axes) + 1 :])
        if dense:
            y = jnp.einsum("Ppn,np...->nP...", side, flat)
        else:
            y = jax.vmap(_sent, (-1, 0))(side, flat)
        return jnp.moveaxis(y.reshape(moved.shape), front, [a + 1 for a in axes])

    def infer(facts):
        axes_of(len(facts.space))
        return facts

    def statistics(k, mask, pattern):
        sizes = tuple(k.space[a] for a in axes_of(k.rank))
        return side_of(pattern, k.batch[0], sizes, k.nngp.dtype)

    def block(k, left, right, facts):
        def mix(side, at):
            if side is None:
                return lambda value: value
            return by_weights(side, at) if dense else _by_edges(side, at)

        if left is None and right is None:
            return k
        return mixed(k, axes_of(k.rank), mix(left, 0), mix(right, 1))

    return layer_of(Rule(name, no_params, apply, infer, block, statistics, full_always, ops=8.0))


def _sent(edges: Array, value: Array) -> Array:
    """(places, ..), the sums over edges (2, edges) of what they bring to each place."""
    source, target = edges
    return jax.ops.segment_sum(value[source], target, num_segments=value.shape[0])


def _by_edges(edges: Array, side: int) -> Callable[[Array], Array]:
    """The map of (p, q, .., *batch) that sends along edges from p (side 0) or q (side 1).

    Args:
      edges: (2, edges, N) in a self block; (2, edges, N1, 1) or (2, edges, 1, N2) in a cross block.
      side: 0 or 1.
    """
    cross = edges.ndim == 4
    known = (edges[..., 0] if side == 0 else edges[:, :, 0]) if cross else edges
    own = -2 if cross and side == 0 else -1  # the batch axis of the side

    def apply(value: Array) -> Array:
        front = jnp.moveaxis(value, side, 0)  # the place first; the batch axis stays from the end
        return jnp.moveaxis(jax.vmap(_sent, (-1, own), own)(known, front), 0, side)

    return apply
