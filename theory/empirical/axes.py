"""Axes of an empirical kernel: which are traced, which are kept once, where each one ends up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array


def canonical(axes: int | Sequence[int], ndim: int, name: str) -> tuple[int, ...]:
    """Sorted non-negative axes of an array of `ndim` axes.

    Raises:
      ValueError: one is out of range or given twice.
    """
    given = (axes,) if isinstance(axes, int) else tuple(axes)
    if not all(-ndim <= axis < ndim for axis in given):
        raise ValueError(f"{name} must be axes of an output of {ndim} axes, got {axes!r}")
    found = sorted(axis % ndim for axis in given)
    if len(set(found)) != len(found):
        raise ValueError(f"{name} must name an axis once, got {axes!r}")
    return tuple(found)


class OutputAxes(NamedTuple):
    """The axes of one output f(x), and what becomes of each pair of them in the kernel.

    Axis a of f(x1) has the label a; that of f(x2) has the same label where the pair is traced or
    its diagonal is taken, else ndim + a. The native layout of a kernel is (diagonal, of x1, of x2),
    the batch first within its group, as contractions make it; a traced batch is summed at the end.

    Attributes:
      shape1, shape2: of f(x1) and f(x2).
      batch: the axis over which examples are independent; None where that is not known.
      trace: axes that are contracted.
      diagonal: axes of which only equal places are kept.
    """

    shape1: tuple[int, ...]
    shape2: tuple[int, ...]
    batch: int | None
    trace: tuple[int, ...]
    diagonal: tuple[int, ...]

    @property
    def ndim(self) -> int:
        """Number of axes of the output."""
        return len(self.shape1)

    @property
    def trace_size(self) -> int:
        """Entries that a trace sums."""
        return math.prod(self.shape1[a] for a in self.trace)

    @property
    def batch_is_free(self) -> bool:
        """Whether pairs of different examples are asked for."""
        return self.batch is not None and self.batch not in self.trace + self.diagonal

    def order(self) -> tuple[int, ...]:
        """The output's axes as features have them: the batch first."""
        others = tuple(a for a in range(self.ndim) if a != self.batch)
        return others if self.batch is None else (self.batch, *others)

    def right(self, axis: int) -> int:
        """The label of an axis of f(x2)."""
        return axis if axis in self.trace + self.diagonal else self.ndim + axis

    def left_labels(self) -> list[int]:
        """Labels of the features of x1."""
        return list(self.order())

    def right_labels(self) -> list[int]:
        """Labels of the features of x2."""
        return [self.right(a) for a in self.order()]

    def native_labels(self) -> list[int]:
        """Labels of a kernel in the native layout."""
        kept = [
            a for a in self.order() if a in self.diagonal or (a in self.trace and a == self.batch)
        ]
        free = [a for a in self.order() if a not in self.trace + self.diagonal]
        return kept + free + [self.ndim + a for a in free]

    def native_shape(self) -> tuple[int, ...]:
        """The shape of a kernel in the native layout."""
        sizes = dict(zip(range(2 * self.ndim), self.shape1 + self.shape2, strict=True))
        return tuple(sizes[label] for label in self.native_labels())

    def final_labels(self) -> list[int]:
        """Labels of the kernel that is returned: pairs of axes side by side."""
        labels = []
        for a in range(self.ndim):
            if a in self.diagonal:
                labels.append(a)
            elif a not in self.trace:
                labels += [a, self.ndim + a]
        return labels

    def finish(self, native: Array) -> Array:
        """The kernel that is returned, from the sums in the native layout."""
        return jnp.einsum(native, self.native_labels(), self.final_labels()) / self.trace_size


def output_axes(
    shape1: tuple[int, ...],
    shape2: tuple[int, ...],
    batch: int | None,
    trace_axes: int | Sequence[int],
    diagonal_axes: int | Sequence[int],
) -> OutputAxes:
    """The checked axes of one output.

    Raises:
      ValueError: an axis is out of range, in both groups, or of another size in f(x2).
    """
    if len(shape1) != len(shape2):
        raise ValueError(
            f"f(x1) and f(x2) must have as many axes, got shapes {shape1} and {shape2}"
        )
    trace = canonical(trace_axes, len(shape1), "trace_axes")
    diagonal = canonical(diagonal_axes, len(shape1), "diagonal_axes")
    if both := set(trace) & set(diagonal):
        raise ValueError(
            f"trace_axes and diagonal_axes must not share axes, both have {sorted(both)}"
        )
    for axis in trace + diagonal:
        if shape1[axis] != shape2[axis]:
            raise ValueError(
                "f(x1) and f(x2) must have the same size along trace_axes and diagonal_axes, got "
                f"shapes {shape1} and {shape2}, axis {axis}"
            )
    return OutputAxes(tuple(shape1), tuple(shape2), batch, trace, diagonal)
