"""The TPU kernels in interpret mode against NumPy float64: values and every slope."""

from __future__ import annotations

import itertools

import pytest

from kernels_pallas.long_conv import mosaic_tpu
from tests.kernels_pallas.long_conv.kernel_problems import (
    ONE_PROGRAM,
    Problem,
    check_tile,
    every_combination,
)

QUICK = list(ONE_PROGRAM)[:3]


@pytest.mark.parametrize("name", QUICK)
def test_values_and_slopes(name):
    check_tile(mosaic_tpu, *ONE_PROGRAM[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ONE_PROGRAM if name not in QUICK])
def test_more_values_and_slopes(name):
    check_tile(mosaic_tpu, *ONE_PROGRAM[name])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("size", sorted(mosaic_tpu.FACTORS))
def test_every_size(size, dtype):
    for length in (size, size - size // 5):
        problem = Problem(length, size, channels=1, dtype=dtype)
        check_tile(mosaic_tpu, problem, 1, mosaic_tpu.FACTORS[size])


@pytest.mark.slow
@pytest.mark.parametrize("operands", list(itertools.product((False, True), repeat=3)))
@pytest.mark.parametrize("factors", [(32, 32), (64, 64), (16, 16, 16)])
def test_every_combination_of_operands(factors, operands):
    every_combination(mosaic_tpu, factors, *operands)


def test_the_default_tile():
    """Whole transforms within the limits; a sparse spectrum gets a factor that drops rows."""
    for size, factors in mosaic_tpu.FACTORS.items():
        static = Problem(size - 1, size, batch=7, channels=3).static
        for backward, channels in itertools.product((False, True), (3, 3000)):
            tile = mosaic_tpu.default_tile(static._replace(channels=channels), backward)
            assert tile.factors == factors
            assert 1 <= tile.batch_tile <= 7
        sparse = mosaic_tpu.default_tile(static._replace(kept=1, blocks=4)).factors
        assert (size < 1024) or sparse[0] >= 64
