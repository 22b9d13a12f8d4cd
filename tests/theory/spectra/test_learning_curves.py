"""Learning curves from a spectrum: against drawn regressions, closed forms and each other."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq, minimize_scalar

from tests.theory.spectra.random_designs import regress, regress_on_a_population, within
from theory.spectra import (
    best_ridge,
    best_ridge_features,
    empirical_spectrum,
    learnability,
    learning_curve,
    power_law,
    random_feature_curve,
    spectrum,
)

INF = np.inf
# (a, b, n, features, ridge, noise): both sides of n = K, with and without a ridge and noise
SETTINGS = [
    (0.6, 0.8, 100, 300, 0.0, 0.0),
    (0.6, 0.8, 300, 100, 0.0, 0.0),
    (0.6, 0.8, 100, 200, 0.01, 0.1),
    (0.6, 0.8, 200, 100, 0.3, 0.0),
    (0.3, 0.3, 150, 150, 0.2, 0.0),
    (0.3, 0.3, 150, 400, 0.0, 0.2),
    (0.3, 1.5, 150, 50, 0.05, 0.1),
    (0.3, 1.5, 400, 150, 1.0, 0.3),
    (1.2, 0.5, 80, 160, 0.001, 0.0),
    (1.2, 0.5, 160, 80, 0.02, 0.1),
    (0.6, 0.8, 120, INF, 0.1, 0.1),
    (0.3, 0.3, 120, INF, 0.0, 0.0),
]


def kappa_of(lam, m, n, delta):
    return brentq(lambda k: (m * lam / (lam + k)).sum() + delta / k - n, 1e-12, 1e12, xtol=1e-14)


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_random_features_err_as_predicted(setting):
    a, b, n, features, ridge, noise = setting
    s = power_law(600, a, b)
    test, train = regress(s, n, features, ridge, noise, 50, seed=SETTINGS.index(setting))
    curve = random_feature_curve(s, n, features, ridge=ridge, noise=noise)
    assert abs(within(test, float(curve.test))) < 3
    assert float(curve.test) == pytest.approx(test.mean(), rel=0.1)
    if float(curve.train) > 1e-12:
        assert float(curve.train) == pytest.approx(train.mean(), rel=0.1)
    else:
        assert train.max() < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_random_features_err_as_predicted_at_four_times_the_size(setting):
    """Corrections of order 1/n are smaller here, so the test is sharper: 1% beside 3 errors."""
    a, b, n, features, ridge, noise = setting
    s = power_law(2400, a, b)
    n, features = 4 * n, 4 * features if np.isfinite(features) else features
    test, _ = regress(
        s, n, int(features) if np.isfinite(features) else features, ridge, noise, 60, 7
    )
    curve = random_feature_curve(s, n, features, ridge=ridge, noise=noise)
    assert abs(within(test, float(curve.test))) < 3
    assert float(curve.test) == pytest.approx(test.mean(), rel=0.03)


@pytest.mark.parametrize(
    ("n", "features", "ridge"),
    [
        (40, INF, 1e-9),
        (150, INF, 2.0),
        (240, INF, 0.5),
        (60, 120, 0.1),
        (150, 60, 0.3),
        (200, 250, 1.0),
    ],
)
def test_a_part_of_a_population_errs_as_predicted_at_the_rest(n, features, ridge):
    s = power_law(300, 0.6, 0.8)
    test, train = regress_on_a_population(s, n, features, ridge, 40, seed=n)
    curve = random_feature_curve(s, n, features, ridge=ridge, population=300)
    assert abs(within(test, float(curve.test))) < 3
    assert float(curve.test) == pytest.approx(test.mean(), rel=0.1)
    assert float(curve.train) == pytest.approx(train.mean(), rel=0.1, abs=1e-12)
    plain = random_feature_curve(s, n, features, ridge=ridge)
    if n >= 150 and np.isinf(features):  # the test would see it if the population were forgotten
        assert abs(within(test, float(plain.test))) > 5


def test_equations_of_the_papers_hold():
    """Of the root and of the errors, written as published, at drawn spectra."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        s = spectrum(rng.lognormal(0, 2, 50), rng.exponential(1, 50), rng.integers(1, 4, 50))
        lam, v2, m = s
        n, K = rng.uniform(1, 60, 2)
        delta, noise = rng.lognormal(0, 2), rng.exponential()
        found = random_feature_curve(s, n, K, ridge=delta, noise=noise)
        g, k = float(found.gamma), float(found.kappa)
        z, q = (m * lam / (lam + g)).sum(), (m * (lam / (lam + g)) ** 2).sum()
        assert z + delta / k == pytest.approx(n, rel=1e-9)
        assert z + K * k / g == pytest.approx(K, rel=1e-9)
        top = (v2 * (g / (lam + g) - k * lam / (lam + g) ** 2 * K / (K - q))).sum() + noise
        expected = top / (1 - (q * (K - 2 * z) + z**2) / (n * (K - q)))
        assert float(found.test) == pytest.approx(expected, rel=1e-9)
        assert float(found.train) == pytest.approx((delta / (n * k)) ** 2 * expected, rel=1e-9)
        assert float(found.learned) == pytest.approx(z, rel=1e-9)
        assert float(found.ridge) == pytest.approx(delta, rel=1e-9)
        kappa = kappa_of(lam, m, n, delta)
        L = lam / (lam + kappa)
        expected = n / (n - (m * L**2).sum()) * (((1 - L) ** 2 * v2).sum() + noise)
        kernel = learning_curve(s, n, ridge=delta, noise=noise)
        assert float(kernel.test) == pytest.approx(expected, rel=1e-9)
        np.testing.assert_allclose(learnability(s, kernel), L, rtol=1e-9)


def test_alike_modes_have_a_closed_form():
    """P eigenvalues of one: E = (1 - n/P)|v|^2 + s^2 P/(P - n) for n < P, s^2 n/(n - P) above."""
    P, noise = 40, 0.3
    s = spectrum([1.0], [2.0], [P])
    n = np.array([1.0, 10, 39, 41, 400])
    expected = np.where(n < P, (1 - n / P) * 2 + noise * P / (P - n), noise * n / (n - P))
    np.testing.assert_allclose(learning_curve(s, n, noise=noise).test, expected, rtol=1e-9)


def test_blocks_of_alike_modes_are_the_modes():
    rng = np.random.default_rng(1)
    lam, counts = rng.lognormal(size=8), rng.integers(1, 5, 8)
    v2 = rng.exponential(size=8)
    blocks = spectrum(lam, v2, counts)
    modes = spectrum(np.repeat(lam, counts), np.repeat(v2 / counts, counts))
    for name in ("test", "train", "gamma"):
        one, other = (
            getattr(random_feature_curve(s, [3.0, 9.0], 7.0, ridge=0.2), name)
            for s in (blocks, modes)
        )
        np.testing.assert_allclose(one, other, rtol=1e-10)


def test_features_without_end_are_the_kernel_and_more_data_than_all_of_it_the_limit():
    s = power_law(3000, 0.5)
    for ridge in (0.0, 0.1):
        n = np.array([10.0, 100, 1000])
        kernel = learning_curve(s, n, ridge=ridge, noise=0.1)
        many = random_feature_curve(s, n, 1e12, ridge=ridge, noise=0.1)
        np.testing.assert_allclose(many.test, kernel.test, rtol=1e-6)
        np.testing.assert_allclose(many.train, kernel.train, rtol=1e-6, atol=1e-15)
        most = random_feature_curve(s, 1e13, n, ridge=ridge, noise=0.1)
        endless = random_feature_curve(s, INF, n, ridge=ridge, noise=0.1)
        np.testing.assert_allclose(most.test, endless.test, rtol=1e-6)
    populous = learning_curve(s, n, ridge=0.1, population=1e12)
    np.testing.assert_allclose(populous.test, learning_curve(s, n, ridge=0.1).test, rtol=1e-6)


def test_without_a_ridge_a_population_divides_by_what_is_left():
    s = power_law(500, 0.5)
    n = np.array([5.0, 50, 250, 499])
    ratio = learning_curve(s, n, population=500).test / learning_curve(s, n).test
    np.testing.assert_allclose(ratio, 1 / (1 - n / 500), rtol=1e-8)


def test_at_the_rank_and_at_n_equal_to_K():
    s = spectrum([3.0, 1.0, 0.0], [1.0, 1.0, 0.5])
    full = learning_curve(s, [4.0, 8.0], noise=0.1)
    np.testing.assert_allclose(full.test, np.array([4 / 2, 8 / 6]) * 0.6, rtol=1e-12)
    np.testing.assert_array_equal(full.kappa, 0)
    assert np.isinf(random_feature_curve(power_law(100, 0.5), 20, 20).test)
    assert np.isfinite(best_ridge_features(power_law(100, 0.5), 20, 20, noise=0.1).test)


def test_the_best_ridge_is_no_worse_than_any():
    rng = np.random.default_rng(2)
    for K in (30.0, INF):
        s = spectrum(rng.lognormal(0, 2, 80), rng.exponential(1, 80))
        found = best_ridge_features(s, 25.0, K, noise=20.0)

        def error(log_ridge, s=s, K=K):
            ridge = np.exp(log_ridge)
            return float(random_feature_curve(s, 25.0, K, ridge=ridge, noise=20.0).test)

        searched = minimize_scalar(error, bounds=(-15, 15), method="bounded")
        assert float(found.ridge) > 1e-3
        assert float(found.test) <= searched.fun * (1 + 1e-9)
        again = random_feature_curve(s, 25.0, K, ridge=found.ridge, noise=20.0)
        assert float(again.test) == pytest.approx(float(found.test), rel=1e-9)
    smooth = best_ridge(power_law(1000, 0.3, 3.0), 50.0)
    assert float(smooth.test) <= float(learning_curve(power_law(1000, 0.3, 3.0), 50.0).test)


def test_at_the_best_ridge_more_is_better():
    """The theorem of Simon et al.: never worse with more data or more features."""
    rng = np.random.default_rng(3)
    counts = np.array([1.0, 2, 4, 8, 16, 32, 64, 128, 256, INF])
    for _ in range(6):
        modes = rng.integers(20, 200)
        s = spectrum(rng.lognormal(0, 3, modes), rng.exponential(1, modes) ** 3)
        n, K = counts[:-1, None], counts[None, :]
        E = best_ridge_features(s, n, K, noise=rng.exponential()).test
        assert (np.diff(E, axis=0) <= 1e-9 * E[:-1]).all()
        assert (np.diff(E, axis=1) <= 1e-9 * E[:, :-1]).all()
        bare = random_feature_curve(s, n, K, noise=1.0).test
        assert (np.diff(bare, axis=1) > 0).any()  # without the best ridge it is false


def test_prediction_from_a_gram_matrix_is_for_the_rest_of_its_points():
    """A kernel of real inputs: regress on some of M points, look at the others."""
    rng = np.random.default_rng(4)
    x = rng.standard_normal((400, 20))
    x /= np.linalg.norm(x, axis=1, keepdims=True) / 20**0.5
    y = np.stack([np.sin(x[:, 0]), x[:, 0] + 0.3 * x[:, 1] * x[:, 2]], 1)
    K = np.exp(-((x[:, None] - x) ** 2).sum(-1) / 40)
    s = empirical_spectrum(K, y)
    assert s.trace == pytest.approx(1.0)
    assert s.power == pytest.approx((y**2).sum() / 400)
    for n, ridge in ((50, 0.01), (200, 0.01), (200, 1.0)):
        errors = []
        for _ in range(20):
            order = rng.permutation(400)
            here, there = order[:n], order[n:]
            a = np.linalg.solve(K[np.ix_(here, here)] + ridge * np.eye(n), y[here])
            errors.append(((K[np.ix_(there, here)] @ a - y[there]) ** 2).sum(1).mean())
        found = learning_curve(s, n, ridge=ridge, population=400)
        assert float(found.test) == pytest.approx(np.mean(errors), rel=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "n must be > 0"),
        ({"n": 5, "ridge": -1}, "ridge must be >= 0"),
        ({"n": 5, "ridge": INF}, "ridge must be finite"),
        ({"n": 5, "noise": -1}, "noise must be >= 0"),
        ({"n": 10, "population": 10}, "n must be below the population"),
        ({"n": 5, "population": 10, "noise": 0.1}, "noise must be 0"),
        ({"n": 2, "population": 5}, "at least the rank"),
        ({"n": np.nan}, "n must be > 0"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        learning_curve(power_law(10, 0.5), **arguments)
    with pytest.raises(ValueError, match="must be a Spectrum"):
        learning_curve(np.ones(3), 2)  # pyright: ignore


def test_shapes_broadcast():
    s = power_law(50, 0.5)
    curve = random_feature_curve(s, np.ones((3, 1)), np.ones(4) * 7, ridge=0.1)
    assert curve.test.shape == curve.n.shape == (3, 4)
    assert learning_curve(s, 3).test.shape == ()
