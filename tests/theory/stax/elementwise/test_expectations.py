"""Every nonlinearity's two expectations against NumPy quadrature, on and off correlation ±1."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.numerics import RELATIVE
from tests.theory.stax.elementwise.cases import CASES, QUICK, apply_of, dual_of, expectation

# (k12, k11, k22) at correlations 0.39, -0.88, 0.9999 and 1
POINTS = np.array([(0.4, 0.8, 1.3), (-0.9, 0.8, 1.3), (0.9999, 1.0, 1.0), (0.7, 0.7, 0.7)])


@pytest.mark.parametrize("name", [*QUICK, "Tanh"])
def test_pair_is_the_expectation(name):
    case = CASES[name]
    with jax.enable_x64(True):
        got = np.array(jax.jit(dual_of(case.layer).pair)(*(jnp.asarray(k) for k in POINTS.T)))
    for values, f in zip(got, (case.fn, case.slope), strict=True):
        expected = np.array([expectation(f, *point) for point in POINTS])
        # a root of the determinant loses half of the digits at correlation 1, as its inputs do
        loss = np.where(POINTS[:, 0] == POINTS[:, 1], 1e-7 if case.kinked else 1e-12, 1e-12)
        bound = loss * np.sqrt(expectation(f, *[POINTS[:, 1:].max()] * 3) + 1e-30) ** 2
        np.testing.assert_array_less(np.abs(values - expected), bound + 1e-300)


@pytest.mark.parametrize("name", QUICK)
def test_same_is_the_expectation_at_one_input(name):
    case, variances = CASES[name], np.array([1e-3, 0.6, 1.7])
    with jax.enable_x64(True):
        got = np.array(jax.jit(dual_of(case.layer).same)(jnp.asarray(variances)))
    for values, f in zip(got, (case.fn, case.slope), strict=True):
        expected = np.array([expectation(f, k, k, k) for k in variances])
        np.testing.assert_allclose(values, expected, rtol=RELATIVE["float64"], atol=1e-300)


@pytest.mark.parametrize("name", CASES)
def test_the_finite_function_is_the_one_that_is_integrated(name):
    case, x = CASES[name], np.array([-2.1, -0.3, 0.4, 1.9])
    with jax.enable_x64(True):
        got = [np.asarray(f(x)) for f in apply_of(case.layer)]
    np.testing.assert_allclose(got[0], case.fn(x), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(got[1], case.slope(x), rtol=1e-13, atol=1e-15)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_monte_carlo(name):
    case, (k12, k11, k22) = CASES[name], POINTS[1]
    z = np.random.default_rng(0).normal(size=(2, 2_000_000))
    u, v = np.linalg.cholesky([[k11, k12], [k12, k22]]) @ z
    with jax.enable_x64(True):
        got = jax.jit(dual_of(case.layer).pair)(*(jnp.asarray(k) for k in (k12, k11, k22)))
        got = [float(value) for value in got]
    for value, f in zip(got, (case.fn, case.slope), strict=True):
        draws = f(u) * f(v)
        assert abs(draws.mean() - value) <= 5 * draws.std() / np.sqrt(draws.size) + 1e-12
