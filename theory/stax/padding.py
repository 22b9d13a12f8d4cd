"""How a window moves along one spatial axis: taps, stride, padding, and the size that is left."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax


class Padding(enum.Enum):
    """What lies beyond the edges: nothing is read there, zeros, or the other end of the axis."""

    VALID = "VALID"
    SAME = "SAME"
    CIRCULAR = "CIRCULAR"


class Window(NamedTuple):
    """A window on one axis: output o reads places o * stride + t, t < taps, of the padded axis.

    Attributes:
      taps: places read.
      stride: places moved from one output to the next.
      low, high: places added before and after.
      dilation: the axis is first spread out, with dilation - 1 zeros after each of its places.
      wrap: whether the places added repeat the axis; else they are zeros.
      size: outputs.
    """

    taps: int
    stride: int
    low: int
    high: int
    dilation: int
    wrap: bool
    size: int


def as_padding(padding: str | Padding) -> Padding:
    """A Padding, from its name too.

    Raises:
      ValueError: there is none of that name.
    """
    try:
        return padding if isinstance(padding, Padding) else Padding(str(padding).upper())
    except ValueError:
        names = tuple(member.name for member in Padding)
        raise ValueError(f"padding must be one of {names}, got {padding!r}") from None


def as_sizes(sizes: Sequence[int] | None, name: str, rank: int | None = None) -> tuple[int, ...]:
    """A tuple of positive ints, one for each spatial axis; None means ones.

    Raises:
      ValueError: other values, or not `rank` of them.
    """
    if sizes is None and rank is not None:
        return (1,) * rank
    try:
        out = tuple(int(size) for size in sizes)  # type: ignore[union-attr]
        fine = all(a == b and a >= 1 for a, b in zip(out, sizes, strict=True))  # type: ignore
    except TypeError:
        raise ValueError(f"{name} must be a sequence of positive ints, got {sizes!r}") from None
    if not fine:
        raise ValueError(f"{name} must be positive ints, got {sizes!r}")
    if rank is not None and len(out) != rank:
        raise ValueError(f"{name} must have one entry for each of {rank} spatial axes, got {out}")
    return out


def reading(size: int, taps: int, stride: int, padding: Padding) -> Window:
    """The window of a convolution or of pooling; `size` 0 or less outputs where it does not fit."""
    if padding is Padding.VALID:
        return Window(taps, stride, 0, 0, 1, False, (size - taps) // stride + 1)
    out = -(-size // stride)
    total = max((out - 1) * stride + taps - size, 0)
    low = total // 2
    return Window(taps, stride, low, total - low, 1, padding is Padding.CIRCULAR, out)


def spreading(size: int, taps: int, stride: int, padding: Padding) -> Window:
    """The window of a transposed convolution: input i feeds the outputs around i * stride.

    In terms of reading: the axis is spread out by `stride`, then read with stride 1.
    """
    if padding is Padding.VALID:
        out = size * stride + max(taps - stride, 0)
        low = taps - 1
    else:
        out = size * stride
        excess = max(taps - stride, 0)
        if padding is Padding.CIRCULAR:
            low = taps - 1 - excess // 2
        else:
            low = taps - 1 if stride > taps - 1 else -(-(taps + stride - 2) // 2)
    high = out + taps - 1 - low - size * stride  # beyond the zeros after the last place
    return Window(taps, 1, low, high, stride, padding is Padding.CIRCULAR, out)


def windows_of(
    make,
    name: str,
    space: Sequence[int],
    taps: Sequence[int],
    strides: Sequence[int],
    padding: Padding,
) -> tuple[Window, ...]:
    """One window for each spatial axis; `make` is `reading` or `spreading`.

    Raises:
      ValueError: the inputs have another number of spatial axes, or nothing would be left of one.
    """
    if len(space) != len(taps):
        raise ValueError(
            f"{name} needs inputs with {len(taps)} spatial axes, got {len(space)}: {tuple(space)}"
        )
    windows = tuple(make(*sizes, padding) for sizes in zip(space, taps, strides, strict=True))
    if any(window.size < 1 for window in windows):
        raise ValueError(
            f"{name}: a window of {tuple(taps)} does not fit in places {tuple(space)} with padding "
            f"{padding.name}"
        )
    return windows


def padded(value: Array, windows: Mapping[int, Window]) -> Array:
    """Axes spread out and padded, as their windows read them; {axis: window}."""
    config = [(0, 0, 0)] * value.ndim
    for axis, window in windows.items():
        spread = window.dilation - 1
        low, high = (0, 0) if window.wrap else (window.low, window.high)
        config[axis] = (low, high + spread, spread)
    if any(map(any, config)):
        value = lax.pad(value, jnp.zeros((), value.dtype), config)
    for axis, window in windows.items():
        if window.wrap and (window.low or window.high):
            value = _wrapped(value, axis, window.low, window.high)
    return value


def _wrapped(value: Array, axis: int, low: int, high: int) -> Array:
    size = value.shape[axis]
    if max(low, high) > size:  # more than once around
        return jnp.take(value, np.arange(-low, size + high) % size, axis=axis)
    start = lax.slice_in_dim(value, size - low, size, axis=axis)
    end = lax.slice_in_dim(value, 0, high, axis=axis)
    return lax.concatenate([start, value, end], axis)


def tap(value: Array, t: int, axes: Sequence[int], window: Window) -> Array:
    """What tap t reads of a padded array, along `axes` at once."""
    start, limit, step = [0] * value.ndim, list(value.shape), [1] * value.ndim
    for axis in axes:
        start[axis], step[axis] = t, window.stride
        limit[axis] = t + (window.size - 1) * window.stride + 1
    return lax.slice(value, start, limit, step)


def center_mask(mask: Array, windows: Sequence[Window]) -> Array:
    """(batch, *space) mask of outputs: an output is masked where the middle of its window is."""
    at = []
    for window in windows:
        start = (window.taps - 1) // 2 - window.low
        at.append(slice(start, start + (window.size - 1) * window.stride + 1, window.stride))
    return mask[(slice(None), *at)]
