"""The figure of a metric against nu: where prices stand, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from farwide.plotting import NARROW, WIDE, Panel, Series, nu_sweep, title_of, to_png

NU = [0.0, 0.1, 10.0, 1000.0, np.inf]
LINES = [
    Series("300 images", NU, [0.1, 0.05, 0.06, 0.1, 0.2], [0.01] * 5),
    Series("1000 images", NU[1:], [0.04, 0.05, np.nan, 0.1], [0.01, 0.005, 0.01, np.nan]),
]


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_inf_and_zero_stand_beyond_the_others(width):
    panels = {
        "error": Panel(
            LINES, "test error", [("exact NNGP", 0.15)], log=True, note="lower is better"
        ),
        "likelihood": Panel(LINES[:1], "nats", text=lambda v: f"{v:.1f} n"),
    }
    figure = nu_sweep(panels, "Title", width=width)
    first, second = figure.axes
    labels = [tick.get_text().split("\n")[0] for tick in first.get_xticklabels()]
    assert labels == ["∞", "10³", "100", "10", "1", "0.1", "0"]
    drawn = first.containers[0][0]
    np.testing.assert_allclose(drawn.get_xdata(), [-4.3, -3, -1, 1, 2.3])
    np.testing.assert_allclose(drawn.get_ydata(), LINES[0].mean[::-1])
    assert first.get_yscale() == "log"
    assert second.get_yscale() == "linear"
    assert second.get_yticklabels()[0].get_text().endswith(" n")
    assert first.get_title(loc="left") == "error\nlower is better"
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == ["300 images", "1000 images", "exact NNGP"]
    assert title_of(figure) == "Title"
    assert to_png(figure)[:4] == b"\x89PNG"


def test_the_ends_are_there_where_they_were_tried():
    line = Series("a", [1.0, 10.0], [1.0, 2.0], [0.1, 0.1])
    (ax,) = nu_sweep({"panel": Panel([line], "metric")}, "Title").axes
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["10", "1"]


def test_what_is_refused():
    with pytest.raises(ValueError, match="needs panels"):
        nu_sweep({"panel": Panel([], "metric")}, "Title")
    with pytest.raises(ValueError, match="nu must be >= 0"):
        nu_sweep({"panel": Panel([Series("a", [-1.0], [0.0], [0.0])], "metric")}, "Title")
