"""Values, log-sum-exps and gradients of the plain implementations against the NumPy oracle."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels_pallas.neighborhood_attention import neighborhood_attention
from tests.kernels_pallas.neighborhood_attention.oracle import attention
from tests.kernels_pallas.neighborhood_attention.problems import (
    TESTS,
    Problem,
    cast,
    check,
    cotangents,
    expected,
    make,
    operands,
    run,
)
from tests.numerics import assert_close

EVERYTHING = TESTS["2d mixed"]


@pytest.mark.parametrize("name", TESTS)
def test_xla(name):
    check(TESTS[name])


@pytest.mark.parametrize("name", ["1d causal, strided", "3d"])
def test_reference(name):
    check(TESTS[name], implementation="reference")


@pytest.mark.parametrize(
    ("dtype", "implementation"),
    [("float64", "xla"), ("bfloat16", "xla"), ("float64", "reference"), ("float16", "reference")],
)
def test_other_dtypes(dtype, implementation):
    check(EVERYTHING._replace(dtype=dtype), 1, implementation)


def test_the_oracle_by_hand():
    """Two keys a query, by pencil: weights 1/2 where scores are equal, e : 1 where they differ."""
    q, k = np.array([1.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0])
    v = np.array([1.0, 2.0, 4.0])
    problem = Problem(1, (3,), 1, 1, 1, 1, window=(2,), scale=1.0)
    arrays = {n: a.reshape(1, 3, 1, 1) for n, a in (("q", q), ("k", k), ("v", v))}
    found = expected(problem, arrays)
    # neighbours {0, 1}, {0, 1}, {1, 2}
    e = np.e
    np.testing.assert_allclose(found.out.ravel(), [(1 + 2 * e) / (1 + e), 1.5, 3.0], rtol=1e-15)
    np.testing.assert_allclose(found.lse.ravel(), [np.log(1 + e), np.log(2), np.log(2 * e)])


def test_the_oracles_gradients_are_its_slopes():
    """The hand-written gradients against central differences of the hand-written values."""
    for problem in (EVERYTHING, TESTS["1d even, dilated"]._replace(mask=True)):
        arrays, given = operands(problem), cotangents(problem)
        slopes = expected(problem, arrays, given).gradients
        assert slopes.keys() == arrays.keys() - {"mask"}

        def value(arrays, problem=problem, given=given):
            found = attention(arrays, problem.neighbourhood, problem.score_scale)
            seen = np.isfinite(found.lse)
            return (given[0] * found.out).sum() + (given[1][seen] * found.lse[seen]).sum()

        for name, slope in slopes.items():
            step = 1e-5 * np.random.default_rng(2).standard_normal(slope.shape)
            up, down = ({**arrays, name: arrays[name] + sign * step} for sign in (1, -1))
            moved = (value(up) - value(down)) / 2
            np.testing.assert_allclose((slope * step).sum(), moved, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("space", [(9,), (3, 4), (2, 3, 2)])
def test_a_window_of_the_whole_length_is_plain_attention(space):
    problem = make(space, space, heads=4)
    arrays = cast(operands(problem), "float32")

    @jax.jit
    def both(arrays):
        flat = (arrays[n].reshape(2, -1, *arrays[n].shape[-2:]) for n in "qkv")
        plain = jax.nn.dot_product_attention(*flat)
        return neighborhood_attention(**arrays, **problem.options()), plain

    out, plain = both(arrays)
    assert_close(out, plain.reshape(out.shape))


def test_a_query_with_no_valid_key():
    """Gives 0, lse -inf and zero gradients; the additional keys alone where there are any."""
    problem = Problem(space=(12,), window=(3,), mask=True)
    arrays = operands(problem)
    arrays["mask"][0] = False
    arrays["mask"][1, :6] = False
    given = cotangents(problem)
    exact = expected(problem, arrays, given)
    assert np.isneginf(exact.lse[0]).all()
    assert np.isneginf(exact.lse[1, :5]).all()
    assert np.isfinite(exact.lse[1, 5:]).all()
    placed = cast(arrays, "float32")
    given = tuple(jnp.asarray(g, jnp.float32) for g in given)
    for implementation in ("xla", "reference"):
        (out, lse), slopes = run(problem, placed, given, implementation)
        np.testing.assert_array_equal(np.isneginf(lse), np.isneginf(exact.lse))
        assert (np.asarray(out)[np.isneginf(lse)] == 0).all()
        assert (np.asarray(slopes["q"])[np.isneginf(lse)] == 0).all()
        for name, slope in slopes.items():
            assert_close(slope, exact.gradients[name])
            assert (np.asarray(slope)[0] == 0).all()


def test_additional_keys_are_not_masked():
    problem = Problem(space=(12,), window=(3,), mask=True, additional=1)
    arrays = operands(problem)
    arrays["mask"][:] = False
    out, lse = neighborhood_attention(
        **cast(arrays, "float32"), **problem.options(), return_lse=True
    )
    assert_close(out, np.broadcast_to(arrays["additional_values"], out.shape))
    score = (arrays["q"] * arrays["additional_keys"]).sum(-1) / 2
    assert_close(lse, score)


def test_forms_of_the_options():
    """A number stands for one per axis, None for head_dim ** -0.5, 0.0 for itself."""
    problem = make((6, 8), (3, 3), batch=1, dilation=(2, 2), stride=(2, 2))
    arrays = {n: a.astype(np.float32) for n, a in operands(problem).items()}
    given = problem.options()
    expected_out = neighborhood_attention(**arrays, **given)
    same = [
        {"window": 3, "dilation": 2, "stride": 2},
        {**given, "scale": 4**-0.5, "causal": False},
        {**given, "window": [3, 3], "scale": np.float64(0.5), "causal": [False, False]},
    ]
    for options in same:
        out = neighborhood_attention(**arrays, **options)
        assert isinstance(out, jax.Array)
        np.testing.assert_array_equal(out, expected_out)
    given["scale"] = 0
    flat, lse = neighborhood_attention(**arrays, **given, return_lse=True)
    assert_close(lse, np.full(lse.shape, np.log(9)))
    given["scale"] = 0.0
    np.testing.assert_array_equal(neighborhood_attention(**arrays, **given), flat)


def test_an_empty_batch():
    problem = Problem(batch=0)
    out, lse = neighborhood_attention(
        **cast(operands(problem), "float32"), window=3, return_lse=True
    )
    assert out.shape == (0, 13, 2, 4)
    assert lse.shape == (0, 13, 2)
