"""Sums over windows of covariances, one spatial axis after another.

A convolution shares its weights between places, and weights of different taps are independent, so
a pair of outputs sums over the taps that both read: out[p, q] = sum_t in[p s + t, q s + t]. Pooling
sums over all: out[p, q] = sum_t sum_t' in[p s + t, q s + t']. Both are products of one sum for each
spatial axis. All sums are of shifted slices of leading axes, whose inner loops are contiguous.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jax import Array, lax

from theory.stax.block import Block
from theory.stax.padding import Window, padded, tap

MOST_SLICES = 8  # up to here, a window's taps are added one by one
MOST_GROWTH = 3.0  # up to here, all axes are padded at once


def axes_of(block: Block, axis: int) -> tuple[int, ...]:
    """Of the block's values, those that are spatial axis `axis`: (p, q), or (p,) where diagonal."""
    return (axis,) if block.diagonal else (2 * axis, 2 * axis + 1)


def scaled(block: Block, factor: float | Array | np.ndarray) -> Block:
    """The block times a factor."""
    return block.linear(lambda value: value * factor)


def shared_means(block: Block, windows: Sequence[Window]) -> Block:
    """Means over the taps that both places of a pair read: convolutions."""
    steps = [(axes_of(block, axis), window) for axis, window in enumerate(windows)]
    return scaled(_swept(block, steps), 1 / math.prod(window.taps for window in windows))


def window_sums(block: Block, windows: Sequence[Window]) -> Block:
    """Sums over all pairs of places of two windows: pooling. The block must be full."""
    return _swept(
        block,
        [((at,), window) for axis, window in enumerate(windows) for at in axes_of(block, axis)],
    )


def total(block: Block) -> Block:
    """The sum over all places held, which leaves no spatial axis."""
    axes = (0,) if block.diagonal else (0, 1)
    for _ in range(block.rank):  # axis by axis: up to 3 times faster on a CPU than all at once
        block = block.materialised().linear(lambda value: value.sum(axes))
    return replace(block, rank=0)


def _swept(block: Block, steps: Sequence[tuple[tuple[int, ...], Window]]) -> Block:
    """Sums over taps, step after step, each along axes that move together.

    Every step reads what it sums several times, so each is materialised. One padding of all axes is
    the fastest, unless it makes the block much larger, as where axes are short.
    """
    per_axis = {axis: window for axes, window in steps for axis in axes}
    shape = block.values[0].shape
    growth = math.prod(
        (window.low + window.high) / shape[axis] + window.dilation
        for axis, window in per_axis.items()
    )
    at_once = growth <= MOST_GROWTH
    if at_once:
        block = block.materialised().linear(lambda value: padded(value, per_axis))
    for axes, window in steps:
        block = block.materialised()
        if not at_once:
            own = dict.fromkeys(axes, window)
            block = block.linear(lambda value, own=own: padded(value, own)).materialised()
        block = block.linear(lambda value, a=axes, w=window: _sum_along(value, a, w))
    return block


def _sum_along(value: Array, axes: Sequence[int], window: Window) -> Array:
    """Sum over the taps of a window that moves along all of `axes` at once."""
    if window.taps <= MOST_SLICES:
        return sum(
            (tap(value, t, axes, window) for t in range(1, window.taps)),
            tap(value, 0, axes, window),
        )
    # sums over 1, 2, 4, .. taps from one another; those of the binary digits of `taps` are added
    result, start, length = None, 0, 1
    while length <= window.taps:
        if window.taps & length:
            part = tap(value, start, axes, window)
            result = part if result is None else result + part
            start += length
        if 2 * length <= window.taps:
            value = lax.optimization_barrier(_shifted_sum(value, axes, length))
        length *= 2
    assert result is not None
    return result


def _shifted_sum(value: Array, axes: Sequence[int], shift: int) -> Array:
    """value[i] + value[i + shift] along all of `axes` at once."""
    low, high = [0] * value.ndim, [0] * value.ndim
    for axis in axes:
        low[axis], high[axis] = shift, value.shape[axis] - shift
    size = [h or n for h, n in zip(high, value.shape, strict=True)]
    return lax.slice(value, [0] * value.ndim, size) + lax.slice(value, low, value.shape)


def need_pairs(name: str, block: Block) -> None:
    """That a block holds all pairs of places, as pooling reads.

    Raises:
      ValueError: it holds equal places alone.
    """
    if block.diagonal and block.rank:
        raise ValueError(
            f"{name} needs covariances of all pairs of places, got a Kernel of equal places alone "
            "(diagonal_spatial=True)"
        )


def places_read(space: Sequence[int], windows: Sequence[Window]) -> tuple[np.ndarray, ...]:
    """For each axis, how many places of the axis itself (not of padding) each output reads."""
    counts = []
    for size, window in zip(space, windows, strict=True):
        read = np.arange(window.size)[:, None] * window.stride + np.arange(window.taps) - window.low
        counts.append(((read >= 0) & (read < size)).sum(1))
    return tuple(counts)
