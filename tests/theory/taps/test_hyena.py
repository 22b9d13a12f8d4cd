"""Hyena's taps, against the finite filter, quadrature and other ways to write the same."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import truncnorm

from farwide.models.filters import Hyena, make_filter
from farwide.models.filters.hyena import positional_features as finite_features
from tests.theory.taps.sampling import assert_covariance, assert_moment, draws
from theory.taps import hyena
from theory.taps.hyena import cut_normal_cosine, network, positional_features, window_rates
from theory.taps.ratio import ratios

SMALL = {"frequency": 2.0, "layers": 2, "bands": 2}
DEEP = {"layers": 3, "bands": 1, "frequency": 4.0, "shift": 0.3, "slow": 1.0, "fast": 0.2}


def trained(params, raws):
    """Weights, in units of their deviation; biases and frequencies stay."""
    out = jnp.linalg.norm(params["out"], axis=0) / jnp.linalg.norm(raws[-1], axis=0)
    scales: dict = {"frequency": 0.0, "out": out}
    for name, layer in params.items():
        if name.startswith("sine"):
            scales[name] = {"kernel": len(layer["kernel"]) ** -0.5, "bias": 0.0}
    return jax.tree.map(jnp.asarray, scales)


def check(settings, channels, taps, hidden, keys, batch):
    module = make_filter(Hyena(hidden=hidden, **settings), channels, taps)
    second, ntk = draws(module, trained, keys, batch=batch)
    moments = hyena(taps, channels, **settings)
    assert_moment(second, moments.matrix, hidden)
    assert_moment(ntk, moments.ntk_matrix, hidden)


def test_moments_are_those_of_the_finite_filter():
    check(SMALL, channels=6, taps=7, hidden=64, keys=400, batch=40)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, SMALL, DEEP, {"layers": 1, "bands": 3}], ids=str)
def test_moments_are_those_of_a_wide_filter(settings):
    check(settings, channels=5, taps=7, hidden=128, keys=300, batch=10)


@pytest.mark.parametrize(("taps", "bands"), [(3, 1), (16, 1), (50, 4)])
def test_features_are_those_of_the_filter(taps, bands):
    found = positional_features(taps, bands)
    np.testing.assert_allclose(found, finite_features(taps, bands), atol=2e-5)


@pytest.mark.parametrize("x", [0.0, 0.3, 1.0, 5.0, 17.0, 80.0, -5.0])
def test_cosine_of_a_cut_normal_variable(x):
    deviation = truncnorm.std(-2, 2)
    expected = quad(truncnorm(-2, 2).pdf, -2, 2, weight="cos", wvar=x / deviation, epsabs=1e-13)[0]
    np.testing.assert_allclose(cut_normal_cosine(np.array(x)), expected, atol=1e-11)


def test_first_layer_is_that_of_its_weights():
    """10^6 units with the weights that Flax draws, values and slopes."""
    features, frequency = positional_features(9, 2), 3.0
    initializer = jax.nn.initializers.lecun_normal()
    weights = np.asarray(initializer(jax.random.key(0), (5, 1_000_000)), np.float64)
    angles = frequency * features @ weights
    nngp, ntk = network(features, 1, frequency)
    slopes = frequency * np.cos(angles)
    inputs = features @ features.T / 5
    for unit, expected, allowed in (
        (np.sin(angles), nngp, 5e-3),
        (slopes, ntk / inputs, 5e-3 * frequency**2),
    ):
        np.testing.assert_allclose(unit @ unit.T / 1e6, expected, rtol=0, atol=allowed / 2)


@pytest.mark.parametrize("frequency", [0.7, 3.0])
def test_second_layer_is_a_gaussian_expectation(frequency):
    """Gauss-Hermite in two dimensions for K and D, from those of the first layer."""
    features = positional_features(6, 2)
    first, first_ntk = network(features, 1, frequency)
    second, second_ntk = network(features, 2, frequency)
    x, w = np.polynomial.hermite_e.hermegauss(80)
    w = w / w.sum()
    for i, j in ((0, 0), (0, 5), (2, 3)):
        a, b, c = first[i, i], first[j, j], first[i, j]
        u = np.sqrt(a) * x[:, None]
        v = c / np.sqrt(a) * x[:, None] + np.sqrt(max(b - c * c / a, 0)) * x
        mean = w @ (np.sin(frequency * u) * np.sin(frequency * v)) @ w
        slope = frequency**2 * (w @ (np.cos(frequency * u) * np.cos(frequency * v)) @ w)
        np.testing.assert_allclose(second[i, j], mean, atol=1e-11)
        expected = slope * (first[i, j] + first_ntk[i, j])
        np.testing.assert_allclose(second_ntk[i, j], expected, atol=1e-10)


def test_a_slow_sine_is_linear():
    """sin(w u) = w u + ..: NNGP w^2L K, NTK of the same network without `out` L w^2L K."""
    features = positional_features(6, 2)
    kernel = features @ features.T / 5
    for layers in (1, 2, 3):
        nngp, ntk = network(features, layers, 1e-3)
        np.testing.assert_allclose(nngp * 1e6**layers, kernel, rtol=0, atol=1e-5)
        np.testing.assert_allclose(ntk * 1e6**layers, layers * kernel, rtol=0, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_norms_are_divided_out_channel_by_channel(channels):
    """R and T in the basis of positions, from the eigenvectors of each channel's covariance."""
    taps, settings = 12, {"frequency": 3.0, "bands": 2}
    nngp, ntk = network(positional_features(taps, 2), 2, 3.0)
    rates, weights = window_rates(channels, 1.5, 0.3)
    np.testing.assert_allclose(weights, 1 / channels)
    np.testing.assert_allclose(rates[0], np.log(100) / 1.5)
    second, tangent = np.zeros((taps, taps)), np.zeros((taps, taps))
    for rate in rates:
        window = np.exp(-rate * np.linspace(0, 1, taps)) + 0.05
        covariance = np.outer(window, window) * nngp
        values, vectors = np.linalg.eigh(covariance)
        kept = values > 1e-15 * values[-1]
        inverse, shares = ratios(values[kept])
        second += (vectors[:, kept] * (values[kept] * shares)) @ vectors[:, kept].T / channels
        tangent += inverse * np.outer(window, window) * (nngp + ntk) / channels
    moments = hyena(taps, channels, **settings)
    np.testing.assert_allclose(moments.matrix, second, rtol=0, atol=1e-10)
    np.testing.assert_allclose(moments.ntk_matrix, tangent, rtol=1e-9)


def test_many_channels_are_the_continuum():
    """A mean over evenly spaced rates with both ends is off by (ends - mean) / channels."""
    continuum = hyena(20, None)
    found = [hyena(20, n) for n in (100, 200)]
    for name in ("matrix", "ntk_matrix"):
        limit = getattr(continuum, name)
        one, two = (getattr(m, name) - limit for m in found)
        scale = np.abs(limit).max()
        assert np.abs(one).max() < 0.05 * scale
        # errors fall as 1 / (channels - 1) but for their square
        np.testing.assert_allclose(two * 200, one * 100, rtol=0, atol=0.03 * scale)


@pytest.mark.parametrize("channels", [5, None])
@pytest.mark.parametrize("settings", [{}, SMALL, DEEP], ids=str)
def test_moments_are_covariances_of_power_one(settings, channels):
    moments = hyena(40, channels, **settings)
    np.testing.assert_allclose(moments.power, 1, rtol=1e-10)
    assert_covariance(moments.matrix)
    assert_covariance(moments.ntk_matrix)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"taps": 2}, "taps is 2; accepted"),
        ({"channels": 0}, "channels is 0; accepted"),
        ({"bands": 0}, "bands is 0; accepted"),
        ({"layers": 0}, "layers is 0; accepted"),
        ({"frequency": float("nan")}, "frequency is nan; accepted"),
        ({"frequency": 0.0}, r"frequency is 0\.0; accepted"),
        ({"fast": 2.0}, r"fast is 2\.0; accepted is at most slow"),
        ({"fast": 0.0}, r"fast is 0\.0; accepted"),
        ({"shift": float("inf")}, "shift is inf; accepted"),
    ],
)
def test_bad_arguments_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        hyena(**{"taps": 8, "channels": 2, **settings})
