"""Rules of integration against integrals that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from theory import quadrature


def _moment(n: int) -> int:
    return math.prod(range(n - 1, 0, -2)) if n % 2 == 0 else 0


def test_normal_has_the_moments_of_a_gaussian_and_of_its_halves():
    z, w = quadrature.normal(20, 1.0, 8)
    for n in range(0, 20, 2):
        assert (w * z**n).sum() == pytest.approx(_moment(n), rel=1e-13)
    assert (w * np.abs(z)).sum() == pytest.approx(math.sqrt(2 / math.pi), rel=1e-14)
    np.testing.assert_array_equal(z, -z[::-1])


def test_normal_resolves_a_feature_a_hundred_times_narrower():
    z, w = quadrature.normal(20, 1.0, 8)
    # E exp(-b z²) = 1 / sqrt(1 + 2 b)
    assert (w * np.exp(-1e4 * z**2)).sum() == pytest.approx(1 / math.sqrt(1 + 2e4), rel=1e-13)


def test_gauss_hermite_is_exact_for_polynomials():
    z, w = quadrature.gauss_hermite(6)
    for n in range(12):
        assert (w * z**n).sum() == pytest.approx(_moment(n), rel=1e-13, abs=1e-12)
    assert (w * z**12).sum() != pytest.approx(_moment(12), rel=1e-3)


@pytest.mark.parametrize("step", [1 / 9, 1 / 16])
def test_radial_has_the_moments_of_a_rayleigh_variable(step):
    r, w = quadrature.radial(step)
    for n in range(6):
        assert (w * r**n).sum() == pytest.approx(2 ** (n / 2) * math.gamma(1 + n / 2), rel=1e-12)


@pytest.mark.parametrize(
    "rule", [quadrature.gauss_legendre(20), quadrature.double_exponential(1 / 16)]
)
def test_unit_rules(rule):
    for n in range(6):
        assert (rule.weights * rule.nodes**n).sum() == pytest.approx(1 / (n + 1), rel=1e-13)
    np.testing.assert_allclose(rule.nodes + rule.complements, 1, rtol=1e-15)


def test_double_exponential_resolves_the_ends():
    rule = quadrature.double_exponential(1 / 16)
    got = (rule.weights * np.tanh(100 * rule.nodes)).sum()
    assert got == pytest.approx((100 - math.log(2)) / 100, rel=1e-12)
    assert (rule.weights / np.sqrt(rule.complements)).sum() == pytest.approx(2, rel=1e-6)
