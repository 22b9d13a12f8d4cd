"""Kernel pairs against the NumPy oracle: values, log-sum-exps and slopes, in interpret mode."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kernels_pallas.neighborhood_attention.api import Call
from kernels_pallas.neighborhood_attention.kernel import Static, static_of
from tests.kernels_pallas.neighborhood_attention import problems
from tests.kernels_pallas.neighborhood_attention.problems import Problem
from tests.numerics import assert_accurate, assert_conditioned, assert_rounded, relative_l2

# Windows of several tiles, so that some walked tiles are interior, with every option somewhere.
SEVERAL_TILES = {
    "1d, stride": Problem(1, (100,), 1, 1, window=(60,), stride=(7,)),
    "1d, mask, grouped heads": Problem(1, (50,), 2, 1, window=(30,), stride=(7,), mask=True),
    "2d, causal, uneven groups": Problem(
        1, (33, 41), 1, 1, 3, 5, (17, 14), (1, 2), (3, 1), (True, False)
    ),
    "3d, mask, grouped heads": Problem(
        1, (9, 10, 24), 2, 1, 4, 4, (7, 9, 20), (1, 1, 1), (2, 4, 3), (False, False, True),
        mask=True,
    ),
}  # fmt: skip
SMALL = {
    "1d, grouped heads, groups of two lengths, causal": Problem(
        2, (13,), 4, 2, 5, 3, (4,), (3,), (3,), (True,)
    ),
    "2d, mask, scale 0": Problem(
        2, (13, 9), 2, 2, 4, 4, (3, 4), (3, 1), (2, 3), (False, True), scale=0.0, mask=True
    ),
    "3d, bfloat16": Problem(
        1, (5, 6, 7), 2, 2, 20, 20, (3, 3, 4), (1, 2, 1), (2, 3, 1), (False, True, False),
        dtype="bfloat16",
    ),
    "2d, float16, negative scale": Problem(
        1, (9, 9), 2, 1, 16, 24, (5, 4), (1, 2), (1, 1), (False, False), -1.3, dtype="float16"
    ),
}  # fmt: skip


def call_of(problem: Problem) -> Call:
    """The public call's record."""
    return Call(
        *problem[:6],
        *problem.neighbourhood,
        problem.score_scale,
        problem.dtype,
        problem.additional,
        problem.mask,
        problem.bias,
    )


def static(problem: Problem) -> Static:
    """Kernel form, interpreted."""
    return static_of(call_of(problem), interpret=True)


def random_kernel_problem(rng: np.random.Generator) -> Problem:
    """A random problem of those that a pair takes: no bias, no additional keys, no float64.

    The 16-bit rule compares two runs whose rounding errors are independent, so it asks for enough
    numbers to average over: heads of 16 and more, and two batch entries.
    """
    made = problems.random_problem(rng)._replace(bias=False, additional=0)
    if made.dtype in ("float32", "float64"):
        return made._replace(dtype="float32")
    return made._replace(batch=2, head_dim=made.head_dim + 16, value_dim=made.value_dim + 16)


def check(backend, problem: Problem, **options: Any) -> dict[str, float]:
    """Assert that a backend's pair meets the rules of tests/numerics.py; relative L2 errors."""
    dtype = problem.dtype
    arrays = problems.cast(problems.operands(problem), dtype)
    do, dlse = problems.cotangents(problem)
    do, dlse = jnp.asarray(do, dtype), jnp.asarray(dlse, jnp.float32)

    @jax.jit
    def both(arrays, do, dlse):
        q, k, v, mask = (arrays.get(name) for name in ("q", "k", "v", "mask"))
        o, lse = backend.attend(static(problem), q, k, v, mask, **options)
        delta = (do.astype(jnp.float32) * o.astype(jnp.float32)).sum(-1) - dlse
        slopes = backend.adjoint(static(problem), q, k, v, mask, lse, delta, do, **options)
        return {"o": o, "lse": lse, **dict(zip("qkv", slopes, strict=True))}

    made = both(arrays, do, dlse)
    wide = {name: np.asarray(a, bool if name == "mask" else float) for name, a in arrays.items()}
    given = np.asarray(do, float), np.asarray(dlse, float)
    exact = problems.expected(problem, wide, given)
    expected = {"o": exact.out, **{name: exact.gradients[name] for name in "qkv"}}
    some = np.isfinite(exact.lse)
    assert made["lse"].dtype == jnp.float32
    np.testing.assert_array_equal(np.asarray(made["lse"])[~some], -np.inf)
    lse = np.asarray(made["lse"])[some]
    # Rounding of a sum of window terms is relative to the largest score, and not to its logarithm.
    assert_conditioned(lse, exact.lse[some], np.maximum(np.abs(exact.lse[some]), 1), "float32")
    if dtype == "float32":
        assert_accurate(made["o"], expected["o"])
        for name in "qkv":
            assert_conditioned(made[name], expected[name], exact.sizes[name], dtype)
    else:
        cast = partial(_cast, dtype=dtype)
        # delta's operand o is rounded as well: a shift of dlse, of which delta has the negative.
        o = problems.expected(problem, wide, given, rounded=cast).out
        shifted = given[0], given[1] - (given[0] * (cast(o) - o)).sum(-1)
        rounded = problems.expected(problem, wide, shifted, rounded=cast)
        allowed = {"o": rounded.out, **rounded.gradients}
        for name, value in expected.items():
            assert made[name].dtype == jnp.dtype(dtype)
            assert_rounded(made[name], value, cast(allowed[name]), dtype)
    return {name: relative_l2(made[name], value) for name, value in expected.items()}


def _cast(a: np.ndarray, dtype: str) -> np.ndarray:
    return a.astype(jnp.dtype(dtype)).astype(float)
