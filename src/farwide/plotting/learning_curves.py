"""Test error against the number of training examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from farwide.plotting import style

COLOURS = (style.ACCENT, "#c2571a", "#3f7d4e")


class LearningCurve(NamedTuple):
    """One line.

    Attributes:
      network: lines of one network have one colour.
      kernel: "nngp" is drawn solid, "ntk" dashed with open markers.
      examples: (points,) training examples.
      error: (points,) share of test examples that is wrong.
      spread: (points,) standard errors of it.
    """

    network: str
    kernel: str
    examples: Sequence[int]
    error: Sequence[float]
    spread: Sequence[float]


@style.styled
def learning_curves(
    panels: Mapping[str, Sequence[LearningCurve]], title: str, *, width: float = style.WIDE
) -> Figure:
    """A panel for each data set, logarithmic in both directions.

    Args:
      panels: data set -> its lines.
      title: of the figure.
      width: inches.
    """
    narrow = style.is_narrow(width)
    rows, columns = (len(panels), 1) if narrow else (1, len(panels))
    figure = style.new_figure(width, rows * (3.0 if narrow else 3.9))
    axes = figure.subplots(rows, columns, squeeze=False)
    networks = list(dict.fromkeys(line.network for lines in panels.values() for line in lines))
    for ax, (name, lines) in zip(axes.flat, panels.items(), strict=True):
        for line in lines:
            ax.errorbar(
                line.examples,
                line.error,
                yerr=line.spread,
                elinewidth=0.8,
                **_look(line, networks),
            )
        ax.set_title(name)
        errors = np.concatenate([np.asarray(line.error) for line in lines])
        sizes = np.concatenate([np.asarray(line.examples) for line in lines])
        ax.set_ylim(errors.min() / 1.25, errors.max() * 1.25)
        ax.set_xlim(sizes.min() / 1.15, sizes.max() * 1.15)
        style.log_axis(ax, "x")
        style.log_axis(ax, "y", text=lambda v: f"{100 * v:.3g}%")
        ax.set_xlabel("training examples")
        ax.set_ylabel("test error")
    every = {(line.network, line.kernel): line for lines in panels.values() for line in lines}
    handles = [
        Line2D([], [], label=f"{network}, {kernel.upper()}", **_look(line, networks))
        for (network, kernel), line in every.items()
    ]
    figure.legend(
        handles=handles,
        loc="outside lower left",
        ncols=2 if narrow else len(handles),
        handlelength=3.0,
    )
    style.set_title(figure, title)
    return figure


def _look(line: LearningCurve, networks: Sequence[str]) -> dict[str, Any]:
    """Colour of the network; the NTK dashed with open markers."""
    colour = COLOURS[networks.index(line.network) % len(COLOURS)]
    solid = line.kernel == "nngp"
    return {
        "color": colour,
        "marker": "o",
        "ms": 4.0,
        "mfc": colour if solid else "white",
        "lw": 1.4,
        "ls": "-" if solid else (0, (3.2, 1.6)),
    }
