"""What a theory predicts, as lines, beside what was measured, as points."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from farwide.plotting import style

COLOURS = (style.ACCENT, "#c2571a", "#3f7d4e", "#7b4a8e", "#b08a00", "#1f8a8a")
COLOURS += ("#b03060", "#5a5a5a", "#7fa650")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">")
DASHES: dict[str, Any] = {"solid": "-", "dashed": (0, (3.2, 1.6)), "dotted": (0, (1.0, 1.6))}


class Predicted(NamedTuple):
    """A line; `group` chooses its colour, `dash` is solid, dashed or dotted."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    group: int = 0
    dash: str = "solid"


class Measured(NamedTuple):
    """Points with bars of one standard error; `group` chooses their colour and marker."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    error: Sequence[float]
    group: int = 0


class TheoryPanel(NamedTuple):
    """One pair of axes.

    Attributes:
      lines, points: what is drawn; lines and points of one group share a colour.
      xlabel, ylabel: labels with units.
      log: whether the vertical axis is logarithmic; the horizontal one is.
      bands: (low, high) shaded between two heights, with a label.
      marks: horizontal places of dotted vertical lines, with their labels.
      guides: (x, y) of grey guide lines, with their labels.
      text: how a value is written on the vertical axis.
    """

    lines: Sequence[Predicted]
    points: Sequence[Measured]
    xlabel: str
    ylabel: str
    log: bool = True
    bands: Sequence[tuple[str, float, float]] = ()
    marks: Sequence[tuple[str, float]] = ()
    guides: Sequence[tuple[str, Sequence[float], Sequence[float]]] = ()
    text: Callable[[float], str] = lambda v: f"{v:.3g}"


@style.styled
def theory_curves(
    panels: Mapping[str, TheoryPanel],
    title: str,
    *,
    columns: int = 2,
    legends: str = "each",
    width: float = style.WIDE,
) -> Figure:
    """Panels of predicted lines and measured points.

    Args:
      panels: title of a panel -> what it shows.
      title: of the figure.
      columns: panels side by side; one on a phone.
      legends: "each" panel has its own below it, or "one" for the figure.
      width: inches.

    Raises:
      ValueError: no panel, or one without anything in it; legends is neither word.
    """
    if not panels or any(not (p.lines or p.points) for p in panels.values()):
        raise ValueError("theory_curves needs panels, and each of them a line or points")
    if legends not in ("each", "one"):
        raise ValueError(f"legends must be 'each' or 'one', got {legends!r}")
    columns = 1 if style.is_narrow(width) else min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure = style.new_figure(width, rows * (3.7 if legends == "each" else 3.0) + 0.6)
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    handles: dict[str, Line2D] = {}
    for ax, (name, panel) in zip(axes.flat, panels.items(), strict=False):
        own = _draw(ax, panel)
        ax.set_title(name)
        if legends == "each":
            ax.legend(
                handles=list(own.values()), loc="upper left", bbox_to_anchor=(-0.02, -0.17),
                ncols=2, handlelength=2.4, borderaxespad=0.0,
            )  # fmt: skip
        handles |= own
    if legends == "one":
        figure.legend(
            handles=list(handles.values()), loc="outside lower left",
            ncols=2 if columns == 1 else 4, handlelength=2.4,
        )  # fmt: skip
    style.set_title(figure, title)
    return figure


def _draw(ax: Axes, panel: TheoryPanel) -> dict[str, Line2D]:
    """Everything of a panel; label -> what stands for it in a legend."""
    x = np.concatenate([np.asarray(each.x, float) for each in (*panel.lines, *panel.points)])
    y = np.concatenate([np.asarray(each.y, float) for each in (*panel.lines, *panel.points)])
    x, y = x[np.isfinite(x)], y[np.isfinite(y)]
    handles: dict[str, Line2D] = {}
    for i, (label, low, high) in enumerate(panel.bands):
        ax.axhspan(low, high, color=style.SHADE if i == 0 else style.GRID, zorder=0.2 + 0.1 * i)
        handles[label] = Line2D(
            [], [], color=style.SHADE if i == 0 else style.GRID, lw=6, label=label
        )
    for label, at in panel.marks:
        ax.axvline(at, color=style.MUTED, lw=0.8, ls=":")
        ax.annotate(
            label, (at, 1.0), xycoords=("data", "axes fraction"), xytext=(-3, -2),
            textcoords="offset points", ha="right", va="top", fontsize=7.5, color=style.MUTED,
        )  # fmt: skip
    for label, gx, gy in panel.guides:
        (drawn,) = ax.plot(gx, gy, color=style.MUTED, lw=0.9, ls=DASHES["dashed"], zorder=1)
        handles[label] = Line2D([], [], color=drawn.get_color(), lw=0.9, ls="--", label=label)
    for line in panel.lines:
        look = {"color": COLOURS[line.group % len(COLOURS)], "ls": DASHES[line.dash], "lw": 1.4}
        ax.plot(line.x, line.y, zorder=2, **look)
        handles[line.label] = Line2D([], [], label=line.label, **look)
    for points in panel.points:
        look = {
            "color": COLOURS[points.group % len(COLOURS)],
            "marker": MARKERS[points.group % len(MARKERS)],
            "ms": 4.0,
            "ls": "none",
        }
        ax.errorbar(
            points.x, points.y, yerr=points.error, elinewidth=0.9, capsize=1.5, zorder=3, **look
        )
        handles[points.label] = Line2D([], [], label=points.label, **look)
    ax.set_xlim(x.min() / 1.15, x.max() * 1.15)
    style.log_axis(ax, "x")
    if panel.log:
        ax.set_ylim(y[y > 0].min() / 1.25, y.max() * 1.25)
        style.log_axis(ax, "y", text=panel.text)
    ax.set_xlabel(panel.xlabel)
    ax.set_ylabel(panel.ylabel)
    return handles
