"""Solves with singular matrices: the least norm, and a warning with the condition number."""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from tests.numerics import relative_max
from theory.predict import gp_inference, gradient_descent_mse
from theory.predict.definite import factorise, half_solve, log_determinant, solve


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def repeated(dtype=np.float64):
    """A kernel of points that each come twice, its cross kernel, and targets that agree."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(7, 9)) / 3
    k = a @ a.T
    twice = np.r_[0:5, 0:5]
    y = rng.normal(size=(5, 2))[twice]
    kernel = k[np.ix_(twice, twice)].astype(dtype)
    return kernel, k[5:][:, twice].astype(dtype), y.astype(dtype), k


def run(f, k):
    """f(k), and what it has to say."""
    out = f(jnp.asarray(k))
    jax.effects_barrier()
    return out


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("jit", [False, True])
def test_repeated_points_change_nothing_but_warn(jit, dtype):
    k, cross, y, once = repeated(dtype)

    def predict(k):
        return gradient_descent_mse(k, y)(None, 0.0, 0.0, cross)[1]

    with pytest.warns(scipy.linalg.LinAlgWarning, match="k_train_train .* condition number"):
        out = np.asarray(run(jax.jit(predict) if jit else predict, k))
    expected = once[5:, :5] @ np.linalg.solve(once[:5, :5], y[:5].astype(np.float64))
    assert relative_max(out, expected) < (1e-9 if dtype == np.float64 else 1e-2)


@pytest.mark.parametrize("jit", [False, True])
def test_well_conditioned_solves_are_silent(jit):
    k, cross, y, *_ = repeated()

    def predict(k):
        return gradient_descent_mse(k, y, diag_reg=1e-6)(None, 0.0, 0.0, cross)[1]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        out = run(jax.jit(predict) if jit else predict, k)
    assert np.isfinite(out).all()


@pytest.mark.parametrize("t", [1.0, 1e3, 1e30, np.inf])
def test_singular_kernels_are_finite_at_all_times(t):
    k, cross, y, once = repeated()
    train, test = gradient_descent_mse(k, y)(t, 0.0, 0.0, cross)
    half = gradient_descent_mse(once[:5, :5], y[:5])(t, 0.0, 0.0, once[5:, :5])
    # Each point counts twice, and the mean is over twice as many: the flow is the same.
    assert relative_max(train[:5], half[0]) < 1e-9
    assert relative_max(test, half[1]) < 1e-9


def test_covariances_of_singular_kernels_are_not_negative():
    k, cross, y, once = repeated()
    with pytest.warns(scipy.linalg.LinAlgWarning):
        cov = gp_inference(k, y)("nngp", cross, once[5:, 5:]).covariance
    assert np.linalg.eigvalsh(cov).min() > -1e-12


def test_a_kernel_with_negative_eigenvalues_is_told():
    k = np.diag([1.0, 0.5, -0.2])
    with pytest.warns(scipy.linalg.LinAlgWarning, match="not positive semi-definite.*-0.2"):
        out = gradient_descent_mse(k, np.ones((3, 1)))(1.0)
    assert np.isfinite(out).all()


@pytest.mark.parametrize("raise_small", [False, True])
def test_both_uses_of_small_eigenvalues(raise_small):
    k, _, y, *_ = repeated()
    k, y = jnp.asarray(k), jnp.asarray(y)
    with pytest.warns(scipy.linalg.LinAlgWarning, match="raised" if raise_small else "dropped"):
        factor = factorise(k, "k", raise_small=raise_small)
    x = solve(factor, y)
    values = np.linalg.eigvalsh(k)
    cutoff = len(k) * np.finfo(float).eps * values[-1]
    assert relative_max(k @ x, y) < 1e-9
    if not raise_small:
        assert relative_max(x, np.linalg.pinv(k) @ y) < 1e-9
    half = half_solve(factor, y)
    assert relative_max(half.T @ half, y.T @ x) < 1e-9
    if raise_small:
        expected = np.log(np.maximum(values, cutoff)).sum()
        assert float(log_determinant(k, factor)) == pytest.approx(expected, abs=1e-6)


def test_kernels_that_are_not_finite_warn_under_jit():
    k = jnp.eye(3).at[0, 1].set(jnp.nan)
    f = jax.jit(lambda k: gradient_descent_mse(k, np.ones((3, 1)))(None, 0.0, 0.0, k)[1])
    with pytest.warns(scipy.linalg.LinAlgWarning, match="not finite"):
        out = run(f, k)
    assert np.isnan(out).any()
