"""Numbers get the digits that their uncertainty deserves."""

from __future__ import annotations

import math

import pytest

from farwide.report import numbers


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [
        (1.23456, 1.20123, 1.26789, ("1.235", "1.201 to 1.268")),
        (0.9173, 0.0, 1.2345, ("0.92", "0.00 to 1.23")),
        (31.2, 3.91, 1029.0, ("31", "3.9 to 1 029")),
        (482.01, 120.0, 1903.4, ("482", "120 to 1 903")),
        (2085.4, 300.0, 123456.0, ("2 085", "300 to 1.2 × 10⁵")),
        (-0.31, -0.52, -0.11, ("−0.31", "−0.52 to −0.11")),
        (0.5, None, None, ("0.5000", "")),
    ],
)
def test_estimates(value, low, high, expected):
    assert numbers.estimate(value, low, high) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0052, "+0.52%"), (-0.0694, "−6.9%"), (0.1234, "+12%"), (0.0, "0.00%"), (0.00001, "0.00%")],
)
def test_percent(value, expected):
    assert numbers.percent(value, signed=True) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.012, "+1.20%"), (-0.0003, "−0.03%"), (0.0, "0.00%"), (-1e-9, "0.00%"), (1e-9, "0.00%")],
)
def test_a_column_of_percents(value, expected):
    assert numbers.signed_percent(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.4, "0.4 s"),
        (42.4, "42 s"),
        (80.0, "1 min 20 s"),
        (59.7, "1 min 00 s"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations(value, expected):
    assert numbers.seconds(value) == expected


def test_scientific_and_special_values():
    assert numbers.scientific(1.8010e12) == "1.80 × 10¹²"
    assert numbers.scientific(1.26e-4) == "1.26 × 10⁻⁴"
    assert numbers.scientific(0) == "0"
    assert numbers.fixed(math.nan, 2) == "unknown"
    assert numbers.fixed(-math.inf, 2) == "−∞"
    assert numbers.fixed(-0.0001, 2) == "0.00"
    assert numbers.count(1572864) == "1 572 864"
    assert numbers.factor(3.614) == "3.6"
    assert numbers.factor(16.2) == "16"
    assert numbers.loss(1.38638, 0.006) == "1.3864"
