"""Conjugate gradients, their preconditioner, tiled products, and regressions made of them."""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from tests.numerics import relative_max
from tests.theory.predict.problems import inputs, kernel_fn
from theory.predict import (
    conjugate_gradient,
    gp_inference,
    kernel_matvec,
    kernel_ridge_regression,
    pivoted_cholesky,
    pivoted_cholesky_preconditioner,
)


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True), warnings.catch_warnings():
        warnings.simplefilter("error", scipy.linalg.LinAlgWarning)
        yield


def kernel(n=60, noise=1e-4):
    x = inputs(n, 0)[0]
    k = np.asarray(kernel_fn(x, None, "ntk"))
    return (
        k,
        k + noise * np.eye(n),
        np.random.default_rng(5).normal(size=(n, 3)) @ np.diag([1, 9, 0]),
    )


@pytest.mark.parametrize("rank", [0, 25])
def test_columns_are_solved_together(rank):
    k, a, b = kernel()
    preconditioner = None
    if rank:
        low_rank = pivoted_cholesky(np.diag(k), lambda i: k[:, i], rank)
        preconditioner = pivoted_cholesky_preconditioner(low_rank.factor, 1e-4)
    seen = []
    out = conjugate_gradient(
        lambda v: a @ v, b, preconditioner=preconditioner, rtol=1e-10, max_steps=400,
        callback=lambda step, residual: seen.append(step),
    )  # fmt: skip
    assert out.converged
    assert seen == list(range(1, len(seen) + 1))
    assert relative_max(out.x, np.linalg.solve(a, b)) < 1e-6
    residual = np.linalg.norm(b - a @ out.x, axis=0)[:2] / np.linalg.norm(b, axis=0)[:2]
    np.testing.assert_allclose(out.residual[:2], residual, atol=1e-12)
    assert float(out.residual[2]) == 0
    if rank:
        assert (
            out.steps
            < 0.6 * conjugate_gradient(lambda v: a @ v, b, rtol=1e-10, max_steps=400).steps
        )


def test_the_preconditioner_is_an_inverse():
    f = np.random.default_rng(0).normal(size=(9, 4))
    apply = pivoted_cholesky_preconditioner(jnp.asarray(f), 0.3)
    exact = np.linalg.inv(f @ f.T + 0.3 * np.eye(9))
    assert relative_max(apply(jnp.eye(9)), exact) < 1e-12
    with pytest.raises(ValueError, match="noise must be positive, got 0"):
        pivoted_cholesky_preconditioner(jnp.asarray(f), 0)


def test_a_vector_and_a_start_near_the_end():
    _, a, b = kernel(20, 0.1)
    exact = np.linalg.solve(a, b[:, 0])
    cold = conjugate_gradient(lambda v: a @ v, b[:, 0])
    warm = conjugate_gradient(lambda v: a @ v, b[:, 0], x0=exact * (1 + 1e-9))
    assert cold.x.shape == (20,)
    assert relative_max(cold.x, exact) < 1e-6
    assert warm.steps < cold.steps


def test_too_few_steps_warn_and_tell_the_residual():
    _, a, b = kernel()
    with pytest.warns(scipy.linalg.LinAlgWarning, match="stopped after 3 steps"):
        out = conjugate_gradient(lambda v: a @ v, b, max_steps=3)
    assert not out.converged
    assert np.isfinite(out.x).all()
    assert float(out.residual.max()) > 1e-4


def test_what_is_not_positive_definite_is_an_error():
    with pytest.raises(RuntimeError, match="A and P must be positive definite"):
        conjugate_gradient(lambda v: -v, np.ones(3))
    with pytest.raises(RuntimeError, match="positive definite"):
        conjugate_gradient(lambda v: v * np.nan, np.ones(3))
    with pytest.raises(ValueError, match="b must be finite"):
        conjugate_gradient(lambda v: v, np.array([np.nan]))
    with pytest.raises(ValueError, match="b must have shape"):
        conjugate_gradient(lambda v: v, np.ones((2, 2, 2)))


@pytest.mark.parametrize("tile", [4, 11, 100])
def test_products_in_tiles(tile):
    x, y, x_test = inputs(11, 7)
    k = np.asarray(kernel_fn(x, None, "ntk"))
    calls = []

    def counted(x1, x2, get):
        calls.append(x1.shape[0] * (x1.shape[0] if x2 is None else x2.shape[0]))
        return kernel_fn(x1, x2, get)

    product = kernel_matvec(counted, x, shift=0.5, tile=tile)
    assert relative_max(product(y), k @ y + 0.5 * y) < 1e-13
    assert relative_max(product(y[:, 0]), (k @ y + 0.5 * y)[:, 0]) < 1e-13
    assert sum(calls) / 2 <= (11 * 11 + 11 * tile) / 2 if tile < 11 else sum(calls) / 2 == 121
    cross = kernel_matvec(kernel_fn, x_test, x, "nngp", tile=tile)
    assert relative_max(cross(y), np.asarray(kernel_fn(x_test, x, "nngp")) @ y) < 1e-13


def test_products_check_their_arguments():
    x = inputs(5, 0)[0]
    with pytest.raises(ValueError, match="tile must be at least 1, got 0"):
        kernel_matvec(kernel_fn, x, tile=0)
    with pytest.raises(ValueError, match="shift must be 0 where x2 is given"):
        kernel_matvec(kernel_fn, x, x, shift=1.0)
    with pytest.raises(ValueError, match=r"kernel_fn must give a matrix .* got \(5, 5, 2\)"):
        kernel_matvec(lambda x1, x2, get: jnp.ones((5, 5, 2)), x)(np.ones((5, 1)))


@pytest.mark.parametrize("absolute", [pytest.param(False, marks=pytest.mark.slow), True])
def test_regression_without_the_kernel_is_gp_inference(absolute):
    x, y, x_test = inputs(32, 9)
    out = kernel_ridge_regression(
        kernel_fn,
        x,
        y,
        diag_reg=1e-3,
        diag_reg_absolute_scale=absolute,
        rank=15,
        tile=16,
        rtol=1e-10,
    )
    k, cross = kernel_fn(x, None, "ntk"), kernel_fn(x_test, x, "ntk")
    expected = gp_inference(k, y, 1e-3, absolute)("ntk", cross)
    assert out.solution.converged
    assert relative_max(out.predict_fn(x_test), expected) < 1e-6
    assert 0 < out.low_rank_error < 0.5
    full = kernel_ridge_regression(
        kernel_fn, x, y, diag_reg=1e-3, rank=0, rtol=1e-10, max_steps=300
    )
    assert full.solution.steps > out.solution.steps
    assert full.low_rank_error == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"diag_reg": 0.0}, "diag_reg must be positive"),
        ({"rank": -1}, "rank must be at least 0"),
        ({"y_train": np.ones(3)}, "y_train must have 5 examples"),
    ],
)
def test_regression_checks_its_arguments(change, message):
    given = {"x_train": inputs(5, 0)[0], "y_train": np.ones(5), "diag_reg": 1.0} | change
    with pytest.raises(ValueError, match=message):
        kernel_ridge_regression(kernel_fn, **given)
