"""Time of a generated token against the length of the sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from farwide.plotting import style

COLOURS = (style.ACCENT, "#c2571a", "#3f7d4e", "#7a4fa3", "#8c6d1f", style.INK)
MARKERS = "osD^vP"


class TokenTimes(NamedTuple):
    """One model.

    Attributes:
      name: of it.
      lengths, token: N, and microseconds of one step.
      whole_lengths, whole: N, and microseconds of the parallel form over all N positions.
    """

    name: str
    lengths: Sequence[int]
    token: Sequence[float]
    whole_lengths: Sequence[int]
    whole: Sequence[float]


@style.styled
def token_times(models: Sequence[TokenTimes], title: str, *, width: float = style.WIDE) -> Figure:
    """Steps as solid lines, the parallel form for every token as dashed ones; both logarithmic."""
    narrow = style.is_narrow(width)
    figure = style.new_figure(width, 3.6 if narrow else 4.6)
    ax = figure.subplots()
    for i, model in enumerate(models):
        colour = COLOURS[i % len(COLOURS)]
        look = {"color": colour, "marker": MARKERS[i % len(MARKERS)], "ms": 4.0}
        ax.plot(model.lengths, model.token, lw=1.5, label=model.name, **look)
        ax.plot(
            model.whole_lengths,
            model.whole,
            lw=0.9,
            ls=(0, (3.2, 1.6)),
            mfc="white",
            alpha=0.7,
            **look,
        )
    ends = [n for model in models for n in model.lengths]
    times = [t for model in models for t in (*model.token, *model.whole)]
    ax.set_xlim(min(ends) / 1.2, max(ends) * 1.2)
    ax.set_ylim(min(times) / 1.4, max(times) * 1.4)
    style.log_axis(ax, "x", text=lambda v: f"{v:g}")
    style.log_axis(ax, "y")
    ax.set_xlabel("length of the sequence N")
    ax.set_ylabel("µs a token")
    style.size_key(figure, ax.get_legend_handles_labels()[0], 3 if narrow else 6)
    style.set_title(figure, f"{title}: a step (solid), or all N positions again (dashed)")
    return figure
