"""The one array that layers transform: covariances of activations over places and examples.

A block holds E[f(x)_p f(x')_q] of one channel f (the NNGP) and, where asked for, the NTK, for
pairs of places (p, q) and pairs of examples (x, x'). Axes: places first, examples last.

    full       (p_1, q_1, p_2, q_2, .., *batch)   every pair of places; an axis's two side by side
    diagonal   (p_1, p_2, .., *batch)             p = q alone

`batch` is (N,) where examples meet themselves (x = x', a self block); between two sets (a cross
block) it is (N1, N2), or (P,) for a list of pairs. A layer need not know which: what belongs to one
side of the pair (a variance, a mask) arrives with batch axes that broadcast, and `left` and `right`
give it its spatial axes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
from jax import Array, lax


def _static():
    return field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Block:
    """Covariances of activations; `make` builds one.

    Attributes:
      values: (nngp,) or (nngp, ntk).
      rank: spatial axes.
      diagonal: whether only p = q is held.
      itself: whether it is a self block, whose entries at p = q are variances.
      zero_ntk: whether an NTK is asked for but still zero, as before the first weights: it is not
        in `values` then, and linear maps skip it.
    """

    values: tuple[Array, ...]
    rank: int = _static()
    diagonal: bool = _static()
    itself: bool = _static()
    zero_ntk: bool = _static()

    @property
    def nngp(self) -> Array:
        """The NNGP."""
        return self.values[0]

    @property
    def ntk(self) -> Array | None:
        """The NTK; None where it was not asked for."""
        if self.zero_ntk:
            return jnp.zeros_like(self.nngp)
        return self.values[1] if len(self.values) == 2 else None

    def stored(self) -> Block:
        """The same block with its NTK in `values`, zero or not."""
        return self.with_values(self.nngp, self.ntk)

    @property
    def space(self) -> tuple[int, ...]:
        """Sizes of the spatial axes, one a pair."""
        shape = self.values[0].shape
        return shape[: self.rank] if self.diagonal else shape[: 2 * self.rank : 2]

    @property
    def batch(self) -> tuple[int, ...]:
        """(N,) of a self block; (N1, N2) or (P,) of a cross block."""
        return self.values[0].shape[self.spatial_axes :]

    @property
    def spatial_axes(self) -> int:
        """Leading axes that are spatial: rank where diagonal, else twice the rank."""
        return self.rank if self.diagonal else 2 * self.rank

    def with_values(self, nngp: Array, ntk: Array | None) -> Block:
        """The same block with other covariances."""
        values = (nngp,) if ntk is None else (nngp, ntk)
        return replace(self, values=values, zero_ntk=False)

    def linear(self, f: Callable[[Array], Array], **changes) -> Block:
        """f, a linear map, of the NNGP and of the NTK. `changes`: new attributes."""
        return replace(self, values=tuple(f(value) for value in self.values), **changes)

    def materialised(self) -> Block:
        """The same block, computed once: XLA will not repeat its making in each of its readers."""
        return replace(self, values=lax.optimization_barrier(self.values))

    def left(self, side: Array) -> Array:
        """(*space, *batch) of x at p, with the axes of q inserted; unchanged where diagonal."""
        return side if self.diagonal else self._spread(side, 1)

    def right(self, side: Array) -> Array:
        """(*space, *batch) of x' at q, with the axes of p inserted; unchanged where diagonal."""
        return side if self.diagonal else self._spread(side, 0)

    def _spread(self, side: Array, offset: int) -> Array:
        return jnp.expand_dims(side, tuple(2 * axis + offset for axis in range(self.rank)))

    def at_diagonal(self) -> Array:
        """The NNGP at p = q, (*space, *batch): variances, if this is a self block."""
        return self.nngp if self.diagonal else spatial_diagonal(self.nngp, self.rank)

    def to_diagonal(self) -> Block:
        """The block at p = q alone."""
        if self.diagonal:
            return self
        return self.linear(lambda value: spatial_diagonal(value, self.rank), diagonal=True)

    def on_diagonal(self) -> Array:
        """Bool, broadcasts against the spatial axes and `batch`: whether p = q."""
        on = jnp.ones((), bool)
        if not self.diagonal:
            for axis, size in enumerate(self.space):
                shape = [1] * self.values[0].ndim
                shape[2 * axis] = shape[2 * axis + 1] = size
                on = on & jnp.eye(size, dtype=bool).reshape(shape)
        return on

    def masked(self, left: Array | None, right: Array | None) -> Block:
        """Zero wherever x at p or x' at q is masked; masks (*space, *batch), True = masked."""
        if left is None and right is None:
            return self
        hidden = jnp.zeros((), bool)
        if left is not None:
            hidden = hidden | self.left(left)
        if right is not None:
            hidden = hidden | self.right(right)
        return self.linear(lambda value: jnp.where(hidden, jnp.zeros((), value.dtype), value))


def make(nngp: Array, *, both: bool, rank: int, diagonal: bool, itself: bool) -> Block:
    """A block of the inputs' covariances, whose NTK, if `both`, is zero."""
    return Block((nngp,), rank=rank, diagonal=diagonal, itself=itself, zero_ntk=both)


def spatial_diagonal(value: Array, rank: int) -> Array:
    """(p_1, q_1, .., *batch) at p = q: (p_1, .., *batch)."""
    for axis in range(rank):
        value = jnp.moveaxis(jnp.diagonal(value, axis1=axis, axis2=axis + 1), -1, axis)
    return value


def spatial_embedding(value: Array, rank: int) -> Array:
    """(p_1, .., *batch) as the diagonal of a full array that is zero elsewhere."""
    for axis in range(rank):
        size, at = value.shape[2 * axis], 2 * axis
        eye = jnp.eye(size, dtype=bool).reshape((size, size) + (1,) * (value.ndim - at - 1))
        value = jnp.where(eye, jnp.expand_dims(value, at + 1), jnp.zeros((), value.dtype))
    return value
