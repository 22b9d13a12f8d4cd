"""How much of a blocked schedule's work is wanted: visited over ideal scores, before anything runs.

A schedule cuts the queries into tiles and gives each tile every key tile that meets what its
queries attend. The scores it computes are a product over axes, and so are the scores that the
definition asks for; both are counted exactly, from windows.py. FLOPs are proportional to scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from kernels_pallas.neighborhood_attention import windows
from kernels_pallas.neighborhood_attention.windows import Axis


def ideal(axes: Sequence[Axis]) -> int:
    """Scores that the definition asks for: the sum over queries of the keys each attends."""
    return int(np.prod([_ideal_axis(axis) for axis in axes], dtype=object))


def visited(
    axes: Sequence[Axis], query_tile: Sequence[int], key_tile: Sequence[int], aligned: bool
) -> int:
    """Scores that a schedule computes, padding of partial tiles included.

    Args:
      axes: the neighbourhood.
      query_tile: places of a query tile on each axis.
      key_tile: places of a key tile on each axis.
      aligned: True where key tiles lie on multiples of `key_tile`; False where the first begins
        with the first key that is wanted (an unaligned box).
    """
    counts = [
        _visited_axis(axis, q, k, aligned)
        for axis, q, k in zip(axes, query_tile, key_tile, strict=True)
    ]
    return int(np.prod(counts, dtype=object))


def visited_over_ideal(
    axes: Sequence[Axis], query_tile: Sequence[int], key_tile: Sequence[int], aligned: bool
) -> float:
    """The waste of a schedule, at least 1; see `visited` for the arguments."""
    return visited(axes, query_tile, key_tile, aligned) / ideal(axes)


def box(axis: Axis, tile: int) -> int:
    """The most places that the queries of one tile attend together, over tiles and groups."""
    return max(int((stop - first).max()) for first, stop, _ in _tiles(axis, tile))


def interior(axes: Sequence[Axis], query_tile: Sequence[int], key_tile: Sequence[int]) -> float:
    """The share of the aligned key tiles visited that every query of their tile attends whole."""
    whole = every = 1.0
    for axis, q, k in zip(axes, query_tile, key_tile, strict=True):
        inside = total = 0
        for n in _group_lengths(axis):
            for p in range(0, n, q):
                last = min(p + q, n) - 1
                outer = int(_start(axis, p, n)) // k, -(-int(_end(axis, last, n)) // k)
                first, stop = int(_start(axis, last, n)), int(_end(axis, p, n))
                total += outer[1] - outer[0]
                inside += max(0, stop // k - -(-first // k))
        whole, every = whole * inside, every * total
    return whole / every


def _start(axis: Axis, place, n):
    return windows.start(place, n, axis.window, axis.stride, axis.causal)


def _end(axis: Axis, place, n):
    return windows.end(place, n, axis.window, axis.stride, axis.causal)


def _group_lengths(axis: Axis) -> list[int]:
    return [int(windows.group_length(axis.length, axis.dilation, g)) for g in range(axis.dilation)]


def _tiles(axis: Axis, tile: int):
    """For each group: the first key and one past the last key of every query tile, and n."""
    for n in sorted(set(_group_lengths(axis))):
        first = np.arange(0, n, tile)
        last = np.minimum(first + tile, n) - 1
        yield _start(axis, first, n), _end(axis, last, n), n


@lru_cache(maxsize=4096)
def _ideal_axis(axis: Axis) -> int:
    total = 0
    for n in _group_lengths(axis):
        p = np.arange(n)
        total += int((_end(axis, p, n) - _start(axis, p, n)).sum())
    return total


@lru_cache(maxsize=4096)
def _visited_axis(axis: Axis, query_tile: int, key_tile: int, aligned: bool) -> int:
    by_length = {
        n: query_tile * key_tile * int(_key_tiles(first, stop, key_tile, aligned).sum())
        for first, stop, n in _tiles(axis, query_tile)
    }
    return sum(by_length[n] for n in _group_lengths(axis))


def _key_tiles(first: np.ndarray, stop: np.ndarray, tile: int, aligned: bool) -> np.ndarray:
    return -(-stop // tile) - first // tile if aligned else -(-(stop - first) // tile)


__all__ = ["box", "ideal", "interior", "visited", "visited_over_ideal"]
