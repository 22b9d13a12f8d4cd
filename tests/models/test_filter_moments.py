"""Filters' settings hand themselves on to the moments of their taps."""

from __future__ import annotations

import numpy as np
import pytest

from farwide.models.filters import S4D, Hyena, SGConv, Squash
from theory import taps

CASES = [
    (
        Squash(0.004, 3, "normal", 0.03),
        lambda c, n: taps.squash(n, c, threshold=0.004, smooth=3, init="normal", scale=0.03),
    ),
    (
        Squash(0.001, 1, scale=0.05, dropout=0.5),
        lambda c, n: taps.squash(n, c, threshold=0.001, scale=0.05),
    ),
    (SGConv(3, 1.5), lambda c, n: taps.sgconv(n, scale_dim=3, decay=1.5)),
    (
        S4D(4, "legs", "bilinear", 0.01, 0.2),
        lambda c, n: taps.s4d(
            n, states=4, init="legs", discretisation="bilinear", dt_min=0.01, dt_max=0.2
        ),
    ),
    (
        Hyena(2, 16, 3, 4.0, 1.2, 0.4, 0.1),
        lambda c, n: taps.hyena(
            n, c, bands=2, layers=3, frequency=4.0, slow=1.2, fast=0.4, shift=0.1
        ),
    ),
]
CONFIGS = [Squash(), SGConv(), S4D(), Hyena()]


@pytest.mark.parametrize(("config", "formula"), CASES)
def test_every_setting_is_handed_on(config, formula):
    found, expected = config.moments(6, 10), formula(6, 10)
    np.testing.assert_array_equal(found.matrix, expected.matrix)
    np.testing.assert_array_equal(found.ntk_matrix, expected.ntk_matrix)


@pytest.mark.parametrize("config", CONFIGS)
def test_defaults_are_the_same(config):
    formula = getattr(taps, type(config).__name__.lower())
    arguments = (10, 6) if isinstance(config, Squash | Hyena) else (10,)
    np.testing.assert_array_equal(config.moments(6, 10).matrix, formula(*arguments).matrix)


@pytest.mark.parametrize("config", CONFIGS)
def test_channels_are_named_when_there_are_none(config):
    with pytest.raises(ValueError, match="channels is 0; accepted"):
        config.moments(0, 10)
