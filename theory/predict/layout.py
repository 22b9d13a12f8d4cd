"""The axes of targets and of kernels between them: from public shapes to matrices, and back.

Targets have shape (batch, *rest). A kernel between outputs has their axes in pairs, (batch, batch',
a, a', ..), but for the `trace_axes`, along which it is a constant times the identity: then one
matrix serves every index along them, and they become the columns of a right-hand side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

Axes = int | Sequence[int]


def paired(shape: Sequence[int]) -> tuple[int, ...]:
    """(a, b, ..) as (a, a, b, b, ..)."""
    return tuple(size for size in shape for _ in range(2))


@dataclass(frozen=True)
class Layout:
    """How outputs of one shape are laid out.

    Attributes:
      shape: of the targets.
      trace_axes: the axes that kernels lack, negative and ascending.
    """

    shape: tuple[int, ...]
    trace_axes: tuple[int, ...]

    @classmethod
    def of(cls, y_train: Array, trace_axes: Axes) -> Layout:
        """The layout of `y_train`.

        Raises:
          ValueError: an axis that it has not.
        """
        rank = y_train.ndim
        given = (trace_axes,) if isinstance(trace_axes, int) else tuple(trace_axes)
        for axis in given:
            if not -rank <= axis < rank:
                raise ValueError(
                    f"trace_axes must be axes of y_train, of shape {y_train.shape}; got {given}"
                )
        return cls(tuple(y_train.shape), tuple(sorted({axis % rank - rank for axis in given})))

    @property
    def kept(self) -> tuple[int, ...]:
        """The sizes of the axes that kernels have, in order."""
        rank = len(self.shape)
        return tuple(n for i, n in enumerate(self.shape) if i - rank not in self.trace_axes)

    @property
    def traced(self) -> tuple[int, ...]:
        """The sizes of the trace axes, in order."""
        return tuple(self.shape[axis] for axis in self.trace_axes)

    @property
    def rows(self) -> int:
        """The side of the matrix of the training kernel."""
        return math.prod(self.kept)

    @property
    def size(self) -> int:
        """All targets."""
        return math.prod(self.shape)

    def flat(self, y: Array) -> Float[Array, "rows columns"]:
        """Values of the targets' shape (or that broadcast to it) as rows of the matrix."""
        y = jnp.broadcast_to(y, self.shape)
        last = tuple(range(-len(self.trace_axes), 0))
        return jnp.moveaxis(y, self.trace_axes, last).reshape(self.rows, -1)

    def outputs(self, flat: Float[Array, "*lead rows columns"], kept: Sequence[int]) -> Array:
        """Rows back in the shape of outputs, `kept` being the sizes of their other axes."""
        lead = flat.shape[:-2]
        value = flat.reshape(*lead, *kept, *self.traced)
        return jnp.moveaxis(value, range(-len(self.trace_axes), 0), self.trace_axes)

    def square(self, kernel: Array, name: str) -> Float[Array, "rows rows"]:
        """The matrix of a kernel between training outputs.

        Raises:
          ValueError: its shape is another.
        """
        kernel = _array(kernel)
        expected = paired(self.kept)
        if kernel.shape != expected:
            raise ValueError(
                f"{name} must have shape {expected}, {self._why()}; got {kernel.shape}"
            )
        return _matrix(kernel)

    def cross(self, kernel: Array, name: str = "k_test_train") -> Float[Array, "test rows"]:
        """The matrix of a kernel between test and training outputs.

        Raises:
          ValueError: its shape does not go with the targets'.
        """
        kernel = _array(kernel)
        if kernel.ndim != 2 * len(self.kept) or kernel.shape[1::2] != self.kept:
            raise ValueError(
                f"{name} must pair test axes with training axes {self.kept}, as (test, train, ..), "
                f"{self._why()}; got {kernel.shape}"
            )
        return _matrix(kernel)

    def test_outputs(self, k_test_train: Array | None) -> tuple[int, ...]:
        """The shape of the test outputs."""
        kept = list(self.kept if k_test_train is None else k_test_train.shape[::2])
        rank = len(self.shape)
        for axis, size in zip(self.trace_axes, self.traced, strict=True):
            kept.insert(axis + rank, size)
        return tuple(kept)

    def _why(self) -> str:
        return f"as y_train has shape {self.shape} and trace_axes are {self.trace_axes}"


def covariance(matrix: Float[Array, "*lead rows rows"], kept: Sequence[int]) -> Array:
    """A matrix between outputs as a kernel, its axes in pairs."""
    lead, rank = matrix.ndim - 2, len(kept)
    value = matrix.reshape(*matrix.shape[:-2], *kept, *kept)
    order = [axis for i in range(rank) for axis in (lead + i, lead + rank + i)]
    return value.transpose(*range(lead), *order)


def square(kernel: Array, name: str) -> Float[Array, "rows rows"]:
    """The matrix of a kernel (a, a, b, b, ..) whose outputs are not known.

    Raises:
      ValueError: its axes are not such pairs.
    """
    kernel = _array(kernel)
    if kernel.ndim == 0 or kernel.ndim % 2 or kernel.shape[::2] != kernel.shape[1::2]:
        raise ValueError(f"{name} must have shape (a, a, b, b, ..), got {kernel.shape}")
    return _matrix(kernel)


def _array(kernel) -> Array:
    kernel = jnp.asarray(kernel)
    return kernel.astype(jnp.promote_types(kernel.dtype, jnp.float32))


def _matrix(kernel: Array) -> Array:
    rank = kernel.ndim // 2
    rows = math.prod(kernel.shape[::2])
    return kernel.transpose(*range(0, 2 * rank, 2), *range(1, 2 * rank, 2)).reshape(rows, -1)
