"""Figures of predicted scaling: what is drawn is what was given."""

from __future__ import annotations

import numpy as np
import pytest

from farwide.plotting import (
    NARROW,
    Banded,
    Estimate,
    PairSummary,
    WidthCurve,
    predicted_scaling,
    scaling_summary,
    title_of,
    to_png,
)

N = [16, 32, 64]


def curve(scale: float) -> Banded:
    value = scale * np.array(N, float) ** -0.5
    return Banded(N, value.tolist(), (0.9 * value).tolist(), (1.1 * value).tolist())


@pytest.mark.parametrize("width", [8.6, NARROW])
def test_a_pair(width):
    networks = [WidthCurve(w, m, curve(4 + w / 64)) for w in (16, 32) for m in (False, True)]
    figure = predicted_scaling(curve(3), curve(3.1), curve(3.3), networks, "a pair", width=width)
    left, right = figure.axes
    assert title_of(figure) == "a pair"
    np.testing.assert_allclose(np.asarray(left.lines[0].get_ydata()), curve(3).value)
    assert len(right.containers) == 4
    places = np.array([c.lines[0].get_xdata() for c in right.containers])  # pyright: ignore
    assert len(np.unique(places)) == places.size  # markers do not hide one another
    assert left.get_ylabel() == "squared test error, sum over classes"
    texts = [len(ax.get_legend().get_texts()) for ax in (left, right)]  # pyright: ignore
    assert texts == [3, 2 + 4]
    assert to_png(figure)[:4] == b"\x89PNG"


@pytest.mark.parametrize("width", [8.6, NARROW])
def test_all_pairs(width):
    one = Estimate(0.5, 0.4, 0.6)
    panels = {
        "digits": {"cnn": PairSummary(one, one, one, one), "mlp": PairSummary(one, one)},
        "series": {"mlp": PairSummary(one, one, one)},
    }
    figure = scaling_summary(panels, "all pairs", width=width)
    assert [ax.get_title("left") for ax in figure.axes] == ["digits", "series"]
    assert [len(ax.containers) for ax in figure.axes] == [6, 3]
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["cnn", "mlp"]
    with pytest.raises(ValueError, match="at least one data set"):
        scaling_summary({}, "nothing")


def test_an_exponent_that_is_not_known_is_written_and_does_not_stretch_the_axis():
    near, far = Estimate(0.3, 0.25, 0.35), Estimate(1.94, -0.2, 4.1)
    figure = scaling_summary({"digits": {"S4D": PairSummary(near, near, near, far)}}, "one pair")
    (ax,) = figure.axes
    assert ax.get_xlim()[1] < 0.5
    assert [text.get_text() for text in ax.texts] == ["1.9 ± 2.1"]
