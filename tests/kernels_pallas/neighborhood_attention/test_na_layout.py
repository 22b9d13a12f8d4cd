"""Dilation groups to the batch and tiles contiguous: each element where it should be, and back."""

from __future__ import annotations

from itertools import product
from math import prod

import jax.numpy as jnp
import numpy as np
import pytest

from kernels_pallas.neighborhood_attention import layout

CASES = [((13,), (3,), (2,)), ((5, 7), (2, 3), (2, 1)), ((4, 5, 6), (1, 2, 3), (4, 2, 2))]


@pytest.mark.parametrize(("space", "dilation", "tile"), CASES)
def test_every_element(space, dilation, tile):
    x = np.arange(2 * prod(space) * 3 * 2).reshape(2, *space, 3, 2) + 1
    tiled = np.array(layout.to_tiles(jnp.asarray(x), dilation, tile))
    grouped = np.array(layout.to_groups(jnp.asarray(x), dilation))
    counts = [layout.padded(n, d, t) // t for n, d, t in zip(space, dilation, tile, strict=True)]
    for batch, *i in product(range(2), *map(range, space)):
        group = np.ravel_multi_index([a % d for a, d in zip(i, dilation, strict=True)], dilation)
        place = [a // d for a, d in zip(i, dilation, strict=True)]
        row = np.ravel_multi_index([p % t for p, t in zip(place, tile, strict=True)], tile)
        of = np.ravel_multi_index([p // t for p, t in zip(place, tile, strict=True)], counts)
        first = batch * prod(dilation) + group
        np.testing.assert_array_equal(tiled[first, :, of, row], x[batch, *i])
        np.testing.assert_array_equal(grouped[(first, slice(None), *place)], x[batch, *i])
        tiled[first, :, of, row] = grouped[(first, slice(None), *place)] = 0
    assert not tiled.any()  # all else is padding
    assert not grouped.any()


@pytest.mark.parametrize(("space", "dilation", "tile"), CASES)
def test_and_back(space, dilation, tile):
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, *space, 3, 4)))
    there = layout.to_tiles(x, dilation, tile)
    np.testing.assert_array_equal(layout.from_tiles(there, space, dilation, tile), x)
    places = [layout.padded(n, d, 1) + 2 for n, d in zip(space, dilation, strict=True)]
    there = layout.to_groups(x, dilation, places)
    assert there.shape == (2 * prod(dilation), 3, *places, 4)
    np.testing.assert_array_equal(layout.from_groups(there, space, dilation), x)


def test_a_mask_is_padded_with_false():
    mask = layout.to_groups(jnp.ones((1, 5, 1, 1), bool), (2,))
    np.testing.assert_array_equal(mask[..., 0], [[[True, True, True]], [[True, True, False]]])
