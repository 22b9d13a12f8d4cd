"""Tiles: one shape, at most batch_size, every entry owned once."""

from __future__ import annotations

import numpy as np
import pytest

from theory.batching.cuts import Side, side_of, tiles_of


@pytest.mark.parametrize("n", [1, 2, 7, 9, 10, 64])
@pytest.mark.parametrize("batch_size", [1, 3, 4, 8, 100])
def test_tiles_of_a_side_are_equal_and_own_every_example_once(n, batch_size):
    side = side_of(n, batch_size)
    assert side.size <= batch_size
    assert side.tiles == -(-n // batch_size)  # no more tiles than there must be
    owned = []
    for i in range(side.tiles):
        whole, within = np.arange(n)[side.owned(i)], np.arange(side.size)[side.within(i)]
        assert len(whole) == len(within) > 0
        np.testing.assert_array_equal(side.start(i) + within, whole)
        owned += list(whole)
    assert owned == list(range(n))


@pytest.mark.parametrize(("symmetric", "mirrored"), [(False, False), (True, False), (True, True)])
def test_tiles_cover_the_matrix(symmetric, mirrored):
    rows = columns = Side(10, 4)
    if not symmetric:
        columns = Side(7, 3)
    tiles = tiles_of(rows, columns, symmetric=symmetric, mirrored=mirrored)
    count = np.zeros((rows.n, columns.n), int)
    for tile in tiles:
        assert tile.itself == (symmetric and tile.row == tile.column)
        count[rows.owned(tile.row), columns.owned(tile.column)] += 1
        if mirrored and not tile.itself:
            count[columns.owned(tile.column), rows.owned(tile.row)] += 1
    assert (count == 1).all()
    # tiles of examples with themselves are another program, and come first
    assert [t.itself for t in tiles] == sorted((t.itself for t in tiles), reverse=True)
