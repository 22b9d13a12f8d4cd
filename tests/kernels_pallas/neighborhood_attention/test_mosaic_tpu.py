"""The TPU kernels in interpret mode against NumPy float64: values and every slope."""

from __future__ import annotations

from math import prod

import jax.numpy as jnp
import numpy as np
import pytest

from kernels_pallas.neighborhood_attention import mosaic_tpu
from kernels_pallas.neighborhood_attention import mosaic_tpu_blocks as blocks
from kernels_pallas.neighborhood_attention import mosaic_tpu_plan as plans
from kernels_pallas.neighborhood_attention.mosaic_tpu_plan import Plan
from tests.kernels_pallas.neighborhood_attention import kernel_problems
from tests.kernels_pallas.neighborhood_attention.kernel_problems import SEVERAL_TILES, SMALL
from tests.kernels_pallas.neighborhood_attention.problems import Problem

PLANS = {1: Plan((16,), (16,)), 2: Plan((2, 16), (2, 16)), 3: Plan((2, 2, 16), (1, 2, 16))}


def several_tiles(name: str) -> None:
    problem = SEVERAL_TILES[name]
    kernel_problems.check(mosaic_tpu, problem, plan=PLANS[len(problem.space)])


def test_several_tiles():
    several_tiles("2d, causal, uneven groups")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SEVERAL_TILES if name[0] != "2"])
def test_more_of_several_tiles(name):
    several_tiles(name)


def test_16_bit_uneven_groups_and_a_mask_by_the_default_plan():
    problem = SMALL["1d, grouped heads, groups of two lengths, causal"]
    kernel_problems.check(mosaic_tpu, problem._replace(dtype="bfloat16", mask=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_small(name):
    kernel_problems.check(mosaic_tpu, SMALL[name])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(24))
def test_random(seed):
    problem = kernel_problems.random_kernel_problem(np.random.default_rng(seed))
    kernel_problems.check(mosaic_tpu, problem)


def test_column():
    """The numbers of a walked tile in the order of its rows."""
    box = jnp.arange(3 * 2 * 16, dtype=jnp.float32).reshape(3, 2, 1, 16).at[0, 0, 0, 3].set(jnp.inf)
    np.testing.assert_array_equal(blocks.column(box)[:, 0], box.ravel())


def test_the_default_plan_and_its_tables():
    """A window of 80 in an image of 256: 256 rows a tile, and tables of a few integers."""
    problem = Problem(1, (256, 256), 1, 1, 128, 128, (80, 80), (1, 1), (1, 1), (False, False))
    static = kernel_problems.static(problem)
    plan = plans.default_plan(static)
    assert prod(plan.held) == prod(plan.walked) == 256
    # Half a window more of queries attend the keys at an edge, whose windows are clipped.
    for inverse, width in ((False, 80), (True, 120)):
        geo = plans.geometry(static, plan, inverse)
        assert plans.table(geo).size == plans.table_size(static, plan) < 256
        boxes = [-(-(width + extent - 1) // step) + 1 for extent, step in zip(*plan, strict=True)]
        assert geo.steps <= prod(boxes)


@pytest.mark.parametrize("tile", [(16,), (3, 16), (32, 8)])
def test_bad_plans(tile):
    static = kernel_problems.static(SMALL["2d, mask, scale 0"])
    with pytest.raises(ValueError, match=r"plan\.held is .*; accepted: "):
        plans.geometry(static, Plan(tile, (1, 16)), False)
