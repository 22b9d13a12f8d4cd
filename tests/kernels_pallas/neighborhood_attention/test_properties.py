"""Properties of the default implementation, over random values and a few shapes."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels_pallas.neighborhood_attention import merge_attentions, neighborhood_attention
from tests.kernels_pallas.neighborhood_attention.oracle import neighbours
from tests.kernels_pallas.neighborhood_attention.problems import TESTS, make, operands
from tests.numerics import assert_close

# Few distinct problems, since each one compiles.
CAUSAL = {
    "1d": TESTS["1d causal, strided"],
    "2d": make((8, 9), (3, 4), dilation=(2, 1), stride=(1, 3), causal=(True, False), bias=True),
}
ALL = {**CAUSAL, "1d even, dilated": TESTS["1d even, dilated"], "3d": TESTS["3d"]}
NAMES, SEEDS = st.sampled_from(list(ALL)), st.integers(0, 2**32 - 1)
CHECK = settings(max_examples=12, deadline=None, derandomize=True)


@partial(jax.jit, static_argnames="problem")
def attend(problem, arrays):
    """(out, lse) of the default implementation."""
    return neighborhood_attention(**arrays, **problem.options(), return_lse=True)


def draw(problem, seed):
    return {n: jnp.asarray(a, jnp.float32) for n, a in operands(problem, seed).items()}


@CHECK
@given(st.sampled_from(list(CAUSAL)), SEEDS, st.integers(1, 100))
def test_the_future_does_not_reach_the_past(name, seed, cut):
    """Keys from `cut` on along the causal axis are replaced; queries before it keep their bits."""
    problem = CAUSAL[name]
    arrays, other = draw(problem, seed), draw(problem, seed + 1)
    cut = 1 + cut % (problem.space[0] - 1)
    changed = {**arrays}
    for n in "qkv":
        changed[n] = jnp.concatenate([arrays[n][:, :cut], other[n][:, cut:]], 1)
    for before, after in zip(attend(problem, arrays), attend(problem, changed), strict=True):
        np.testing.assert_array_equal(before[:, :cut], after[:, :cut])
        assert (np.asarray(before)[:, cut:] != np.asarray(after)[:, cut:]).any()


@CHECK
@given(NAMES, SEEDS)
def test_a_key_reaches_its_neighbours_and_nobody_else(name, seed):
    problem = ALL[name]
    arrays = draw(problem, seed)
    place = tuple(np.random.default_rng(seed).integers(problem.space))
    changed = {**arrays, "v": arrays["v"].at[(slice(None), *place)].add(1.0)}
    moved = np.asarray(attend(problem, arrays)[0] != attend(problem, changed)[0])
    expected = np.ones((1,) * len(problem.space), bool)
    axes = zip(problem.space, *problem.neighbourhood, place, strict=True)
    for a, (*axis, j) in enumerate(axes):
        near = np.array([j in neighbours(i, *axis) for i in range(axis[0])])
        expected = expected & near.reshape([-1 if b == a else 1 for b in range(len(problem.space))])
    np.testing.assert_array_equal(moved.any((0, -2, -1)), expected)


@CHECK
@given(NAMES, SEEDS)
def test_batches_and_heads_are_independent(name, seed):
    """The batch in another order, and the kv heads with their query heads, give the same result."""
    problem = ALL[name]
    arrays = draw(problem, seed)
    rng = np.random.default_rng(seed)
    batch, heads = rng.permutation(problem.batch), rng.permutation(problem.kv_heads)
    group = problem.heads // problem.kv_heads
    queries = (heads[:, None] * group + np.arange(group)).ravel()
    moved = {
        n: a[batch][..., queries if n == "q" else heads, :]
        for n, a in arrays.items()
        if n != "bias"
    }
    if problem.bias:
        moved["bias"] = arrays["bias"][queries]
    out, lse = attend(problem, arrays)
    found = attend(problem, moved)
    assert_close(found[0], out[batch][..., queries, :])
    assert_close(found[1], lse[batch][..., queries])


@CHECK
@given(NAMES, SEEDS, st.floats(-4, 4, width=32))
def test_linear_in_the_values(name, seed, factor):
    problem = ALL[name]
    arrays, other = draw(problem, seed), draw(problem, seed + 1)
    values = [n for n in arrays if n in ("v", "additional_values")]
    summed = {n: arrays[n] + np.float32(factor) * other[n] for n in values}
    parts = [attend(problem, {**arrays, **{n: x[n] for n in values}})[0] for x in (arrays, other)]
    found = attend(problem, {**arrays, **summed})[0]
    scale = 1 + abs(factor)
    assert_close(found / scale, (parts[0] + np.float32(factor) * parts[1]) / scale)


@CHECK
@given(NAMES, SEEDS)
def test_a_result_lies_among_the_values(name, seed):
    problem = ALL[name]
    arrays = draw(problem, seed)
    out = np.asarray(attend(problem, arrays)[0])
    values = np.concatenate(
        [np.asarray(arrays[n]).ravel() for n in ("v", "additional_values") if n in arrays]
    )
    slack = 1e-6 * np.abs(values).max()
    assert out.min() >= values.min() - slack
    assert out.max() <= values.max() + slack
    ones = {
        n: jnp.ones_like(a) if n in ("v", "additional_values") else a for n, a in arrays.items()
    }
    assert_close(attend(problem, ones)[0], np.ones(out.shape))


@CHECK
@given(SEEDS, st.floats(-30, 30, width=32))
def test_a_constant_bias_moves_the_log_sum_exp_alone(seed, constant):
    problem = CAUSAL["2d"]
    arrays = draw(problem, seed)
    out, lse = attend(problem, arrays)
    moved = attend(problem, {**arrays, "bias": arrays["bias"] + np.float32(constant)})
    assert_close(moved[0], out)
    scale = max(1.0, abs(constant))
    assert_close(moved[1] / scale, (lse + np.float32(constant)) / scale)


@CHECK
@given(SEEDS)
def test_two_windows_of_disjoint_masks_merge(seed):
    """Masking away a set of keys, and its complement, are two parts of one attention."""
    problem = make((9, 8), (5, 3), mask=True)
    arrays = draw(problem, seed) | {"mask": jnp.asarray(operands(problem, seed)["mask"])}
    parts = [attend(problem, {**arrays, "mask": m}) for m in (arrays["mask"], ~arrays["mask"])]
    whole = attend(problem, {**arrays, "mask": jnp.ones_like(arrays["mask"])})
    for found, expected in zip(merge_attentions(*zip(*parts, strict=True)), whole, strict=True):
        assert_close(found, expected)
