"""LongConv's taps, against the finite filter and against sums and quadrature written out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from farwide.models.filters import Squash, make_filter
from tests.theory.taps.sampling import assert_covariance, assert_moment, draws
from theory.taps import squash
from theory.taps.squash import deviations

SETTINGS = [
    {"threshold": 0.003},
    {"threshold": 0.0, "smooth": 3},
    {"threshold": 0.01, "init": "normal"},
    {"threshold": 0.01, "smooth": 3, "scale": 0.05},
    {"threshold": 0.004, "smooth": 4, "init": "normal"},
    {"threshold": 0.002, "smooth": 12},
]
QUICK = (0, 3)


def trained(params, raws, channels, taps, settings):
    scale, init = settings.get("scale", 0.02), settings.get("init", "double_exp")
    return {"taps": deviations(taps, channels, scale, init)}


@pytest.mark.parametrize(
    "settings",
    [s if i in QUICK else pytest.param(s, marks=pytest.mark.slow) for i, s in enumerate(SETTINGS)],
    ids=str,
)
def test_moments_are_those_of_the_finite_filter(settings):
    channels, taps = 6, 9
    module = make_filter(Squash(**settings), channels, taps)
    second, ntk = draws(module, lambda p, r: trained(p, r, channels, taps, settings), 4000)
    moments = squash(taps, channels, **settings)
    assert_moment(second, moments.matrix)
    assert_moment(ntk, moments.ntk_matrix)


@pytest.mark.parametrize("channels", [1, 2, 7])
@pytest.mark.parametrize("init", ["double_exp", "normal"])
def test_independent_taps_are_a_mean_over_channels(init, channels):
    taps, threshold, scale = 5, 0.01, 0.03
    moments = squash(taps, channels, threshold=threshold, scale=scale, init=init)
    assert moments.covariance is None
    for s in range(taps):
        values, slopes = [], []
        for c in range(channels):
            rate = max(channels // 2, 1) ** (c / channels) if init == "double_exp" else 0.0
            sigma = scale * np.exp(-rate * s / taps)

            def square(u, sigma=sigma):
                return 2 * (sigma * u - threshold) ** 2 * norm.pdf(u)

            values.append(quad(square, threshold / sigma, 12, epsabs=0, epsrel=1e-11)[0])
            slopes.append(2 * norm.sf(threshold / sigma) * sigma**2)
        np.testing.assert_allclose(moments.variance[s], np.mean(values), rtol=1e-9)
        assert moments.ntk is not None
        np.testing.assert_allclose(moments.ntk[s], np.mean(slopes), rtol=1e-12)


@pytest.mark.parametrize("smooth", [1, 2, 3, 6, 7, 20])
def test_without_a_threshold_taps_are_averages(smooth):
    """R = T = A sigma² A^T, A entry by entry."""
    taps, channels = 11, 4
    average = np.zeros((taps, taps))
    for s in range(taps):
        for j in range(s - smooth // 2, s - smooth // 2 + smooth):
            if 0 <= j < taps:
                average[s, j] = 1 / smooth
    expected = [
        average @ np.diag(d**2) @ average.T for d in deviations(taps, channels, 0.02, "double_exp")
    ]
    moments = squash(taps, channels, threshold=0.0, smooth=smooth)
    np.testing.assert_allclose(moments.matrix, np.mean(expected, 0), rtol=1e-12, atol=1e-20)
    assert moments.ntk is None


@pytest.mark.parametrize(("smooth", "taps"), [(2, 20), (7, 20), (12, 6), (40, 8)])
def test_a_vanishing_threshold_is_none(smooth, taps):
    """S(u) = u - threshold sign(u) + .., so R is off by first order in the threshold."""
    exact = squash(taps, 8, threshold=0.0, smooth=smooth)
    near = squash(taps, 8, threshold=1e-12, smooth=smooth)
    scale = exact.variance.max()
    np.testing.assert_allclose(near.matrix, exact.matrix, rtol=1e-8, atol=1e-10 * scale)
    np.testing.assert_allclose(near.ntk_matrix, exact.matrix, rtol=1e-8, atol=1e-10 * scale)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_moments_are_covariances_of_less_power_than_without_a_threshold(settings):
    moments = squash(30, 8, **settings)
    assert_covariance(moments.matrix)
    assert_covariance(moments.ntk_matrix)
    free = squash(30, 8, **{**settings, "threshold": 0.0})
    assert moments.power <= free.power
    assert np.all(np.diag(moments.ntk_matrix) >= moments.variance * (1 - 1e-12))


def test_taps_far_apart_do_not_see_one_another():
    moments = squash(20, 4, smooth=5)
    distance = np.abs(np.subtract.outer(np.arange(20), np.arange(20)))
    for matrix in (moments.matrix, moments.ntk_matrix):
        assert np.all(matrix[distance >= 5] == 0)
        assert np.all(matrix[distance < 5] > 0)


def test_normal_taps_cut_short_are_fewer_taps():
    long, short = (squash(n, 4, init="normal", smooth=3) for n in (12, 8))
    np.testing.assert_allclose(long.truncated(7).matrix, short.truncated(7).matrix, rtol=1e-12)


def test_a_filter_of_scale_zero_is_zero():
    for smooth in (1, 3):
        moments = squash(5, 2, scale=0.0, smooth=smooth)
        assert moments.power == 0
        assert np.all(moments.ntk_matrix == 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"taps": 0}, "taps is 0; accepted"),
        ({"channels": 1.5}, r"channels is 1\.5; accepted"),
        ({"smooth": 0}, "smooth is 0; accepted"),
        ({"threshold": -0.1}, r"threshold is -0\.1; accepted"),
        ({"scale": float("nan")}, "scale is nan; accepted"),
        ({"init": "zeros"}, "init is 'zeros'; accepted"),
    ],
)
def test_bad_arguments_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        squash(**{"taps": 4, "channels": 2, **settings})
