"""Spectra of Gram matrices, their exponents, tails and regimes."""

from __future__ import annotations

import numpy as np
import pytest

from theory.spectra import (
    empirical_spectrum,
    exponents,
    extend_tail,
    learning_curve,
    manifold_exponent,
    power_law,
    random_feature_curve,
    regime,
    scaling_exponents,
    spectrum,
)


def drawn_gram(modes, a, b, M, seed):
    """A kernel of Gaussian modes on M points, and a target of two columns."""
    s = power_law(modes, a, b)
    X = np.random.default_rng(seed).standard_normal((M, modes))
    v = np.sqrt(s.coefficients)
    signs = np.random.default_rng(seed + 1).choice([-1, 1], modes)
    y = np.stack([X @ (0.6 * v), X @ (0.8 * v * signs)], 1)
    return (X * s.eigenvalues) @ X.T, y, s


def test_a_gram_matrix_has_the_spectrum_of_its_definition():
    K, y, _ = drawn_gram(50, 0.5, 0.5, 30, 0)
    s = empirical_spectrum(K, y)
    values, vectors = np.linalg.eigh(K / 30)
    np.testing.assert_allclose(s.eigenvalues, values[::-1], rtol=1e-12)
    phi = vectors[:, ::-1] * np.sqrt(30)
    v = phi.T @ y / 30
    np.testing.assert_allclose(s.coefficients, (v**2).sum(1), rtol=1e-9)
    assert s.trace == pytest.approx(np.trace(K) / 30)
    assert s.power == pytest.approx((y**2).sum() / 30)
    one = empirical_spectrum(K, y[:, 0]).coefficients + empirical_spectrum(K, y[:, 1]).coefficients
    np.testing.assert_allclose(one, s.coefficients)
    low = empirical_spectrum(np.outer([1.0, 2, 3], [1.0, 2, 3]), np.ones(3))
    assert low.rank == 1
    assert low.eigenvalues[0] == pytest.approx(14 / 3)


def test_a_spectrum_is_sorted_and_checked():
    s = spectrum([1.0, 3.0, 2.0], np.array([[1.0, 1], [2, 2], [0, 0.5]]), [1, 2, 3])
    np.testing.assert_array_equal(s.eigenvalues, [3, 2, 1])
    np.testing.assert_array_equal(s.coefficients, [4, 0.5, 2])
    np.testing.assert_array_equal(s.multiplicity, [2, 3, 1])
    for arguments, message in (
        (([1.0], [1.0, 2.0]), "must be"),
        (([-1.0], [1.0]), "eigenvalues must be finite and >= 0"),
        (([1.0], [np.nan]), "coefficients must be finite"),
        (([1.0], [1.0], [0]), "multiplicity must be"),
        (([0.0], [1.0]), "all zero"),
        (([], []), "must be"),
    ):
        with pytest.raises(ValueError, match=message):
            spectrum(*arguments)
    with pytest.raises(ValueError, match="modes must be"):
        power_law(0, 1.0)


@pytest.mark.parametrize(
    ("K", "y", "message"),
    [
        (np.eye(3)[:2], np.ones(3), "K must be"),
        (np.eye(3), np.ones(2), "K must be"),
        (np.diag([1.0, np.inf]), np.ones(2), "finite"),
        (np.array([[1.0, 0.5], [0.4, 1.0]]), np.ones(2), "symmetric"),
        (np.diag([1.0, -0.1]), np.ones(2), "positive semi-definite"),
    ],
)
def test_matrices_that_are_no_kernel_are_refused(K, y, message):
    with pytest.raises(ValueError, match=message):
        empirical_spectrum(K, y)


def test_exponents_of_a_planted_law_are_exact_and_those_of_a_sample_near():
    exact = exponents(power_law(3000, 0.4, 0.9), 10, 1000)
    assert exact.a.value == pytest.approx(0.4, abs=0.01)
    assert exact.b.value == pytest.approx(0.9, abs=0.01)
    assert abs(exact.a.bend) < 0.02
    s = empirical_spectrum(*drawn_gram(4000, 0.4, 0.9, 1000, 0)[:2])
    near = exponents(s, 5, 60)
    assert near.a.value == pytest.approx(0.4, abs=0.12)
    assert abs(near.b.value - 0.9) < 4 * near.b.error
    assert near.b.error > near.a.error  # coefficients scatter


def test_a_range_that_is_no_power_law_says_so():
    i = np.arange(1, 2001.0)
    bent = spectrum(np.minimum(i**-1.2, 50 * i**-2.2), i**-1.5)
    found = exponents(bent, 5, 1000)
    assert found.a.bend > 10 * found.b.error
    assert found.a.bend == pytest.approx(0.9, abs=0.3)


def test_an_extended_tail_keeps_the_mass_and_finds_the_law():
    whole = power_law(300_000, 0.5, 0.7)
    # what is known: the first 300 modes, and the mass of the rest in a few
    rest = (whole.eigenvalues[300:].sum() / 700, whole.coefficients[300:].sum() / 700)
    known = spectrum(
        np.append(whole.eigenvalues[:300], np.full(700, rest[0])),
        np.append(whole.coefficients[:300], np.full(700, rest[1])),
    )
    found = extend_tail(known, 10, 200)
    assert found.spectrum.trace == pytest.approx(known.trace, rel=1e-12)
    assert found.spectrum.power == pytest.approx(known.power, rel=1e-12)
    assert found.a == pytest.approx(0.5, abs=0.02)
    assert found.b == pytest.approx(0.7, abs=0.02)
    n = np.array([10.0, 100, 900, 3000])
    expected = learning_curve(whole, n).test
    np.testing.assert_allclose(learning_curve(found.spectrum, n).test, expected, rtol=0.02)
    missed = learning_curve(known, n).test
    assert missed[2] < 0.5 * expected[2]  # without the tail there are no more modes to learn


def test_a_tail_predicts_beyond_the_points_of_its_spectrum():
    K, y, s = drawn_gram(20000, 0.5, 0.7, 800, 3)
    measured = empirical_spectrum(K, y)
    tail = extend_tail(measured, 5, 30)
    n = np.array([100.0, 400, 1600])
    expected = learning_curve(s, n).test
    corrected = learning_curve(tail.spectrum, n).test
    np.testing.assert_allclose(corrected, expected, rtol=0.2)
    part = learning_curve(measured, n[:2], population=800).test
    np.testing.assert_allclose(part, expected[:2], rtol=0.1)
    plain = learning_curve(measured, n).test
    assert (np.abs(plain / expected - 1)[1:] > 0.4).all()


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [
        (0, 20, "between 1 and 100"),
        (20, 20, "8 or more"),
        (5, 101, "between"),
        (5, 10, "8 or more"),
    ],
)
def test_ranges_that_are_refused(first, last, message):
    with pytest.raises(ValueError, match=message):
        exponents(power_law(100, 0.5), first, last)


def test_what_a_tail_cannot_do_without():
    with pytest.raises(ValueError, match="multiplicity one"):
        exponents(spectrum(np.ones(20), np.ones(20), np.full(20, 2)), 1, 15)
    with pytest.raises(ValueError, match="coefficients must be above zero"):
        exponents(spectrum(np.ones(20), np.zeros(20)), 1, 15)
    with pytest.raises(ValueError, match="must hold something"):
        extend_tail(power_law(100, 0.5), 10, 100)


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (0.3, 0.9), (0.2, 4.0)])
def test_exponents_of_the_four_regimes(a, b):
    """Slopes of the whole framework on a long power law, against the closed forms."""
    i = np.arange(1, 2000.0)
    edges = np.geomspace(2000, 1e13, 3000)
    counts, middle = np.diff(edges), np.sqrt(edges[:-1] * edges[1:])
    s = spectrum(
        np.append(i ** -(1 + a), middle ** -(1 + a)),
        np.append(i ** -(1 + b), counts * middle ** -(1 + b)),
        np.append(np.ones_like(i), counts),
    )
    e = scaling_exponents(a, b)
    x = np.array([3e3, 1e4])

    def slope(y):
        return -np.diff(np.log(y))[0] / np.diff(np.log(x))[0]

    assert slope(learning_curve(s, x).test) == pytest.approx(e.data, abs=0.08)
    assert slope(random_feature_curve(s, np.inf, x).test) == pytest.approx(e.width, abs=0.08)
    for n, K, limit, exponent in (
        (x, 30, random_feature_curve(s, np.inf, 30), e.data_variance),
        (30, x, random_feature_curve(s, 30, np.inf), e.width_variance),
    ):
        above = random_feature_curve(s, n, K).test - limit.test
        assert slope(above) == pytest.approx(exponent, abs=0.02)


def test_regimes_of_pairs():
    s = power_law(20000, 0.5)
    data, width = regime(s, 30, 3000), regime(s, 3000, 30)
    assert (data.data, data.width) == ("resolution", "variance")
    assert (width.data, width.width) == ("variance", "resolution")
    assert data.data_slope == pytest.approx(0.5, abs=0.1)
    assert width.width_slope == pytest.approx(0.5, abs=0.1)
    assert abs(data.width_slope) < 0.05
    best = regime(s, 100, 100, ridge=None, noise=0.1)
    assert 0 < best.data_share < 1
    assert 0 < best.width_share < 1
    assert best.error == pytest.approx(
        float(random_feature_curve(s, 100, 100, ridge=0.32, noise=0.1).test), rel=0.2
    )
    with pytest.raises(ValueError, match="infinite error"):
        regime(s, 50, 50)
    with pytest.raises(ValueError, match="must be finite"):
        regime(s, np.inf, 50)


def test_manifolds():
    assert manifold_exponent(8) == 0.5
    assert manifold_exponent(8, smoothness=1) == 0.25
    with pytest.raises(ValueError, match="must be > 0"):
        manifold_exponent(0)
    with pytest.raises(ValueError, match="b must be > 0"):
        scaling_exponents(0.5, 0.0)
    assert scaling_exponents(0.5).data == scaling_exponents(0.5).width == 0.5
