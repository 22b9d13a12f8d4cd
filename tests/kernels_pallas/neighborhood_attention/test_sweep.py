"""A seeded sweep over every option: values, log-sum-exps and every gradient, against the oracle."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from tests.kernels_pallas.neighborhood_attention.problems import DRAWS, check, random_problem

PROBLEMS, BLOCKS = 680, 20  # each a program to compile, run on three draws of values: 2040 cases


def block_of_problems(block: int):
    """This block's problems."""
    rng = np.random.default_rng([40, block])
    return [random_problem(rng) for _ in range(PROBLEMS // BLOCKS)]


@pytest.mark.slow
@pytest.mark.parametrize("block", range(BLOCKS))
def test_sweep(block):
    failed = []
    for i, problem in enumerate(block_of_problems(block)):
        for draw in DRAWS:
            try:
                check(problem, seed=block * PROBLEMS + i, draw=draw)
            except AssertionError as error:
                failed.append(f"{problem} {draw}: {error}")
    jax.clear_caches()
    assert not failed, f"{len(failed)} cases failed:\n" + "\n".join(failed)


def test_a_few():
    rng = np.random.default_rng(41)
    for rank, dtype in ((1, "float64"), (2, "float32"), (3, "bfloat16")):
        problem = random_problem(rng, rank)._replace(dtype=dtype)
        for draw in DRAWS:
            check(problem, seed=rank, draw=draw)


def test_the_sweep_reaches_every_option():
    """Of the problems that it draws, a good share has each option and each awkward length."""
    problems = [p for block in range(BLOCKS) for p in block_of_problems(block)]
    axes = [
        axis
        for p in problems
        for axis in zip(p.space, p.window, p.dilation, p.stride, p.causal, strict=True)
    ]
    assert len(set(problems)) * len(DRAWS) >= 2000
    shares = {
        "mask": [p.mask for p in problems],
        "bias": [p.bias for p in problems],
        "additional": [p.additional > 0 for p in problems],
        "grouped heads": [p.heads > p.kv_heads > 1 for p in problems],
        "one kv head": [p.heads > p.kv_heads == 1 for p in problems],
        "value size": [p.value_dim != p.head_dim for p in problems],
        "scale 0": [p.scale == 0.0 for p in problems],
        "unequal groups": [L % d > 0 for L, _, d, _, _ in axes],
        "stride does not divide": [(L // d) % s > 0 for L, _, d, s, _ in axes],
        "even window": [w % 2 == 0 for _, w, _, _, _ in axes],
        "whole window": [w * d == L for L, w, d, _, _ in axes],
        "blocked": [s == w for _, w, _, s, _ in axes],
        "causal": [c for *_, c in axes],
        "causal and strided": [c and s > 1 for _, _, _, s, c in axes],
        **{f"rank {r}": [len(p.space) == r for p in problems] for r in (1, 2, 3)},
        **{d: [p.dtype == d for p in problems] for d in ("float32", "float64", "bfloat16")},
        "float16": [p.dtype == "float16" for p in problems],
    }
    assert min(np.mean(found) for found in shares.values()) > 0.05, {
        name: float(np.mean(found)) for name, found in shares.items()
    }
