"""Tiles of any size give the matrix that one tile gives, in values and in gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.numerics import assert_close
from theory import stax
from theory.stax import plan

rng = np.random.default_rng(0)
VECTORS = rng.normal(size=(7, 3)), rng.normal(size=(5, 3))
IMAGES = rng.normal(size=(5, 4, 2)), rng.normal(size=(3, 4, 2))
FLAT = stax.serial(stax.Dense(4, 1.4, 0.3), stax.Relu(), stax.Dense(1, 1.2))
SPATIAL = stax.serial(stax.Conv(4, (3,), padding="SAME"), stax.Relu(), stax.Conv(4, (2,)))
POOLED = stax.serial(SPATIAL, stax.Relu(), stax.GlobalAvgPool(), stax.Dense(1))
CASES = {"flat": (FLAT, VECTORS), "spatial": (SPATIAL, IMAGES), "pooled": (POOLED, IMAGES)}


def kernels(net, x1, x2, **options):
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, net.kernel_fn(x1, x2, ("nngp", "ntk"), **options))


@pytest.mark.parametrize("tile", [1, (2, 3)])
@pytest.mark.parametrize("same", [False, True], ids=["x2", "itself"])
@pytest.mark.parametrize("case", CASES)
def test_tiles(case, same, tile):
    net, (x1, x2) = CASES[case]
    x2 = None if same else x2
    whole, tiled = kernels(net, x1, x2, tile=100), kernels(net, x1, x2, tile=tile)
    for got, expected in zip(tiled, whole, strict=True):
        assert_close(got, expected, "float64")
        if same:  # symmetric in the pairs (x, p)
            places = [axis for pair in range(2, got.ndim, 2) for axis in (pair + 1, pair)]
            assert_close(got, got.transpose(1, 0, *places), "float64")


@pytest.mark.parametrize("case", ["flat", "pooled"])
def test_x1_against_itself_is_x1_against_a_copy_but_for_the_diagonal(case):
    net, (x1, _) = CASES[case]
    itself, copy = kernels(net, x1, None, tile=2), kernels(net, x1, x1.copy(), tile=2)
    off = ~np.eye(len(x1), dtype=bool)
    for got, expected in zip(itself, copy, strict=True):
        assert_close(got[off], expected[off], "float64")
        np.testing.assert_allclose(got, expected, rtol=1e-7)


def test_the_diagonal_is_the_closed_form():
    x = VECTORS[0]
    k = 1.4**2 * (x**2).mean(1) + 0.3**2
    got = kernels(FLAT, x, None, tile=3)
    np.testing.assert_allclose(got.nngp.diagonal(), 1.2**2 * k / 2, rtol=1e-14)
    np.testing.assert_allclose(got.ntk.diagonal(), 1.2**2 * (k / 2 + k / 2), rtol=1e-14)


def test_gradients_through_tiles():
    with jax.enable_x64(True):
        x = jnp.asarray(VECTORS[0])

        def total(x, tile):
            out = FLAT.kernel_fn(x, None, "ntk", tile=tile)
            return (out * jnp.cos(jnp.arange(49.0).reshape(7, 7))).sum()

        whole, tiled = jax.grad(total)(x, 100), jax.grad(total)(x, 3)
        assert_close(tiled, whole, "float64")


def test_self_passes_in_chunks_keep_cov1():
    with jax.enable_x64(True):
        cov1 = POOLED.kernel_fn(IMAGES[0], None, "cov1", tile=2)
        whole = POOLED.kernel_fn(IMAGES[0], None, "nngp", tile=100)
        assert_close(cov1, np.diagonal(whole), "float64")


def test_the_plan_follows_the_largest_block():
    facts = stax.inputs.facts_of(np.zeros((9, 16, 2)))
    net = POOLED.kernel_fn.rule
    assert plan.peak_entries(net, facts, True) == 256
    sizes = plan.tiles(net, facts, 900, 900, itemsize=8, both=True, out_full=True, symmetric=False,
                       tile=None)  # fmt: skip
    rows, columns = sizes["tile"]
    assert 256 * 16 * rows * columns <= plan.TARGET_BYTES["cpu"]
    flat = stax.serial(stax.Conv(4, (3,)), stax.Flatten()).kernel_fn.rule
    assert plan.peak_entries(flat, facts, True) == 16


@pytest.mark.parametrize("tile", [0, (1, 2, 3), 1.5, (0, 3)])
def test_bad_tiles(tile):
    with pytest.raises((ValueError, TypeError), match="tile"):
        FLAT.kernel_fn(VECTORS[0], None, "nngp", tile=tile)
