"""Accuracy of several models on several tasks, with that of a constant guess."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from farwide.plotting import style


class Accuracy(NamedTuple):
    """One model on one task.

    Attributes:
      model: its name.
      accuracy: share of the test targets, 0 to 1.
      error: its standard error.
      note: shown at the point, for instance the time; may be empty.
    """

    model: str
    accuracy: float
    error: float
    note: str = ""


@style.styled
def task_accuracy(
    panels: Mapping[str, tuple[float, Sequence[Accuracy]]],
    title: str,
    *,
    zoom: bool = False,
    width: float = style.WIDE,
) -> Figure:
    """A panel for each task: a row for each model, a dashed line at a constant guess.

    Args:
      panels: task -> (accuracy of a guess, its models).
      title: of the figure.
      zoom: let an axis span its models' bars alone, where they lie close; a guess that is outside
        is written at the edge.
      width: inches.
    """
    narrow = style.is_narrow(width)
    columns = 1 if narrow else min(len(panels), 4)
    title_inches = 0.09 * max(map(len, panels))
    while columns > 1 and title_inches > width / columns - 1.0:  # an inch for the models' names
        columns -= 1
    rows = -(-len(panels) // columns)
    columns = -(-len(panels) // rows)
    most = max(len(models) for _, models in panels.values())
    figure = style.new_figure(width, rows * (0.9 + 0.27 * most))
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    for ax, (name, (chance, models)) in zip(axes.flat, panels.items(), strict=False):
        places = range(len(models))[::-1]
        low, high = _span(models) if zoom else (-0.02, 1.04)
        outside = chance < low
        if not outside:
            ax.axvline(chance, color=style.MUTED, lw=1.0, ls=(0, (3, 2)))
        ax.text(
            low if outside else chance,
            1.0,
            f"constant guess: {100 * chance:.0f}%" if outside else " constant guess ",
            transform=ax.get_xaxis_transform(),
            va="bottom",
            ha="left" if chance < 0.5 else "right",
            fontsize=7.5,
            color=style.MUTED,
        )
        ax.errorbar(
            [m.accuracy for m in models],
            list(places),
            xerr=[1.96 * m.error for m in models],
            fmt="o",
            ms=4.5,
            color=style.ACCENT,
            elinewidth=1.0,
        )
        for place, m in zip(places, models, strict=True):
            right = m.accuracy < 0.6 and not zoom
            end = 0.0 if zoom else 1.96 * m.error * (1 if right else -1)
            ax.annotate(
                m.note, (m.accuracy + end, place),
                xytext=(0, 5) if zoom else (6 if right else -6, 0),
                textcoords="offset points", va="bottom" if zoom else "center",
                ha="center" if zoom else "left" if right else "right",
                fontsize=7, color=style.MUTED,
            )  # fmt: skip
        ax.set_yticks(list(places), [m.model for m in models])
        ax.set_ylim(-0.6, len(models) - (0.1 if zoom else 0.4))
        ax.set_xlim(low, high)
        if zoom:
            ax.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        decimals = 1 if high - low < 0.05 else 0
        ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=decimals))
        ax.set_title(name, pad=14)
        ax.set_xlabel("test accuracy")
    style.set_title(figure, title)
    return figure


def _span(models: Sequence[Accuracy]) -> tuple[float, float]:
    """The bars of the models and a tenth more on either side, at least a percent."""
    low = min(m.accuracy - 1.96 * m.error for m in models)
    high = max(m.accuracy + 1.96 * m.error for m in models)
    more = max(0.1 * (high - low), 0.01)
    return low - more, high + more
