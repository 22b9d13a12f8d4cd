"""Ticks, colours and labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farwide.plotting import style


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (4096, "4.1k"), (1e6, "1M"), (152_000, "152k"), (1_048_576, "1M"), (9.1e3, "9.1k"),
     (37.4, "37"), (4, "4"), (2.5e13, "2.5e13"), (2_097_152, "2.1M"), (0.5, "0.5")],
)  # fmt: skip
def test_counts(value, text):
    assert style.si(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e12, "10¹²"), (2.5e-3, "2.5 × 10⁻³"), (3e9, "3 × 10⁹"), (9.99e9, "10¹⁰")],
)
def test_powers(value, text):
    assert style.power_of_ten(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.9, "0.90"), (18.96, "19"), (-2.81, "−2.8"), (0.0551, "0.055"), (0, "0.0")],
)
def test_significant_digits(value, text):
    assert style.significant(value) == text


@given(st.lists(st.floats(-0.2, 1.2), min_size=1, max_size=12), st.floats(0.01, 0.3))
def test_labels_spread(places, gap):
    moved = np.array(style.spread(places, gap, 0.0, 1.0))
    room = min(gap, 1.0 / max(len(places) - 1, 1))
    assert np.all(np.diff(np.sort(moved)) >= room - 1e-9)
    assert moved.min() >= -1e-9
    assert moved.max() <= 1 + 1e-9
    order = np.argsort(places, kind="stable")
    assert np.all(np.diff(moved[order]) >= 0)


def test_labels_that_have_room_stay():
    assert style.spread([0.1, 0.9, 0.5], 0.1, 0.0, 1.0) == pytest.approx([0.1, 0.9, 0.5])


def luminance(colour) -> float:
    c = np.asarray(colour[:3])
    return float(
        np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [0.21, 0.72, 0.07]
    )


def test_sizes_go_from_dark_to_light_and_stay_visible_on_white():
    colours = style.size_colours([1e5, 1e3, 1e4, 1e4])
    assert list(colours) == [1e3, 1e4, 1e5]
    light = [luminance(c) for c in colours.values()]
    assert light == sorted(light)
    assert light[-1] < 0.5
    assert style.size_colours([]) == {}
    assert len(style.size_colours([5.0])) == 1


def test_drawing_leaves_the_global_style_alone():
    import matplotlib

    before = dict(matplotlib.rcParams)
    style.to_svg(style.styled(lambda: style.new_figure(2, 2))(), prefix="x")
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    ("low", "high"), [(0.13, 0.47), (0.007, 0.12), (1.1, 1.4), (3.0, 4e6), (1e-3, 0.0105)]
)
def test_logarithmic_axes_have_a_few_ticks_inside(low, high):
    figure = style.new_figure(4.0, 3.0)
    ax = figure.subplots()
    ax.set_ylim(low, high)
    style.log_axis(ax, "y")
    ticks = np.asarray(ax.yaxis.get_majorticklocs())
    assert 3 <= len(ticks) <= 7
    assert ((0.999 * low <= ticks) & (ticks <= 1.001 * high)).all()
