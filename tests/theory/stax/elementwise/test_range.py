"""Variances of 0, tiny and huge ones, in float32: finite values and derivatives."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.theory.stax.elementwise.cases import CASES, QUICK, dual_of
from theory.stax.elementwise import rectified_power
from theory.stax.elementwise.gaussian_pair import angle, determinant

GROWS = {"Exp", "Gaussian growing", "RectifiedMonomial5", "Monomial3", "Monomial6", "Polynomial"}
# a power n of x has expectations of order k^n; exponentials leave float32 at k = 350
LARGEST = {"RectifiedMonomial2": 1e12, "Abs": 1e37}


@pytest.mark.filterwarnings("ignore:numerical integration")  # at 1e4 times the scale of tanh
@pytest.mark.parametrize("name", QUICK)
def test_finite_at_every_scale(name):
    case = CASES[name]
    largest = 3.0 if name in GROWS else LARGEST.get(name, 1e4 if case.integrated else 1e15)
    scales = np.array([0.0, 1e-30, 1e-8, 1.0, largest], np.float32)
    k11, k22 = (a.ravel() for a in np.meshgrid(scales, scales))
    s = np.sqrt(k11) * np.sqrt(k22)
    k12 = np.concatenate([s, -s, 0.3 * s]).astype(np.float32)
    arguments = tuple(jnp.asarray(np.tile(k, len(k12) // len(k))) for k in (k12, k11, k22))
    dual = dual_of(case.layer)
    value, change = jax.jit(lambda *k: jax.jvp(dual.pair, k, k))(*arguments)
    for leaf in (*value, *change):
        assert np.isfinite(np.asarray(leaf)).all()
    value, change = jax.jvp(dual.same, (jnp.asarray(scales),), (jnp.asarray(scales),))
    for leaf in (*value, *change):
        assert np.isfinite(np.asarray(leaf)).all()


def test_relu_is_exact_over_all_of_float32():
    pair = dual_of(CASES["Relu"].layer).pair
    scales = np.float32([1e-37, 1e-20, 1.0, 1e20, 1e37])
    k = jnp.asarray(scales)
    nngp, dot = pair(k / 2, k, k + 0)
    t = np.arccos(0.5)
    np.testing.assert_allclose(dot, 0.5 - t / (2 * np.pi), rtol=1e-6)
    expected = (np.sin(t) + 0.5 * (np.pi - t)) / (2 * np.pi)
    np.testing.assert_allclose(nngp, expected * scales, rtol=1e-6)


def test_near_duplicates_keep_their_digits():
    """k11 k22 - k12² and t of pairs whose correlation is 1 - d, d down to 1e-12."""
    d = 10.0 ** -np.arange(1, 13)
    with jax.enable_x64(True):
        k12, one = jnp.asarray(1 - d), jnp.ones(d.shape)
        exact = 1 - np.asarray(k12)
        det, t = np.asarray(determinant(k12, one, one)), np.asarray(angle(k12, one, one))
    np.testing.assert_allclose(det, exact * (2 - exact), rtol=1e-14)
    np.testing.assert_allclose(t, 2 * np.arcsin(np.sqrt(exact / 2)), rtol=1e-14)


def test_zero_row_has_the_slope_that_jax_gives_at_zero():
    slope = float(jax.grad(lambda x: jnp.maximum(x, 0))(0.0))  # 1/2
    zero, one = jnp.zeros(()), jnp.ones(())
    dual = dual_of(CASES["Relu"].layer)
    assert float(dual.pair(zero, zero, one)[1]) == pytest.approx(slope / 2)
    assert float(dual.same(zero)[1]) == slope**2


def test_gaussian_without_an_expectation_is_infinite():
    dual = dual_of(CASES["Gaussian growing"].layer)  # exists for variances below 5
    assert np.isfinite(dual.same(jnp.asarray(4.9))[0])
    assert dual.same(jnp.asarray(5.1))[0] == np.inf
    # both eigenvalues negative: the determinant is positive, the integral infinite
    assert dual.pair(jnp.asarray(0.0), jnp.asarray(30.0), jnp.asarray(30.0))[0] == np.inf


def test_coefficients_of_arc_cosine_kernels():
    """Cho and Saul 2009, eq. 6: J_2 = 3 sin t cos t + (pi - t) (1 + 2 cos² t)."""
    assert rectified_power.coefficients(1) == ([0, 1], [1])
    assert rectified_power.coefficients(2) == ([1, 0, 2], [0, 3])
