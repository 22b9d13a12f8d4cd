"""The price of moving a Gram matrix, exact and to second order."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from tests.numerics import relative_l2
from tests.theory.dkm.sparse import oracle
from tests.theory.dkm.sparse.quick import jit
from theory import dkm
from theory.dkm.divergence import kl_of_factors

EXACT, FACTORS, TAYLOR = (jit(f) for f in (dkm.kl, kl_of_factors, dkm.taylor_kl))


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def pair(seed, points=5):
    return (oracle.covariances(points, (), seed=seed + i)[0] for i in range(2))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**20))
def test_divergences_follow_their_formulas(seed):
    with jax.enable_x64(True):
        G, K = pair(seed)
        V = np.linalg.cholesky(G)
        assert relative_l2(EXACT(G, K), oracle.kl(G, K)) < 1e-10
        assert relative_l2(FACTORS(np.linalg.cholesky(K), V), oracle.kl(G, K)) < 1e-10
        assert relative_l2(TAYLOR(K, V), oracle.taylor_kl(G, K)) < 1e-10


def test_the_exact_form_is_the_mean_log_ratio_of_two_gaussians():
    G, K = pair(0, 2)
    nodes, weights = np.polynomial.hermite_e.hermegauss(4)
    grid = np.stack(np.meshgrid(nodes, nodes), -1).reshape(-1, 2) @ np.linalg.cholesky(G).T
    ratios = multivariate_normal(cov=G).logpdf(grid) - multivariate_normal(cov=K).logpdf(grid)
    mean = ratios @ np.outer(weights, weights).ravel() / weights.sum() ** 2
    assert relative_l2(EXACT(G, K), mean) < 1e-10


def test_both_forms_vanish_where_nothing_moved():
    _, K = pair(3)
    assert abs(float(EXACT(K, K))) < 1e-13
    assert abs(float(TAYLOR(K, np.linalg.cholesky(K)))) < 1e-13


def along(K, D):
    """log2 of how KL, and how Taylor's error, fall from one half of a distance to the next."""
    sizes, errors = [], []
    for eps in (0.008, 0.004, 0.002):
        G = K + eps * D
        sizes.append(float(EXACT(G, K)))
        errors.append(float(TAYLOR(K, np.linalg.cholesky(G))) - sizes[-1])
    return [-np.diff(np.log2(np.abs(values))) for values in (sizes, errors)]


def test_taylor_differs_by_the_cube_of_a_distance_that_commutes_with_k():
    _, K = pair(5)
    fall, error = along(K, K @ K - K / 2)
    assert fall == pytest.approx(np.full(2, 2.0), abs=0.1)
    assert error == pytest.approx(np.full(2, 3.0), abs=0.1)


def test_taylor_in_any_direction_is_at_least_the_second_order():
    """|A|_F² >= tr A², with equality where A = G^-1 K - I is symmetric: G and K commute."""
    D, K = pair(5)
    D = D - K
    A = np.linalg.inv(K) @ D
    second = np.trace(A @ A) / 4
    eps = 1e-4
    assert float(EXACT(K + eps * D, K)) / eps**2 == pytest.approx(second, rel=1e-2)
    taylor = float(TAYLOR(K, np.linalg.cholesky(K + eps * D))) / eps**2
    assert taylor == pytest.approx((A**2).sum() / 4, rel=1e-2)
    assert taylor > second


def test_what_is_not_positive_definite_is_nan():
    _, K = pair(1)
    assert np.isnan(EXACT(K - 10 * np.eye(5), K))
    assert np.isnan(EXACT(K, K - 10 * np.eye(5)))
