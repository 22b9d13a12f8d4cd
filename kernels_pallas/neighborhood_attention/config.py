"""How the XLA path cuts its work: a tile of queries, and tiles in a step, by shape alone.

The time of a step on a CPU is that of its products and exponentials, one unit a score, and that of
slicing its box, LOAD units a key: with K keys in a box and R rows (queries times query heads of a
key head) in a tile,

    cost = tiles * K * (R rounded up to LANES + LOAD)

LOAD is fitted to these times (ms, forward; float32, 4 heads of 32, 2 cores of an AMD EPYC with
AVX-512, JAX 0.10.2; repeated with `benchmarks.neighborhood_attention_plans`):

    2-D 56 x 56, window 7     tile 4x4 6.7, 4x8 6.5, 4x7 7.5, 2x8 8.0, 2x4 17.7
    2-D 56 x 56, window 13    4x4 12.0, 4x8 11.9, 8x8 12.2, 4x16 14.5
    1-D 4096, window 129      16 10.7, 32 7.7, 64 7.4, 128 10.7
    3-D 8 x 28 x 28, 3x7x7    1x4x4 30.1, 2x4x4 33.7, 2x2x4 32.5, 1x2x8 37.5, 1x4x7 40.7, 1x4x8 43.5

Several tiles a step pay for what every operation of a step costs by itself (the first rows with one
tile a step: 9.2 and 57 ms), as long as a step's scores stay near the cache: STEP bytes of them.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import product

from kernels_pallas.neighborhood_attention import tiling, windows
from kernels_pallas.neighborhood_attention.blocked import Plan
from kernels_pallas.neighborhood_attention.windows import Axis

LANES = 16  # float32 in a vector register
LOAD = 21
MOST_ROWS = 64
STEP = 1 << 20
MOST_TILES = 8


def plan(call, space: tuple[int, ...], whole: bool = True) -> Plan:
    """The plan of a call whose arrays hold the queries of `space`.

    Args:
      call: the `Call`.
      space: positions of queries on each axis, at most those of the call.
      whole: the arrays hold the whole problem, so that tiles begin at multiples of their size.
    """
    queries = tuple(tiling.places(n, d) for n, d in zip(space, call.dilation, strict=True))
    group = call.heads // call.kv_heads
    tile, box = _tile(windows.axes_of(call), queries, group, whole)
    tiles = math.prod(-(-n // t) for n, t in zip(queries, tile, strict=True))
    scores = 4 * call.batch * math.prod(call.dilation) * call.heads * box * math.prod(tile)
    return Plan(tile, max(1, min(MOST_TILES, STEP // scores, tiles)))


@lru_cache(maxsize=1024)
def _tile(
    axes: tuple[Axis, ...], queries: tuple[int, ...], group: int, whole: bool
) -> tuple[tuple[int, ...], int]:
    """The cheapest tile and the keys of its box."""
    choices = []
    for axis, n in zip(axes, queries, strict=True):
        sizes = sorted({min(1 << i, n) for i in range(MOST_ROWS.bit_length())})
        choices.append([(t, -(-n // t), tiling.box_size(axis, t, whole)) for t in sizes])
    best = None
    for of_axes in product(*choices):
        tile, counts, boxes = zip(*of_axes, strict=True)
        rows = group * math.prod(tile)
        if rows > max(MOST_ROWS, group):
            continue
        keys = math.prod(boxes)
        cost = math.prod(counts) * keys * (-(-rows // LANES) * LANES + LOAD)
        if best is None or cost < best[0]:
            best = cost, tile, keys
    assert best is not None  # one place on each axis always fits
    return best[1:]


__all__ = ["plan"]
