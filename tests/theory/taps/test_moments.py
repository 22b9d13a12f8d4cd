"""What is done with moments, against taps drawn or written out."""

from __future__ import annotations

import numpy as np
import pytest

from theory.taps import Moments, flat
from theory.taps.moments import correlated


@pytest.fixture
def dense() -> Moments:
    a, b = np.random.default_rng(0).normal(size=(2, 5, 7))
    return correlated(a @ a.T, b @ b.T)


def test_power_is_the_trace(dense):
    np.testing.assert_allclose(dense.power, np.trace(dense.matrix), rtol=1e-14)
    assert dense.taps == 5
    np.testing.assert_array_equal(dense.variance, np.diag(dense.matrix))


def test_matrices_of_diagonal_moments():
    moments = Moments(np.array([1.0, 2.0]), None, np.array([3.0, 4.0]))
    np.testing.assert_array_equal(moments.matrix, [[1, 0], [0, 2]])
    np.testing.assert_array_equal(moments.ntk_matrix, [[3, 0], [0, 4]])
    np.testing.assert_array_equal(Moments(moments.variance).ntk_matrix, [[1, 0], [0, 2]])


def test_a_gain_scales_all_moments_by_its_square(dense):
    scaled = dense.scaled(-3.0)
    for moment, expected in zip(scaled, dense, strict=True):
        np.testing.assert_allclose(moment, 9 * expected, rtol=1e-14)
    assert flat(3).scaled(2.0).ntk is None


def test_normalised_has_power_one_and_the_same_shape(dense):
    unit = dense.normalised()
    np.testing.assert_allclose(unit.power, 1, rtol=1e-14)
    np.testing.assert_allclose(unit.ntk_matrix * dense.power, dense.ntk_matrix, rtol=1e-13)


def test_a_skip_is_another_tap_at_lag_zero():
    """R and T of k + D delta_0, from factors: k = A w, D = 2 w'."""
    a = np.random.default_rng(1).normal(size=(4, 3))
    factor = np.concatenate([a, 2 * np.eye(4)[:, :1]], axis=1)
    trained = correlated(a @ a.T).plus_skip(4.0)
    np.testing.assert_allclose(trained.matrix, factor @ factor.T)
    np.testing.assert_allclose(trained.variance, np.diag(factor @ factor.T))
    assert trained.ntk is None
    still = correlated(a @ a.T).plus_skip(4.0, trained=False)
    np.testing.assert_allclose(still.matrix, factor @ factor.T)
    np.testing.assert_allclose(still.ntk_matrix, a @ a.T)


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("ntk", [None, np.array([5.0, 6.0])])
def test_a_skip_beside_independent_taps(trained, ntk):
    moments = Moments(np.array([1.0, 2.0]), None, ntk)
    found = moments.plus_skip(0.5, trained=trained)
    assert found.covariance is None
    np.testing.assert_array_equal(found.variance, [1.5, 2])
    expected = np.diag(moments.variance if ntk is None else ntk)
    expected[0, 0] += 0.5 * trained
    np.testing.assert_array_equal(found.ntk_matrix, expected)
    np.testing.assert_array_equal(moments.variance, [1, 2])


def test_truncation_keeps_the_first_taps(dense):
    short = dense.truncated(2)
    assert short.variance.shape == (2,)
    np.testing.assert_array_equal(short.matrix, dense.matrix[:2, :2])
    np.testing.assert_array_equal(short.ntk_matrix, dense.ntk_matrix[:2, :2])


def test_bad_arguments_are_named(dense):
    with pytest.raises(ValueError, match="taps is 6; accepted is at most 5"):
        dense.truncated(6)
    with pytest.raises(ValueError, match="taps is 0; accepted"):
        dense.truncated(0)
    with pytest.raises(ValueError, match=r"variance is -1\.0; accepted"):
        dense.plus_skip(-1.0)
    with pytest.raises(ValueError, match="gain is nan; accepted"):
        dense.scaled(float("nan"))
    with pytest.raises(ValueError, match=r"power is 0\.0; accepted"):
        Moments(np.zeros(3)).normalised()
