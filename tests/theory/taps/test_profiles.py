"""Profiles of independent taps."""

from __future__ import annotations

import math

import numpy as np
import pytest

from theory.taps import exponential, flat, gaussian, power_law

PROFILES = [
    (flat(7), lambda s: 1.0),
    (exponential(7, 0.3), lambda s: math.exp(-0.3 * s)),
    (power_law(7, 1.5), lambda s: (1 + s) ** -1.5),
    (gaussian(7, 2.5), lambda s: math.exp(-0.5 * s * s / 6.25)),
]


@pytest.mark.parametrize(("moments", "profile"), PROFILES)
def test_a_profile_follows_its_formula_and_has_power_one(moments, profile):
    values = [profile(s) for s in range(7)]
    np.testing.assert_allclose(moments.variance, np.array(values) / sum(values), rtol=1e-14)
    np.testing.assert_allclose(moments.power, 1, rtol=1e-14)
    assert moments.covariance is None
    assert moments.ntk is None


@pytest.mark.parametrize(
    ("make", "setting"), [(exponential, 0.4), (power_law, 2.0), (gaussian, 1.5)]
)
def test_a_profile_cut_short_is_the_shorter_profile(make, setting):
    short = make(9, setting).truncated(4).normalised()
    np.testing.assert_allclose(short.variance, make(4, setting).variance, rtol=1e-14)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: flat(0), "window is 0; accepted"),
        (lambda: flat(2.0), r"window is 2\.0; accepted"),
        (lambda: exponential(0, 1.0), "taps is 0; accepted"),
        (lambda: exponential(3, -1.0), r"decay is -1\.0; accepted"),
        (lambda: power_law(3, float("inf")), "exponent is inf; accepted"),
        (lambda: power_law(True, 1.0), "taps is True; accepted"),
        (lambda: gaussian(3, 0.0), r"width is 0\.0; accepted"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
