"""Figures of the classification experiment: what is drawn, labelled and left out."""

from __future__ import annotations

import numpy as np
import pytest

from farwide.calibration import Reliability
from farwide.plotting import (
    NARROW,
    WIDE,
    LearningCurve,
    learning_curves,
    reliability_diagrams,
    title_of,
    to_png,
)
from farwide.plotting.reliability import joined, wilson

POINTS = Reliability(
    np.array([0, 14, 50, 400]),
    np.array([np.nan, 0.4, 0.7, 0.95]),
    np.array([np.nan, 1.0, 0.66, 0.97]),
)


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_reliability_diagrams(width):
    panels = {f"data {i}": {"NNGP": POINTS, "NTK": POINTS} for i in range(3)}
    errors = {title: {"NNGP": 0.021, "NTK": 0.034} for title in panels}
    figure = reliability_diagrams(panels, errors, width=width)
    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert [ax.get_title(loc="left") for ax in shown] == list(panels)
    for ax in shown:
        legend = ax.get_legend()
        assert legend is not None
        assert [text.get_text() for text in legend.get_texts()] == [
            "NNGP, ECE 2.1%",
            "NTK, ECE 3.4%",
        ]
        line = ax.containers[0][0]
        # the bin of 14 is joined with the next
        np.testing.assert_allclose(line.get_xdata(), [(14 * 0.4 + 50 * 0.7) / 64, 0.95])
        np.testing.assert_allclose(line.get_ydata(), [(14 + 50 * 0.66) / 64, 0.97])
    assert "at most 3.4%" in title_of(figure)
    assert to_png(figure)[:4] == b"\x89PNG"


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_learning_curves(width):
    lines = [
        LearningCurve(network, kernel, [50, 500, 4000], [0.4, 0.2, 0.1], [0.01] * 3)
        for network in ("FC", "CNN")
        for kernel in ("nngp", "ntk")
    ]
    figure = learning_curves({"digits": lines, "fashion": lines[:2]}, "Title", width=width)
    first, second = figure.axes
    assert len(first.containers) == 4
    assert len(second.containers) == 2
    drawn = [container[0] for container in first.containers]
    assert [line.get_linestyle() for line in drawn] == ["-", "--", "-", "--"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "FC, NNGP",
        "FC, NTK",
        "CNN, NNGP",
        "CNN, NTK",
    ]
    assert drawn[0].get_color() == drawn[1].get_color() != drawn[2].get_color()
    assert first.get_xscale() == first.get_yscale() == "log"
    low, high = first.get_ylim()
    assert low < 0.1
    assert high > 0.4
    assert to_png(figure)[:4] == b"\x89PNG"


def test_no_example_is_lost_by_joining_bins():
    rng = np.random.default_rng(0)
    count = rng.integers(0, 12, 15)
    points = Reliability(count, *np.where(count, rng.random((2, 15)), np.nan))
    few = joined(points)
    assert (few.count >= 15).all()
    assert few.count.sum() == count.sum()
    for name in ("confidence", "accuracy"):
        total = (few.count * getattr(few, name)).sum()
        assert total == pytest.approx(np.nansum(count * getattr(points, name)))
    alone = joined(Reliability(np.array([0, 3]), *np.array([[np.nan, 0.4]] * 2)))
    assert alone.count.tolist() == [3]


def test_wilson_intervals():
    """Against the roots of |p - share| = z sqrt(p (1 - p) / n), which define them."""
    share, count, z = np.array([0.0, 0.3, 1.0]), np.array([20.0, 50.0, 400.0]), 1.96
    low, high = wilson(share, count)
    for s, n, a, b in zip(share, count, low, high, strict=True):
        p = np.linspace(0, 1, 200_001)
        inside = p[np.abs(p - s) <= z * np.sqrt(p * (1 - p) / n) + 1e-12]
        np.testing.assert_allclose([a, b], [inside.min(), inside.max()], atol=1e-5)
