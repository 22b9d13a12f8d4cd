"""Soft-thresholded Gaussians, against adaptive and dense quadrature and known special cases."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import owens_t
from scipy.stats import norm

from theory.taps.thresholded import one, pair


def soft(x, threshold):
    return np.sign(x) * np.maximum(np.abs(x) - threshold, 0)


@pytest.mark.parametrize("ratio", [0.0, 0.1, 1.0, 3.0, 8.0, 12.0])
def test_one_gaussian(ratio):
    sigma, threshold = 0.3, 0.3 * ratio
    far = ratio + 60 / (ratio + 5)
    value = quad(lambda u: 2 * (u - ratio) ** 2 * norm.pdf(u), ratio, far, epsabs=0, epsrel=1e-12)
    slope = quad(lambda u: 2 * norm.pdf(u), ratio, far, epsabs=0, epsrel=1e-12)
    found = one(np.array([sigma]), threshold)
    np.testing.assert_allclose(found[0], sigma**2 * value[0], rtol=1e-9)
    np.testing.assert_allclose(found[1], slope[0], rtol=1e-12)


PAIRS = [
    (1.0, 1.0, 0.857, 0.15),
    (1.0, 0.5, 0.5, 1.0),
    (0.3, 1.0, 0.2, 1.0),
    (1.0, 1.0, 0.99, 2.0),
    (1.0, 0.9, 0.9999, 0.5),
    (1.0, 1.0, 0.857, 6.0),
    (0.2, 0.25, 0.4, 2.0),
    (0.1, 1.0, 0.05, 1.0),
    (2.0, 3.0, 0.7, 0.01),
    (1.0, 1.0, 0.6, 10.0),
]


def both(sigma_x, sigma_y, rho, threshold):
    arrays = [np.array([v]) for v in (sigma_x, sigma_y, rho, np.sqrt((1 - rho) * (1 + rho)))]
    return (float(v[0]) for v in pair(*arrays, threshold))


def upper(h, k, rho):
    """P(x > h, y > k), by Owen's function (Owen 1956), for h, k > 0."""
    s = np.sqrt(1 - rho**2)
    t = owens_t(h, (k - rho * h) / (h * s)) + owens_t(k, (h - rho * k) / (k * s))
    return (norm.sf(h) + norm.sf(k)) / 2 - t


@pytest.mark.parametrize(("sigma_x", "sigma_y", "rho", "threshold"), PAIRS)
def test_slopes_are_probabilities_of_quadrants(sigma_x, sigma_y, rho, threshold):
    h, k = threshold / sigma_x, threshold / sigma_y
    expected = 2 * (upper(h, k, rho) + upper(h, k, -rho))
    _, slope = both(sigma_x, sigma_y, rho, threshold)
    # The differences that make the expected value lose what is below 1e-16.
    np.testing.assert_allclose(slope, expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(
    ("sigma_x", "sigma_y", "rho", "threshold"), [p for p in PAIRS if p[2] < 0.995]
)
def test_pairs_are_the_double_integral(sigma_x, sigma_y, rho, threshold):
    """A double integral of equal steps over each of the two quadrants that count.

    Distances from the threshold are exp(tau - exp(-tau)), tau in equal steps. Ridges narrower than
    the steps are left to the tests at strong correlation.
    """
    step = 0.02
    tau = np.arange(-3.5, 3.2, step)
    t = np.exp(tau - np.exp(-tau))
    w = step * t * (1 + np.exp(-tau))
    a, b, s = threshold / sigma_x, threshold / sigma_y, np.sqrt((1 - rho) * (1 + rho))
    x, y = np.meshgrid(a + t, b + t, indexing="ij")
    total = {}
    for sign in (1, -1):
        density = np.exp(-(x**2 - 2 * sign * rho * x * y + y**2) / (2 * s * s)) / (2 * np.pi * s)
        density *= np.outer(w, w)
        total[sign] = (density * np.outer(t, t)).sum(), density.sum()
    value, slope = both(sigma_x, sigma_y, rho, threshold)
    expected = 2 * sigma_x * sigma_y * (total[1][0] - total[-1][0])
    np.testing.assert_allclose(value, expected, rtol=1e-9)
    np.testing.assert_allclose(slope, 2 * (total[1][1] + total[-1][1]), rtol=1e-9)


@pytest.mark.parametrize("ratio", [0.2, 1.5, 5.0])
def test_strong_correlations_approach_one_gaussian(ratio):
    """Price's theorem, dE[S S] / d rho = E[S' S'] at unit variance; E[S' S'] falls by the chance
    that a threshold is between the two, 2 phi(ratio) s / sqrt(2 pi) to first order.
    """
    exact = one(np.array([1.0]), ratio)
    for gap in (1e-5, 1e-9):
        s = np.sqrt(gap * (2 - gap))
        value, slope = pair(*(np.array([v]) for v in (1.0, 1.0, 1 - gap, s)), ratio)
        between = 2 * norm.pdf(ratio) * s / np.sqrt(2 * np.pi)
        np.testing.assert_allclose(exact[1] - slope, between, rtol=(1 + ratio) * s)
        fall = exact[0] - value
        assert gap * slope * (1 - 1e-6) - 1e-15 <= fall <= gap * exact[1] * (1 + 1e-6) + 1e-15


def test_equal_variables_are_one_gaussian():
    sigma = np.array([0.2, 1.0, 5.0])
    values, slopes = pair(sigma, sigma, np.ones(3), np.zeros(3), 1.0)
    expected = one(sigma, 1.0)
    np.testing.assert_allclose(values, expected[0], rtol=1e-10)
    np.testing.assert_allclose(slopes, expected[1], rtol=1e-10)


def test_independent_variables():
    sigma_x, sigma_y = np.array([1.0, 0.4]), np.array([0.7, 3.0])
    values, slopes = pair(sigma_x, sigma_y, np.zeros(2), np.ones(2), 0.6)
    np.testing.assert_allclose(values, 0, atol=1e-16)
    np.testing.assert_allclose(slopes, one(sigma_x, 0.6)[1] * one(sigma_y, 0.6)[1], rtol=1e-12)


def test_without_a_threshold_nothing_happens():
    found = pair(
        np.array([2.0]), np.array([3.0]), np.array([0.3]), np.sqrt(1 - np.array([0.09])), 0.0
    )
    np.testing.assert_allclose(found, [[0.3 * 6], [1.0]], rtol=1e-12)


def test_what_is_surely_zero_is_zero():
    found = pair(
        np.array([1e-9, 0.0]), np.ones(2), np.array([0.5, 0.0]), np.array([0.75**0.5, 1]), 1.0
    )
    np.testing.assert_array_equal(found, 0)
    np.testing.assert_array_equal(one(np.zeros(2), 1.0), 0)
