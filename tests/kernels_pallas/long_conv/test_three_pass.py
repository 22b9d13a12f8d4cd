"""The three passes in interpret mode against NumPy float64, for both block backends."""

from __future__ import annotations

from functools import partial

import pytest

from kernels_pallas.long_conv import mosaic_tpu, three_pass, triton
from tests.kernels_pallas.long_conv.kernel_problems import Problem, check

BACKENDS = pytest.mark.parametrize("backend", [triton, mosaic_tpu], ids=["triton", "mosaic_tpu"])
CASES = {
    "gates, last tile short": (Problem(1024, 1024, batch=3), 4),
    "ragged": (Problem(1000, 1024, pre=False, skip=False), 4),
    "circular": (Problem(4096, 4096, channels=1, twisted=False, post=False), 16),
    "bfloat16": (Problem(3001, 4096, channels=1, dtype="bfloat16"), 16),
    "float16": (Problem(4096, 4096, channels=1, dtype="float16", pre=False), 16),
    "lanes dropped": (Problem(8192, 8192, 1, kept=1, blocks=2, post=False), 32),
    "zeros in every lane": (Problem(1024, 1024, kept=1, blocks=16, pre=False, post=False), 4),
}


def run(backend, problem: Problem, outer: int | None) -> None:
    how = three_pass.split(backend.PASSES, problem.static, outer)
    check(
        problem,
        (how.outer, *how.inner.factors),
        partial(three_pass.convolve, backend.PASSES),
        partial(three_pass.adjoint, backend.PASSES),
        outer=outer,
    )


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("gates, last tile short", triton),
        ("gates, last tile short", mosaic_tpu),
        ("bfloat16", triton),
        ("lanes dropped", mosaic_tpu),
        ("zeros in every lane", triton),
    ],
)
def test_values_and_slopes(name, backend):
    run(backend, *CASES[name])


@pytest.mark.slow
@BACKENDS
@pytest.mark.parametrize("name", ["ragged", "circular", "bfloat16", "float16", "lanes dropped"])
def test_more_values_and_slopes(name, backend):
    run(backend, *CASES[name])


def test_lanes_are_dropped_not_multiplied():
    problem = Problem(8192, 8192, kept=1, blocks=2)
    assert three_pass.split(triton.PASSES, problem.static, 32).lanes.rows == 16
    dense = Problem(8192, 8192)
    assert three_pass.split(triton.PASSES, dense.static, 32).lanes.rows == 32


@pytest.mark.parametrize(
    ("size", "outer", "inner"),
    [(1 << 16, 16, 4096), (1 << 20, 128, 8192), (1 << 21, 128, 16384), (1 << 22, 128, 32768)],
)
def test_sizes_are_split(size, outer, inner):
    how = three_pass.split(triton.PASSES, Problem(size, size).static)
    assert (how.outer, how.chunk) == (outer, inner)


@BACKENDS
@pytest.mark.parametrize("outer", [3, 64])
def test_bad_outer(outer, backend):
    with pytest.raises(ValueError, match=f"outer is {outer} for a transform of 1024 points"):
        three_pass.split(backend.PASSES, Problem(1024, 1024).static, outer)


@pytest.mark.slow
@BACKENDS
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("length", [16384, 50000, 65536, 131072])
def test_the_default_split(length, dtype, backend):
    size = 1 << (length - 1).bit_length()
    run(backend, Problem(length, size, channels=1, dtype=dtype), None)


@pytest.mark.slow
@BACKENDS
@pytest.mark.parametrize("gates", [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)])
def test_every_combination_of_operands(gates, backend):
    skip, pre, post = map(bool, gates)
    for twisted, kept, blocks in ((True, 1, 1), (False, 1, 1), (True, 1, 2)):
        problem = Problem(
            8192, 8192, 2, 1, twisted, kept=kept, blocks=blocks, skip=skip, pre=pre, post=post
        )
        run(backend, problem, 32)
