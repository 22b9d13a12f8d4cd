"""Predicted lines beside measured points."""

from __future__ import annotations

import numpy as np
import pytest

from farwide.plotting import (
    NARROW,
    WIDE,
    Measured,
    Predicted,
    TheoryPanel,
    theory_curves,
    title_of,
    to_png,
)

X = [10.0, 100.0, 1000.0]
PANEL = TheoryPanel(
    [
        Predicted("theory", X, [1.0, 0.1, 0.01]),
        Predicted("other", X, [1.1, 0.2, 0.02], 1, "dashed"),
    ],
    [Measured("measured", X, [0.9, 0.11, 0.012], [0.05, 0.01, 0.001], 1)],
    "examples",
    "error",
    marks=[("M/4", 100.0)],
    guides=[("slope −1", X, [0.5, 0.05, 0.005])],
)
RATIO = TheoryPanel(
    [Predicted("theory", X, [1.0, 0.9, 0.8])],
    [],
    "examples",
    "ratio",
    log=False,
    bands=[("15%", 0.85, 1.15), ("5%", 0.95, 1.05)],
)


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("legends", ["each", "one"])
def test_lines_points_and_legends(width, legends):
    figure = theory_curves({"one": PANEL, "two": RATIO}, "Title", legends=legends, width=width)
    first, second = figure.axes
    assert first.get_title(loc="left") == "one"
    assert (first.get_yscale(), second.get_yscale()) == ("log", "linear")
    (bars,) = first.containers
    np.testing.assert_allclose(bars[0].get_ydata(orig=False), [0.9, 0.11, 0.012])
    colours = {tuple(map(float, line.get_ydata())): line.get_color() for line in first.lines}
    assert {(1.0, 0.1, 0.01), (1.1, 0.2, 0.02), (0.5, 0.05, 0.005)} <= set(colours)
    # the points of group 1 have the colour of the line of group 1
    assert bars[0].get_color() == colours[(1.1, 0.2, 0.02)] != colours[(1.0, 0.1, 0.01)]
    holders = [figure.legends[0]] if legends == "one" else [first.get_legend(), second.get_legend()]
    named = {text.get_text() for holder in holders for text in holder.get_texts()}
    assert named == {"theory", "other", "measured", "slope −1", "15%", "5%"}
    assert title_of(figure) == "Title"
    assert to_png(figure)[:4] == b"\x89PNG"


def test_what_is_refused():
    with pytest.raises(ValueError, match="needs panels"):
        theory_curves({}, "Title")
    with pytest.raises(ValueError, match="a line or points"):
        theory_curves({"one": PANEL._replace(lines=[], points=[])}, "Title")
    with pytest.raises(ValueError, match="legends must be"):
        theory_curves({"one": PANEL}, "Title", legends="none")
