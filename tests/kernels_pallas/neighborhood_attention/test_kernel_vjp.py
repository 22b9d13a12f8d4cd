"""The kernels behind the public call's operands: additional keys, derivatives, vmap, refusals."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels_pallas.neighborhood_attention import kernel, mosaic_tpu, triton, vjp, xla
from kernels_pallas.neighborhood_attention.api import Call
from tests.kernels_pallas.neighborhood_attention import problems
from tests.kernels_pallas.neighborhood_attention.kernel_problems import call_of
from tests.kernels_pallas.neighborhood_attention.problems import Problem
from tests.numerics import assert_accurate, assert_close, assert_conditioned

NAMES = ("q", "k", "v", "additional_keys", "additional_values", "mask", "bias")
EVERYTHING = Problem(
    1, (7, 9), 2, 1, 4, 3, (3, 4), (1, 2), (2, 1), (False, True), additional=2, mask=True
)
PLAIN = Problem(1, (16,), 2, 2, 4, 4, (5,))
MASKED = PLAIN._replace(mask=True)


def run(function, problem: Problem, arrays: dict):
    """(out, lse) by an implementation's `forward`."""
    return function(call_of(problem), *(arrays.get(name) for name in NAMES))


def by_kernel(backend):
    return partial(backend.forward, interpret=True)


def split(arrays: dict) -> tuple[dict, dict]:
    """The operands that have a slope, and the mask."""
    return {n: a for n, a in arrays.items() if n != "mask"}, {
        n: a for n, a in arrays.items() if n == "mask"
    }


def value_and_slopes(function, problem: Problem, arrays: dict, do, dlse):
    floating, mask = split(arrays)
    made, pull = jax.vjp(lambda a: run(function, problem, a | mask), floating)
    return made, pull((do, dlse))[0]


def operands(problem: Problem, seed: int = 0):
    arrays = problems.cast(problems.operands(problem, seed), problem.dtype)
    do, dlse = problems.cotangents(problem, seed + 1)
    return arrays, jnp.asarray(do, problem.dtype), jnp.asarray(dlse, jnp.float32)


@pytest.mark.parametrize(
    "backend", [triton, pytest.param(mosaic_tpu, marks=pytest.mark.slow)], ids=["triton", "tpu"]
)
def test_values_and_gradients_with_everything(backend):
    """Through the log-sum-exp too, which the merge with the additional keys also uses."""
    arrays, do, dlse = operands(EVERYTHING)
    made = jax.jit(partial(value_and_slopes, by_kernel(backend), EVERYTHING))(arrays, do, dlse)
    wide = {n: np.asarray(a, bool if n == "mask" else float) for n, a in arrays.items()}
    exact = problems.expected(EVERYTHING, wide, (np.asarray(do, float), np.asarray(dlse, float)))
    (out, lse), slopes = made
    assert_accurate(out, exact.out)
    assert_close(lse, exact.lse)
    assert slopes.keys() == exact.gradients.keys()
    for name, value in exact.gradients.items():
        assert_conditioned(slopes[name], value, exact.sizes[name], "float32")


@pytest.mark.slow
def test_a_query_with_no_key():
    """Its output and its gradients are 0, its lse -inf, and nothing is NaN."""
    arrays, do, dlse = operands(MASKED)
    arrays["mask"] = jnp.zeros_like(arrays["mask"]).at[0, -2:].set(True)
    (out, lse), slopes = value_and_slopes(by_kernel(triton), MASKED, arrays, do, dlse)
    lost = np.asarray(lse) == -np.inf
    assert lost[0, :11].all()
    assert not lost[0, -3:].any()
    assert not np.asarray(out)[lost].any()
    assert not np.asarray(slopes["q"])[lost].any()
    for value in slopes.values():
        assert np.isfinite(np.asarray(value)).all()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_16_bit_gradients_keep_their_dtype(dtype):
    problem = EVERYTHING._replace(dtype=dtype)
    arrays, do, dlse = operands(problem)
    (out, lse), slopes = value_and_slopes(by_kernel(triton), problem, arrays, do, dlse)
    assert (out.dtype, lse.dtype) == (dtype, jnp.float32)
    assert {a.dtype for a in slopes.values()} == {jnp.dtype(dtype)}


def loss(function, problem: Problem, arrays: dict, mask: dict):
    out, lse = run(function, problem, arrays | mask)
    return (out.astype(jnp.float32) ** 3).sum() + jnp.sin(jnp.where(lse > -jnp.inf, lse, 0)).sum()


def squared_slope(function, problem: Problem, arrays: dict, mask: dict):
    slope = jax.grad(loss, argnums=2)(function, problem, arrays, mask)
    return sum((g**2).sum() for g in slope.values())


@pytest.mark.parametrize(
    ("backend", "problem"),
    [
        (triton, PLAIN),
        pytest.param(mosaic_tpu, PLAIN, marks=pytest.mark.slow),
        pytest.param(triton, EVERYTHING, marks=pytest.mark.slow),
    ],
)
def test_gradient_of_a_gradient(backend, problem):
    """Through the kernels once, and through plain code from there on."""
    arrays, mask = split(operands(problem)[0])
    ours, expected = (
        jax.jit(jax.grad(lambda a, f=function: squared_slope(f, problem, a, mask)))(arrays)
        for function in (by_kernel(backend), xla.forward)
    )
    for name, value in expected.items():
        assert_close(ours[name], value)


@pytest.mark.slow
@pytest.mark.parametrize("backend", [triton, mosaic_tpu], ids=["triton", "tpu"])
def test_vmap_over_everything(backend):
    many = [operands(EVERYTHING, seed) for seed in range(2)]
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *many)
    function = partial(value_and_slopes, by_kernel(backend), EVERYTHING)
    together = jax.jit(jax.vmap(function))(*stacked)
    alone = jax.jit(function)(*many[1])
    for mine, exact in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
        assert_close(mine[1], exact)


def test_heads_are_padded_where_a_backend_asks():
    """With zeros, and the scale is that of the head as it was given."""
    seen = []

    def attend(static, q, k, v, mask):
        seen.append((static.head_dim, static.value_dim, q.shape[-1], v.shape[-1]))
        return vjp.plain_attend(static, q, k, v, mask)

    problem = EVERYTHING
    arrays, _, _ = operands(problem)
    given = [arrays.get(name) for name in NAMES[:6]]
    out, lse = kernel.run(
        attend, None, call_of(problem), *given, interpret=True, padded_head=lambda n: -(-n // 8) * 8
    )
    assert seen == [(8, 8, 8, 8)]
    exact = problems.expected(problem, problems.cast(arrays, "float32"))
    assert_accurate(out, exact.out)
    assert_close(lse, exact.lse)


def test_records_of_a_call():
    call = call_of(EVERYTHING)
    static = kernel.static_of(call)
    assert vjp.call_of(static, has_mask=True) == call._replace(additional=0)


GOOD = call_of(PLAIN)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dtype": "float64"}, "q is float64"),
        ({"has_bias": True}, "a bias is given"),
        ({"batch": 0}, "batch is 0"),
        ({"value_dim": 0}, "value_dim is 0"),
    ],
)
def test_unsupported(changes: dict, reason: str):
    call = Call(**(GOOD._asdict() | changes))
    for module in (kernel, triton, mosaic_tpu):
        assert reason in module.unsupported(call)
        assert module.unsupported(GOOD) is None


@pytest.mark.parametrize(
    ("module", "changes", "reason"),
    [
        (triton, {"head_dim": 129}, "head_dim is 129; this kernel takes at most 128 in float32"),
        (triton, {"value_dim": 257, "dtype": "float16"}, "value_dim is 257; this kernel takes at"),
        (triton, {"batch": 1 << 24, "head_dim": 8}, "offsets are 32-bit"),
        (mosaic_tpu, {"value_dim": 513}, "value_dim is 513; this kernel takes at most 512"),
        (mosaic_tpu, {"space": (1 << 23,)}, "scalar memory takes 65536"),
    ],
)
def test_unsupported_by_one(module, changes: dict, reason: str):
    assert reason in module.unsupported(Call(**(GOOD._asdict() | changes)))
