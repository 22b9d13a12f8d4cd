"""Expectations of g_i² / Q and 1 / Q, against closed forms, quadrature and draws."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad

from theory.taps.ratio import ratios

SPECTRA = [
    np.array([3.0, 2.0, 0.5]),
    np.array([1.0, 1e-3, 1e-3, 1e-7]),
    2.0 ** -np.arange(12),
    np.array([1e-9, 2e-9, 5e-9]),
    np.linspace(0.1, 40.0, 100),
]


@pytest.mark.parametrize("spectrum", SPECTRA)
def test_shares_and_inverse_are_the_integrals(spectrum):
    """By adaptive quadrature in log u, in another unit."""
    scale = spectrum.sum()
    spectrum = spectrum / scale
    found = ratios(spectrum)

    def integrand(x, i):
        u = np.exp(x)
        value = u * np.prod((1 + 2 * spectrum * u) ** -0.5)
        return value if i is None else value / (1 + 2 * spectrum[i] * u)

    def integral(i):
        edges = [-45, -5, -2, -1, 0, 1, 2, 5, 10, 20, 40, 90]
        pieces = [
            quad(integrand, a, b, (i,), epsabs=1e-15, epsrel=1e-12, limit=200)[0]
            for a, b in pairwise(edges)
        ]
        return sum(pieces)

    np.testing.assert_allclose(found.inverse, integral(None), rtol=1e-10)
    for i in (0, len(spectrum) - 1):
        np.testing.assert_allclose(found.shares[i], integral(i), rtol=1e-10)
    np.testing.assert_allclose(ratios(spectrum * scale).inverse * scale, found.inverse, rtol=1e-12)
    np.testing.assert_allclose(ratios(spectrum * scale).shares * scale, found.shares, rtol=1e-12)


@pytest.mark.parametrize("rank", [1, 2, 3, 4, 50, 2000])
def test_equal_eigenvalues_have_closed_forms(rank):
    """E[g_i² / (l |g|²)] = 1 / (rank l); E[1 / (l |g|²)] = 1 / ((rank - 2) l)."""
    found = ratios(np.full(rank, 0.7))
    np.testing.assert_allclose(found.shares, 1 / (0.7 * rank), rtol=1e-12)
    expected = 1 / (0.7 * (rank - 2)) if rank > 2 else np.inf
    np.testing.assert_allclose(found.inverse, expected, rtol=1e-12)


def test_two_eigenvalues_have_a_closed_form():
    """E[a g² / (a g² + b h²)] = sqrt(a) / (sqrt(a) + sqrt(b))."""
    a, b = 5.0, 0.02
    shares = ratios(np.array([a, b])).shares
    np.testing.assert_allclose(shares[0] * a, a**0.5 / (a**0.5 + b**0.5), rtol=1e-12)


@pytest.mark.parametrize("spectrum", SPECTRA)
def test_shares_sum_to_one(spectrum):
    np.testing.assert_allclose(spectrum @ ratios(spectrum).shares, 1, rtol=1e-12)


def test_draws():
    spectrum = np.array([2.0, 1.0, 0.5, 0.25, 0.1, 0.1])
    g = np.random.default_rng(0).normal(size=(400_000, 6)) ** 2
    q = g @ spectrum
    found = ratios(spectrum)
    for values, expected in (
        (1 / q, found.inverse),
        *zip((g / q[:, None]).T, found.shares, strict=True),
    ):
        assert abs(values.mean() - expected) < 5 * values.std() / len(q) ** 0.5


@pytest.mark.parametrize("bad", [[], [1.0, 0.0], [1.0, -1.0], [np.inf], [[1.0]]])
def test_bad_eigenvalues_are_named(bad):
    with pytest.raises(ValueError, match="eigenvalues are"):
        ratios(np.array(bad))
