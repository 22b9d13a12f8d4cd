"""SGConv's taps, against the finite filter and its interpolation."""

from __future__ import annotations

from itertools import pairwise

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from farwide.models.filters import SGConv, make_filter, sgconv_scales, sgconv_taps
from tests.theory.taps.sampling import assert_covariance, assert_moment, draws
from theory.taps import sgconv
from theory.taps.sgconv import interpolation

SHAPES = [(3, 1), (9, 16), (16, 16), (17, 16), (100, 8), (33, 2), (64, 4), (7, 3)]


def norms(weights):
    """(1, channels, 1) norms of the weights of each channel."""
    return jnp.sqrt((weights**2).sum((0, 2), keepdims=True))


def trained(params, raws):
    return {"weights": norms(params["weights"]) / norms(raws[0])}


@pytest.mark.parametrize(
    ("taps", "scale_dim", "decay"),
    [(12, 2, 2.0), pytest.param(20, 4, 1.3, marks=pytest.mark.slow), (5, 8, 2.0)],
)
def test_moments_are_those_of_the_finite_filter(taps, scale_dim, decay):
    module = make_filter(SGConv(scale_dim, decay), 5, taps)
    second, ntk = draws(module, trained, 3000)
    moments = sgconv(taps, scale_dim=scale_dim, decay=decay)
    assert_moment(second, moments.matrix)
    assert_moment(ntk, moments.ntk_matrix)


@pytest.mark.parametrize(("taps", "scale_dim"), SHAPES)
def test_interpolation_is_that_of_the_filter(taps, scale_dim):
    scales = sgconv_scales(taps, scale_dim)
    basis = np.eye(scales * scale_dim, dtype=np.float32).reshape(-1, scales, scale_dim)
    expected = sgconv_taps(jnp.asarray(basis.transpose(1, 0, 2)), taps, decay=1.7)
    found = interpolation(taps, scale_dim, 1.7)
    np.testing.assert_allclose(found, np.asarray(expected).T, atol=3e-7)


def test_moments_are_the_integrals_over_resolvents():
    """R = int (1 + 2 u C)^-1 C det(1 + 2 u C)^(-1/2) du and the same without the first factors."""
    u = interpolation(10, 3, 2.0)
    c = u @ u.T / np.trace(u @ u.T)

    def integral(f):
        def integrand(x):
            m = np.eye(10) + 2 * np.exp(x) * c
            return np.exp(x) * f(m) / np.sqrt(np.linalg.det(m))

        edges = (-40, -5, -1, 1, 4, 10, 40)
        return sum(
            quad(integrand, a, b, epsabs=1e-15, epsrel=1e-11, limit=200)[0]
            for a, b in pairwise(edges)
        )

    moments = sgconv(10, scale_dim=3)
    for i, j in ((0, 0), (0, 4), (7, 7), (2, 9)):
        expected = integral(lambda m, i=i, j=j: np.linalg.solve(m, c)[i, j])
        np.testing.assert_allclose(moments.matrix[i, j], expected, rtol=1e-9, atol=1e-14)
    inverse = integral(lambda m: 1.0)
    np.testing.assert_allclose(moments.ntk_matrix, inverse * c, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize(("taps", "scale_dim"), [s for s in SHAPES if s[1] > 1])
def test_moments_are_covariances_of_power_one(taps, scale_dim):
    moments = sgconv(taps, scale_dim=scale_dim)
    np.testing.assert_allclose(moments.power, 1, rtol=1e-12)
    assert_covariance(moments.matrix)
    assert_covariance(moments.ntk_matrix)
    rank = np.linalg.matrix_rank(interpolation(taps, scale_dim, 2.0))
    assert np.linalg.matrix_rank(moments.matrix, tol=1e-10) <= rank


def test_taps_without_scales_are_uniform_on_the_sphere():
    """With taps <= scale_dim, k = w / |w|: R = 1 / taps, T = 1 / (taps - 2)."""
    moments = sgconv(9, scale_dim=16)
    np.testing.assert_allclose(moments.matrix, np.eye(9) / 9, atol=1e-14)
    np.testing.assert_allclose(moments.ntk_matrix, np.eye(9) / 7, atol=1e-14)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"taps": 2}, "taps is 2; accepted"),
        ({"scale_dim": 0}, "scale_dim is 0; accepted"),
        ({"decay": 0.0}, r"decay is 0\.0; accepted"),
        ({"taps": 4, "scale_dim": 1, "decay": 1e30}, "scale_dim is 1; accepted"),
    ],
)
def test_bad_arguments_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        sgconv(**{"taps": 8, **settings})
