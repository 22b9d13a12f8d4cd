"""Landmarks: exact errors, and bounds that hold."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.numerics import relative_max
from tests.theory.predict.problems import inputs, kernel_fn
from theory.approximation import feature_regression, nystrom, pivoted_cholesky
from theory.predict import gp_inference


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("selection", ["random_pivots", "greedy", "uniform"])
def test_errors_are_those_of_the_factor(selection):
    x, _, x_test = inputs(40, 7)
    key = None if selection == "greedy" else jax.random.key(0)
    out = nystrom(kernel_fn, x, 12, key, get="ntk", selection=selection)
    k = np.asarray(kernel_fn(x, None, "ntk"))
    left = k - np.asarray(out.factor @ out.factor.T)
    assert out.factor.shape == (40, 12)
    assert len(set(out.landmarks.tolist())) == 12
    assert np.linalg.eigvalsh(left)[0] > -1e-10
    assert float(out.error) == pytest.approx(np.trace(left), rel=1e-8)
    assert float(out.relative_error) == pytest.approx(np.trace(left) / np.trace(k), rel=1e-8)
    assert np.abs(left).max() <= float(out.worst) * (1 + 1e-9)
    assert np.linalg.norm(left, 2) <= float(out.error)
    at = np.asarray(out.landmarks)
    exact = k[at][:, at]
    assert relative_max(out.factor[at] @ out.factor[at].T, exact) < 1e-10
    cross = np.asarray(kernel_fn(x_test, x[at], "ntk")) @ np.linalg.solve(exact, k[at])
    assert relative_max(out.features(x_test) @ out.factor.T, cross) < 1e-9


@pytest.mark.slow
def test_pivots_beat_a_blind_choice_where_inputs_cluster():
    rng = np.random.default_rng(0)
    x = np.concatenate([0.05 * rng.normal(size=(60, 4)) + 1, rng.normal(size=(12, 4)) * 2])
    errors = {
        s: np.mean([float(nystrom(kernel_fn, x, 12, jax.random.key(i), selection=s).relative_error)
                    for i in range(3)])
        for s in ("random_pivots", "uniform")
    }  # fmt: skip
    assert errors["random_pivots"] < 0.3 * errors["uniform"]


def test_a_kernel_of_low_rank_is_found_exactly():
    f = np.random.default_rng(0).normal(size=(20, 4))
    k = f @ f.T
    for key in (None, jax.random.key(1)):
        out = pivoted_cholesky(np.diag(k), lambda i: k[:, i], 10, key=key)
        assert out.pivots.shape == (4,)
        assert relative_max(out.factor @ out.factor.T, k) < 1e-12
        assert float(out.trace) == pytest.approx(np.trace(k))
    loose = pivoted_cholesky(np.diag(k), lambda i: k[:, i], 10, rtol=0.3)
    assert loose.pivots.size < 4
    assert float(loose.error) <= 0.3 * float(loose.trace)


def test_regression_on_features_is_that_on_their_kernel():
    rng = np.random.default_rng(0)
    phi, phi_test, y = rng.normal(size=(9, 4)), rng.normal(size=(5, 4)), rng.normal(size=(9, 2))
    out = feature_regression(phi, y, phi_test, 0.3)
    k = gp_inference(phi @ phi.T, y, 0.3, True)("nngp", phi_test @ phi.T, phi_test @ phi_test.T)
    assert relative_max(out.mean, k.mean) < 1e-11
    assert relative_max(out.covariance, k.covariance) < 1e-11


def test_errors_name_the_argument():
    x = inputs(5, 0)[0]
    with pytest.raises(ValueError, match=r"rank must be from 1 to 5.*got 6"):
        nystrom(kernel_fn, x, 6, jax.random.key(0))
    with pytest.raises(ValueError, match="selection must be one of"):
        nystrom(kernel_fn, x, 2, selection="best")
    with pytest.raises(ValueError, match="key must be a PRNG key"):
        nystrom(kernel_fn, x, 2)
    with pytest.raises(ValueError, match="kernel of zeros"):
        nystrom(
            lambda a, b, get: jnp.zeros((len(a), len(a if b is None else b))),
            x,
            2,
            selection="greedy",
        )
    with pytest.raises(ValueError, match="diagonal must be finite and at least 0"):
        pivoted_cholesky(-np.ones(3), lambda i: np.ones(3), 2)
    with pytest.raises(ValueError, match="rank must be from 1 to 3"):
        pivoted_cholesky(np.ones(3), lambda i: np.ones(3), 4)
    with pytest.raises(ValueError, match="noise must be positive"):
        feature_regression(np.ones((3, 2)), np.ones(3), np.ones((1, 2)), 0.0)
    with pytest.raises(ValueError, match="must agree"):
        feature_regression(np.ones((3, 2)), np.ones(4), np.ones((1, 2)), 1.0)
