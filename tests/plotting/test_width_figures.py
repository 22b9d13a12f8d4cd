"""Figures of what depends on the width."""

from __future__ import annotations

import numpy as np
import pytest

from farwide.plotting import NARROW, WIDE, RateCurve, learning_rate_transfer, title_of, to_png
from farwide.plotting.finite_width import Decay, Draws, Spread, finite_width

RATES = [-6.0, -5.0, -4.0]
CURVES = [
    RateCurve(32, RATES, [1.2, 1.0, float("inf")], -5.1, 0.2, 0.99),
    RateCurve(256, RATES, [0.9, 0.8, 1.1], -5.3, 0.1, 0.79),
]


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_loss_against_learning_rate(width):
    panels = {"perceptron, muP": CURVES, "perceptron, standard": CURVES[:1]}
    figure = learning_rate_transfer(panels, "Title", width=width)
    first, second = figure.axes
    assert first.get_title(loc="left") == "perceptron, muP"
    named = [text.get_text() for text in first.get_legend().get_texts()]
    assert named == ["width 32", "width 256", "optimum"]
    assert len(second.get_legend().get_texts()) == 2
    np.testing.assert_array_equal(first.lines[0].get_ydata(), [1.2, 1.0, np.nan])
    low, high = first.get_ylim()
    assert low < 0.79 < 0.99 < high
    assert title_of(figure) == "Title"
    assert to_png(figure)[:4] == b"\x89PNG"
    with pytest.raises(ValueError, match="a curve"):
        learning_rate_transfer({"empty": []}, "Title")


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_finite_networks_beside_their_limit(width):
    angles = np.linspace(-np.pi, np.pi, 5)
    ones = np.ones((2, 5))
    figure = finite_width(
        angles,
        [Draws(8, ones, 1.1 * ones), Draws(64, 0.9 * ones, ones)],
        ones[0],
        [Spread("width 8", -ones[0], 0 * ones[0], ones[0]), Spread("limit", *(0.1 * np.eye(3, 5)))],
        (np.array([0.0, 1.0]), np.array([0.2, -0.2])),
        [8, 64],
        [Decay("NTK, slope −0.50", [0.4, 0.14], [0.01, 0.01])],
        [Decay("NTK, slope −1.00", [0.2, 0.025], [0.01, 0.01])],
        "Title",
        width=width,
    )
    kernels, functions, errors, movement = figure.axes
    named = [text.get_text() for text in kernels.get_legend().get_texts()]
    assert named[:2] == ["width 8, start", "width 8, trained"]
    assert named[-1] == "limit"
    assert len(kernels.lines) == 9  # two widths, before and after, of two seeds, and the limit
    assert "training points" in [t.get_text() for t in functions.get_legend().get_texts()]
    for ax in (errors, movement):
        assert ax.get_xscale() == ax.get_yscale() == "log"
        assert [tick.get_text() for tick in ax.get_xticklabels()] == ["8", "64"]
    assert to_png(figure)[:4] == b"\x89PNG"
