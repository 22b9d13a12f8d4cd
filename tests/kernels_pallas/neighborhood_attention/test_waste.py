"""The waste simulator against counting scores one by one, and against known figures."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from kernels_pallas.neighborhood_attention import waste
from kernels_pallas.neighborhood_attention.windows import Axis
from tests.kernels_pallas.neighborhood_attention.oracle import Window, neighbours, pairs

AXES = [
    Axis(13, 5),
    Axis(24, 4, 1, 4),
    Axis(17, 3, 3, 2),
    Axis(20, 6, 2, 1, causal=True),
    Axis(31, 9, 3, 5, causal=True),
    Axis(16, 16),
]


def in_groups(axis):
    """For each dilation group, each place's list of neighbours as places of the group."""
    for g in range(axis.dilation):
        queries = range(g, axis.length, axis.dilation)
        yield [[j // axis.dilation for j in neighbours(i, *axis)] for i in queries]


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize(("query_tile", "key_tile"), [(4, 4), (3, 5), (8, 2), (1, 1), (64, 64)])
def test_one_axis_by_counting(axis, query_tile, key_tile):
    """Scores of every visited key tile of every query tile, padding included, one tile at a time"""
    aligned = unaligned = ideal = 0
    for lists in in_groups(axis):
        ideal += sum(map(len, lists))
        for p in range(0, len(lists), query_tile):
            wanted = {t for keys in lists[p : p + query_tile] for t in keys}
            first, last = min(wanted), max(wanted)
            tiles = len({t // key_tile for t in range(first, last + 1)})
            boxes = len(range(first, last + 1, key_tile))
            aligned += query_tile * key_tile * tiles
            unaligned += query_tile * key_tile * boxes
    assert waste.ideal([axis]) == ideal
    assert waste.visited([axis], (query_tile,), (key_tile,), aligned=True) == aligned
    assert waste.visited([axis], (query_tile,), (key_tile,), aligned=False) == unaligned
    ratio = waste.visited_over_ideal([axis], (query_tile,), (key_tile,), aligned=True)
    assert ratio == aligned / ideal >= 1


def test_the_ideal_counts_pairs():
    for a, b in product(AXES[:4], AXES[:3]):
        per_axis = zip(a[1:], b[1:], strict=True)
        window = Window(*per_axis)
        assert waste.ideal([a, b]) == len(pairs((a.length, b.length), window).query)


def test_known_figures():
    """Two by two of tiles of 8: 9.88 and 2.86 by aligned tiles; an unaligned box (w+t-1)^2/w^2."""
    for window, expected in ((7, 9.88), (13, 2.86)):
        axes = [Axis(64, window)] * 2
        found = waste.visited_over_ideal(axes, (8, 8), (8, 8), aligned=True)
        assert found == pytest.approx(expected, abs=0.005)
        box = (window + 7) ** 2 / window**2
        assert waste.box(axes[0], 8) == window + 7
        unaligned = waste.visited_over_ideal(axes, (8, 8), (window + 7,) * 2, aligned=False)
        assert unaligned == pytest.approx(box, rel=1e-12)
    large = waste.visited_over_ideal([Axis(256, 80)] * 2, (16, 8), (16, 8), aligned=True)
    assert large == pytest.approx(1.36, abs=0.005)


def test_blocked_attention_wastes_nothing():
    axes = [Axis(32, 8, 1, 8), Axis(24, 4, 1, 4)]
    assert waste.visited_over_ideal(axes, (8, 4), (8, 4), aligned=True) == 1.0
    assert waste.interior(axes, (8, 4), (8, 4)) == 1.0
    assert waste.visited_over_ideal([Axis(16, 16)], (4,), (8,), aligned=True) == 1.0


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize(("query_tile", "key_tile"), [(4, 4), (3, 5), (8, 2)])
def test_interior_tiles_by_counting(axis, query_tile, key_tile):
    """A key tile is interior when every query of the tile attends every place of it."""
    inside = total = 0
    for lists in in_groups(axis):
        for p in range(0, len(lists), query_tile):
            queries = [set(keys) for keys in lists[p : p + query_tile]]
            wanted = set.union(*queries)
            common = set.intersection(*queries)
            for tile in range(min(wanted) // key_tile, max(wanted) // key_tile + 1):
                total += 1
                inside += set(range(tile * key_tile, (tile + 1) * key_tile)) <= common
    assert waste.interior([axis], (query_tile,), (key_tile,)) == pytest.approx(inside / total)


@pytest.mark.parametrize("axis", AXES)
def test_the_box_is_the_widest(axis):
    for tile in (1, 3, 8):
        spans = [
            max(keys[-1] for keys in lists[p : p + tile]) + 1 - lists[p][0]
            for lists in in_groups(axis)
            for p in range(0, len(lists), tile)
        ]
        assert waste.box(axis, tile) == max(spans)


def test_it_is_quick_on_large_shapes():
    """Exact integers, also where a 32-bit count would overflow."""
    axes = [Axis(256, 80)] * 3
    assert waste.ideal(axes) == (256 * 80) ** 3 > np.iinfo(np.int32).max
    assert waste.visited(axes, (8, 8, 8), (8, 8, 8), aligned=True) > waste.ideal(axes)
