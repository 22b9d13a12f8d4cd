"""What a held tile needs, against windows.py asked row by row; interior tiles; the choice of tiles.

Random axes, groups and tiles; what the kernels compute per tile is compared with the union and the
intersection of what each row needs.
"""

from __future__ import annotations

from itertools import product
from math import prod

import jax.numpy as jnp
import numpy as np
import pytest

from kernels_pallas.neighborhood_attention import walk, waste, windows
from kernels_pallas.neighborhood_attention.windows import Axis


def random_axis(rng: np.random.Generator) -> Axis:
    dilation = int(rng.integers(1, 4))
    window = int(rng.integers(2, 9))
    length = window * dilation + int(rng.integers(0, 30))
    stride = int(rng.integers(1, window + 1))
    return Axis(length, window, dilation, stride, bool(rng.integers(2)))


def needed_by(axis: Axis, inverse: bool, place: int, n: int) -> set[int]:
    """By asking every query which keys it attends."""
    facts = n, axis.window, axis.stride, axis.causal

    def attends(query: int, key: int) -> bool:
        return bool(windows.start(query, *facts) <= key < windows.end(query, *facts))

    pairs = ((place, other) if not inverse else (other, place) for other in range(n))
    return {other for other, pair in enumerate(pairs) if attends(*pair)}


@pytest.mark.parametrize("inverse", [False, True])
def test_boxes_and_common_parts(inverse):
    rng = np.random.default_rng(int(inverse))
    interiors = 0
    for _ in range(12):
        axis, extent, step = random_axis(rng), 1 << int(rng.integers(0, 4)), 4
        group = int(rng.integers(axis.dilation))
        n = int(windows.group_length(axis.length, axis.dilation, group))
        origin = int(rng.integers(-(-n // extent))) * extent
        flat = jnp.arange(extent, dtype=jnp.int32)
        held = walk.hold([axis], inverse, [jnp.int32(group)], [jnp.int32(origin)], [extent], flat)
        rows = [needed_by(axis, inverse, p, n) for p in range(origin, min(origin + extent, n))]
        assert np.asarray(held.real).tolist() == [origin + r < n for r in range(extent)]
        (lo, hi), (common_lo, common_hi) = held.box[0], held.common[0]
        assert set(range(int(lo), int(hi))) == set.union(*rows)
        common = set.intersection(*rows)
        assert set(range(int(common_lo), int(common_hi))) == common
        for first in range(int(lo), int(hi), step):
            places = jnp.arange(first, first + step, dtype=jnp.int32)
            allowed = walk.needed(held, [places[None, :]], lambda a: a[:, None])
            expected = [[p in row for p in range(first, first + step)] for row in rows]
            np.testing.assert_array_equal(np.asarray(allowed)[: len(rows)], expected)
            inside = bool(walk.interior(held, [jnp.int32(first)], [step]))
            assert inside == set(range(first, first + step)).issubset(common)
            interiors += inside
    assert interiors > 2


def test_places_and_unravel():
    tile, origin = (2, 4, 8), (5, 0, 3)
    places = walk.places(jnp.arange(64, dtype=jnp.int32), tile, origin)
    expected = np.array(
        list(product(*(range(o, o + t) for t, o in zip(tile, origin, strict=True))))
    )
    np.testing.assert_array_equal(np.stack(places, 1), expected)
    index = [tuple(map(int, walk.unravel(jnp.int32(i), (3, 5)))) for i in range(15)]
    assert index == list(product(range(3), range(5)))


def test_shapes():
    axes = (Axis(100, 9), Axis(3, 2), Axis(40, 5, dilation=4))
    made = walk.shapes(axes, 64)
    assert set(map(prod, made)) == {64}
    assert max(shape[1] for shape in made) == 4
    assert max(shape[2] for shape in made) == 16
    assert min(shape[2] for shape in walk.shapes(axes, 64, granule=8)) == 8
    assert walk.shapes((Axis(5, 2),), 64) == [(64,)]  # more rows than there are places


def test_best_has_the_least_waste():
    axes = (Axis(56, 13, stride=4), Axis(56, 7))
    aligned = (False, True)

    def visited(held, walked):
        return prod(
            waste.visited([axis], [q], [k], whole)
            for axis, q, k, whole in zip(axes, held, walked, aligned, strict=True)
        )

    best = visited(*walk.best(axes, 64, 32, aligned))
    assert best == min(
        visited(*pair) for pair in product(walk.shapes(axes, 64), walk.shapes(axes, 32))
    )


def test_bad_tiles():
    for tile in [(3, 16), (0, 16), (2, 4), (16,)]:
        with pytest.raises(ValueError, match=r"tile is .*; accepted: 2 powers of two"):
            walk.check_tile("tile", tile, 2)
