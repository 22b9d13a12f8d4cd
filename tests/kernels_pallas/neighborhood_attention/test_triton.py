"""The Triton kernels in interpret mode against NumPy float64: values and every slope."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest

from kernels_pallas.neighborhood_attention import triton
from kernels_pallas.neighborhood_attention.triton import Plan
from tests.kernels_pallas.neighborhood_attention import kernel_problems
from tests.kernels_pallas.neighborhood_attention.kernel_problems import SEVERAL_TILES, SMALL
from tests.kernels_pallas.neighborhood_attention.problems import Problem

PLANS = {1: Plan((16,), (16,)), 2: Plan((8, 4), (4, 4)), 3: Plan((4, 2, 4), (2, 2, 4))}
QUICK = ("1d, mask, grouped heads", "2d, causal, uneven groups")
BLOCKED = Problem(1, (30, 22), 1, 1, 8, 8, (8, 8), (1, 1), (8, 4), (False, True))


def several_tiles(name: str) -> None:
    problem = SEVERAL_TILES[name]
    kernel_problems.check(triton, problem, plan=PLANS[len(problem.space)])


@pytest.mark.parametrize("name", QUICK)
def test_several_tiles(name):
    several_tiles(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SEVERAL_TILES if name not in QUICK])
def test_more_of_several_tiles(name):
    several_tiles(name)


def test_16_bit_by_the_default_plan():
    name = "1d, grouped heads, groups of two lengths, causal"
    kernel_problems.check(triton, SMALL[name]._replace(dtype="bfloat16"))


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_small(name):
    kernel_problems.check(triton, SMALL[name])


@pytest.mark.slow
@pytest.mark.parametrize(
    "plan", [Plan((8, 4), (8, 4)), Plan((4, 8), (1, 16)), Plan((32, 1), (4, 8))]
)
def test_blocked(plan):
    """Strides as wide as tiles, and not."""
    kernel_problems.check(triton, BLOCKED, plan=plan)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(24))
def test_random(seed):
    kernel_problems.check(
        triton, kernel_problems.random_kernel_problem(np.random.default_rng(seed))
    )


def test_the_default_plan():
    """Its tiles hold whole powers of two, and follow the stride where that wastes least."""
    static = kernel_problems.static(
        Problem(1, (256, 256), 1, 1, 64, 64, (64, 64), (1, 1), (16, 8), (False, False))
    )
    for backward in (False, True):
        for dtype in ("bfloat16", "float32"):
            plan = triton.default_plan(static._replace(dtype=dtype), backward)
            assert prod(plan.held) in (64, 128)
            assert prod(plan.walked) in (32, 64)
            assert plan.held[0] <= 16
            assert plan.held[1] <= 8  # so that all queries of a tile share one window


@pytest.mark.parametrize("tile", [(16, 3), (2, 4), (16,)])
def test_bad_plans(tile):
    problem = SMALL["2d, mask, scale 0"]
    with pytest.raises(ValueError, match=r"plan\.walked is .*; accepted: 2 powers of two"):
        kernel_problems.check(triton, problem, plan=Plan((16, 1), tile))
